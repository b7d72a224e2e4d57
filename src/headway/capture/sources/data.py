"""The data read: what readers made of files, and data sets that libraries ship or generate.

Only paths, shapes, columns and dtypes; never a cell.
"""

from __future__ import annotations

import functools
import os
from types import FrameType, FunctionType, ModuleType

from headway.capture.guard import replace, wrap
from headway.capture.values import describe, scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

READERS = ("csv", "table", "excel", "json", "parquet", "feather", "hdf", "pickle", "sql", "sql_query", "sql_table", "fwf",
           "html", "xml", "orc", "stata", "sas", "spss", "clipboard")  # fmt: skip


def install(session: Session) -> None:
    session.hooks["pandas"] = functools.partial(_hook, session, [f"read_{name}" for name in READERS])
    session.hooks["numpy"] = functools.partial(_hook, session, ["loadtxt", "genfromtxt", "load"])
    session.hooks["polars"] = functools.partial(
        _hook, session, [f"read_{n}" for n in READERS] + ["scan_csv", "scan_parquet"]
    )
    session.hooks["seaborn"] = functools.partial(_hook, session, ["load_dataset"])
    session.hooks["sklearn.datasets"] = functools.partial(_hook_datasets, session)


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
