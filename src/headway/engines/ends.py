"""Who waits for the end of processes that are no children of ours: told by the kernel (`pidfd_open`), not asked for again."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence

from headway.engines import shim


class Ends:
    """Calls back once when one of a group of processes ends. Its thread lives as long as there is something to wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoll: select.epoll | None = None
        self._calls: dict[str, Callable[[], None]] = {}
        self._names: dict[int, str] = {}  # pidfd -> whose it is

    def watch(self, name: str, processes: Sequence[tuple[int, int]], call: Callable[[], None]) -> bool:
        """Call `call` from another thread as soon as one of the `processes`, (pid, start time) each, has ended; once, however
        often it is asked for under this name before. False: one of them is over, or the kernel can't tell."""
        with self._lock:
            if name in self._calls:
                return True
            fds: list[int] = []
            try:
                for pid, start in processes:
                    fds.append(os.pidfd_open(pid))
                    if not start or shim.start_time(pid) != start:
                        raise ProcessLookupError(pid)  # the number is another's by now
                self._add(name, fds, call)
            except OSError:  # over, no such call in this kernel, too many open files
                for fd in fds:
                    os.close(fd)
                return False
            return True

    def _add(self, name: str, fds: list[int], call: Callable[[], None]) -> None:
        epoll = self._epoll or select.epoll()
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        self._names |= dict.fromkeys(fds, name)
        self._calls[name] = call
        if self._epoll is None:
            self._epoll = epoll
            threading.Thread(target=self._run, args=(epoll,), name="headway-ends", daemon=True).start()

    def _run(self, epoll: select.epoll) -> None:
        while True:
            ended = epoll.poll()
            with self._lock:
                calls = [call for fd, _ in ended if (call := self._take(fd)) is not None]
            for call in calls:
                call()
            with self._lock:
                if not self._calls:
                    epoll.close()
                    self._epoll = None
                    return

    def _take(self, fd: int) -> Callable[[], None] | None:
        """The call of a pidfd that spoke; all of its name's are closed, which takes them out of the epoll too."""
        name = self._names.get(fd)
        if name is None:
            return None
        for one in [one for one, whose in self._names.items() if whose == name]:
            del self._names[one]
            os.close(one)
        return self._calls.pop(name)
