"""The first line of headway in a managed environment's Python: starts what the environment variables ask for.

`headway.pth` of the environment holds PTH_LINE. Nothing here prints, raises, or takes a random number.
"""

from __future__ import annotations

import os
import sys

__all__ = ["PTH_LINE", "boot"]

# One line that starts with `import`, as site.py demands. It does nothing unless HEADWAY_RUNTIME names the folder that holds
# the package `headway`, and it stays silent when that folder is gone.
PTH_LINE = (
    "import os, sys; exec(\"try:\\n r = os.environ.get('HEADWAY_RUNTIME')\\n"
    ' if r:\\n  r in sys.path or sys.path.append(r)\\n  import headway.boot; headway.boot.boot()\\nexcept Exception: pass")\n'
)

_booted = False


def boot() -> None:
    """Starts the kernel's event log (HEADWAY_EVENTS) and capture (HEADWAY_SPOOL), each guarded. Once a process."""
    global _booted
    if _booted:
        return
    _booted = True
    if os.environ.get("HEADWAY_EVENTS"):
        try:
            from headway.runner import kernelside

            kernelside.install()
        except Exception:
            _forget("headway.runner.kernelside")
    spool = _spool()
    if spool and os.environ.get("HEADWAY_CAPTURE", "").lower() not in ("off", "0", "no", "false"):
        try:
            from headway.capture import session

            session.start(spool)
        except Exception:
            _forget("headway.capture.session")


def _spool() -> str | None:
    """This process's spool. A kernel that a tracked program started (`headway track -- jupyter lab`) has one of its own."""
    spool = os.environ.get("HEADWAY_SPOOL")
    words = sys.orig_argv[1:6]
    kernel = any(w.endswith(("ipykernel_launcher", "ipykernel", "ipykernel_launcher.py")) for w in words)
    if spool and kernel and os.environ.get("HEADWAY_TRACK"):
        spool = f"{spool}-{os.getpid()}"
        os.environ["HEADWAY_SPOOL"] = spool
        for name in ("HEADWAY_RUN", "MLFLOW_RUN_ID"):
            os.environ.pop(name, None)
    return spool


def _forget(name: str) -> None:
    sys.modules.pop(name, None)
