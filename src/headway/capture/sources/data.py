"""The data read: files opened by user code, what readers made of them, and data sets that libraries ship or generate.

Only paths, sizes, shapes, columns and dtypes; never a cell. Hashes are taken by the shipper, off this process.
"""

from __future__ import annotations

import functools
import os
import sys
from types import FrameType, FunctionType, ModuleType

from headway.capture.guard import replace, wrap
from headway.capture.values import describe, scalar

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
READERS = ("csv", "table", "excel", "json", "parquet", "feather", "hdf", "pickle", "sql", "sql_query", "sql_table", "fwf",
           "html", "xml", "orc", "stata", "sas", "spss", "clipboard")  # fmt: skip


def install(session: Session) -> None:
    _watch_open(session)
    session.hooks["pandas"] = functools.partial(_hook, session, [f"read_{name}" for name in READERS])
    session.hooks["numpy"] = functools.partial(_hook, session, ["loadtxt", "genfromtxt", "load"])
    session.hooks["polars"] = functools.partial(
        _hook, session, [f"read_{n}" for n in READERS] + ["scan_csv", "scan_parquet"]
    )
    session.hooks["seaborn"] = functools.partial(_hook, session, ["load_dataset"])
    session.hooks["sklearn.datasets"] = functools.partial(_hook_datasets, session)


def _watch_open(session: Session) -> None:
    """An audit hook can't be removed, so it is one `if` deep for all but `open`."""
    prefixes = tuple({os.path.realpath(p) + os.sep for p in (sys.prefix, sys.base_prefix)})
    roots = tuple(
        {os.path.realpath(p) + os.sep for p in (str(session.spool.folder), os.environ.get("HEADWAY_RUNTIME", "")) if p}
    )
    folders: dict[str, int] = {}
    seen: set[str] = set()
    source = session.source("open")

    def opened(path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(path, str) or source.off or session.ended:
            return
        if isinstance(mode, str) and ("w" in mode or "a" in mode or "x" in mode or "+" in mode):
            return
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR):
            return
        if path in seen or path.endswith(_NOT_DATA) or path.startswith(_SYSTEM):
            return
        seen.add(path)
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
        if event == "open":
            try:
                opened(*args)
            except Exception as error:
                source.errors += 1
                if source.errors > 20:
                    source.stop(type(error).__name__)

    def more() -> None:
        for folder, count in folders.items():
            if count > PER_FOLDER:
                session.fact("folder", path=folder, files=count)

    session.at_end.append(more)
    sys.addaudithook(audit)


def _hook(session: Session, names: list[str], module: ModuleType) -> None:
    source = session.source("data")
    for name in names:
        function = module.__dict__.get(name)
        if isinstance(function, FunctionType) or (function is not None and module.__name__ == "numpy"):
            leave = functools.partial(_read, session, f"{module.__name__}.{name}")
            replace(module, name, wrap(function, source, functools.partial(_enter, session), leave))


def _hook_datasets(session: Session, module: ModuleType) -> None:
    names = [n for n in getattr(module, "__all__", ()) if n.startswith(("load_", "make_", "fetch_"))]
    source = session.source("data")
    for name in names:
        function = module.__dict__.get(name)
        if isinstance(function, FunctionType):
            leave = functools.partial(_made, session, name)
            replace(module, name, wrap(function, source, functools.partial(_enter, session), leave))


def _enter(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not session.sites.is_user(frame.f_code.co_filename):
        return None
    site = session.sites.at(frame)
    return None if site is None else (site, args, kwargs)


def _read(session: Session, name: str, token: Any, result: Any, error: BaseException | None) -> None:
    if error is not None:
        return
    site, args, _ = token
    shape = describe(result)
    where = str(args[0]) if args and isinstance(args[0], (str, os.PathLike)) else None
    if shape is not None:
        session.fact("data", s=site.id, fn=name, path=where, x=shape)


def _made(session: Session, name: str, token: Any, result: Any, error: BaseException | None) -> None:
    if error is not None:
        return
    site, args, kwargs = token
    data = result
    if isinstance(result, tuple) and result:
        data = result[0]
    elif isinstance(result, dict):
        data = result.get("frame") if result.get("frame") is not None else result.get("data")
    options = {k: v for k, raw in kwargs.items() if (v := scalar(raw)) is not ...}
    if args and (first := scalar(args[0])) is not ...:
        options.setdefault("0", first)
    session.fact("data", s=site.id, fn=f"sklearn.datasets.{name}", x=describe(data), params=options)
