"""Files that user code opens to read. Only paths, sizes and times; hashes are taken by the shipper, off this process."""

from __future__ import annotations

import os
import sys

from headway.capture.sources.written import Written

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

_NOT_DATA = (".py", ".pyc", ".pyi", ".so", ".pth", ".ipynb", ".cfg", ".toml", ".ini", ".lock", ".log", ".sh", ".ttf", ".afm",
             ".mplstyle", ".html", ".css", ".js", ".tmp", ".pid", ".egg-link", ".sock", ".md", ".rst")  # fmt: skip
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib", "/opt/", "/var/lib/", "/run/")
_HIDDEN_PARTS = ("/site-packages/", "/dist-packages/", "/.cache/", "/.config/", "/.ipython/", "/.matplotlib/", "/__pycache__/",
                 "/.git/", "/.local/", "/.jupyter/", "/ipykernel_")  # fmt: skip
PER_FOLDER = 20


def install(session: Session) -> None:
    """An audit hook can't be removed, so it is one `if` deep for all but `open`."""
    prefixes: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    runtime = os.environ.get("HEADWAY_RUNTIME", "")
    folders: dict[str, int] = {}
    seen: set[str] = set()
    source, handlers = session.source("open"), session.on_audit

    def opened(path: Any, mode: Any, flags: Any) -> None:
        nonlocal prefixes, roots
        if not isinstance(path, str) or source.off or session.ended:
            return
        if isinstance(mode, str) and ("w" in mode or "a" in mode or "x" in mode or "+" in mode):
            written.opened(path, sys._getframe(2))
            return
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
            return
        if path in seen or path.endswith(_NOT_DATA) or path.startswith(_SYSTEM):
            return
        seen.add(path)
        if not roots:  # looked up at the first file that may be data
            prefixes = _real(sys.prefix, sys.base_prefix)
            roots = _real(session.spool.folder, runtime)
        full = os.path.realpath(path)
        if full.startswith(_SYSTEM) or full.startswith(roots) or any(p in full for p in _HIDDEN_PARTS):
            return
        if full.startswith(prefixes) and not full.startswith(os.getcwd()):
            return
        if not os.path.isfile(full) or os.path.basename(full).startswith("."):
            return
        folder = os.path.dirname(full)
        folders[folder] = folders.get(folder, 0) + 1
        if folders[folder] > PER_FOLDER:
            return
        if session.sites.caller(sys._getframe(2), limit=40) is None:
            return
        status = os.stat(full)
        session.fact("file", path=full, size=status.st_size, mtime=status.st_mtime)

    def audit(event: str, args: tuple[Any, ...]) -> None:
        told = handlers.get(event)
        if told is not None:
            try:
                told(*args)
            except Exception as error:
                source.errors += 1
                if source.errors > 20:
                    source.stop(type(error).__name__)

    def more() -> None:
        for folder, count in folders.items():
            if count > PER_FOLDER:
                session.fact("folder", path=folder, files=count)

    session.at_end.append(more)
    handlers["open"] = opened
    written = Written(session)
    sys.addaudithook(audit)


def _real(*folders: str) -> tuple[str, ...]:
    return tuple({os.path.realpath(f) + os.sep for f in folders if f})
