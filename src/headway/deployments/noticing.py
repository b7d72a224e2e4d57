"""A folder that speaks up when a file in it was replaced: Linux's inotify(7), through the C library."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

_MOVED_TO = 0x80  # our files are replaced, never written to


def hear(loop: asyncio.AbstractEventLoop, path: Path, call: Callable[[], None]) -> bool:
    """`call()` now and whenever a file in the folder was replaced. False if the system can't tell: look now and then."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Folder(path)
    except OSError as error:
        print(
            f"the system does not tell when files change, they are looked at instead: {error}",
            file=sys.stderr,
            flush=True,
        )
        return False

    def read() -> None:
        folder.read()
        call()

    loop.add_reader(folder.fileno(), read)
    call()
    return True


class Folder:
    """`fileno()` becomes readable when files were moved into the folder. Raises `OSError` where the system can't tell."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        try:
            self._fd = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            raise OSError("this C library has no inotify") from None
        if self._fd < 0 or library.inotify_add_watch(self._fd, os.fsencode(path), _MOVED_TO) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), str(path))

    def fileno(self) -> int:
        return int(self._fd)

    def read(self) -> None:
        """Forget what it told so far."""
        try:
            while os.read(self._fd, 1 << 16):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """No more news."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
