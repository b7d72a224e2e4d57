"""`headway up` again and again, to be killed: each line on the input starts one with the settings of the environment.

What `headway up` calls is called here in a fork, so that twenty starts do not import everything twenty times.
Prints the number of each process once it answers requests; 0, and why, if it can't.
"""

from __future__ import annotations

import os
import signal
import sys

from headway import server, up
from headway.settings import Settings

if __name__ == "__main__":
    server.pillars()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            try:
                up.serve(Settings.load(), lambda _link: print(os.getpid(), flush=True))
            except Exception as error:
                print(0, error, flush=True)
            os._exit(0)
