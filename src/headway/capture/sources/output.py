"""Printed and logged values. The text is the user's; what is kept are the values behind it and the names they have."""

from __future__ import annotations

import builtins
import functools
import sys
import time

from headway.capture.guard import Source, hide
from headway.capture.values import scalar, snapshot, text

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any

    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["install"]

# After so many calls of one site only every second, then fourth... is kept: a chart needs no more points.
THIN_AFTER = 20_000
FAST_LIMIT = 2_000


def install(session: Session) -> None:
    _wrap_print(session)
    session.hooks["logging"] = functools.partial(_wrap_logging, session)
    session.hooks["tqdm.std"] = functools.partial(_wrap_tqdm, session)


def _wrap_print(session: Session) -> None:
    original = builtins.print
    source = session.source("print")
    getframe = sys._getframe

    def print(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        if not source.off:
            try:
                _printed(session, source, getframe(1), args, kwargs)
            except Exception as error:
                source.failed(error)

    functools.update_wrapper(print, original)
    builtins.print = hide(print)


def _printed(session: Session, source: Source, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not session.sites.is_user(frame.f_code.co_filename):
        return
    if kwargs and kwargs.get("file") not in (None, sys.stdout, sys.stderr):
        return
    started = time.perf_counter_ns()
    try:
        site = session.sites.at(frame)
        if site is not None and _keep(site):
            _emit(session, "print", frame, site, args)
    finally:
        source.spend(time.perf_counter_ns() - started)


def _keep(site: Site) -> bool:
    count = site.count
    if count <= THIN_AFTER:
        return True
    return count % (1 << (count // THIN_AFTER).bit_length()) == 0


def _emit(session: Session, kind: str, frame: FrameType, site: Site, args: tuple[Any, ...], **more: Any) -> None:
    values = [_value(a, site) for a in args[:24]]
    session.fact(kind, s=site.id, v=values, n=_names(frame, site), **more)
    session.locals_at(frame, site)


def _value(value: Any, site: Site) -> Any:
    kind = type(value)
    if kind is str:
        return None if site.secret else text(value)
    found = scalar(value)
    if found is not ...:
        return found
    if site.count < FAST_LIMIT:
        found = snapshot(value)
        if found is not ...:
            return {"d": found}
    return {"t": kind.__name__}


def _names(frame: FrameType, site: Site) -> dict[str, Any]:
    """The scalars behind the names in the call and of the loops around it, at full precision."""
    found: dict[str, Any] = {}
    if not site.names:
        return found
    local = frame.f_locals if not site.module_level else frame.f_globals
    for name in site.names:
        value = local.get(name, ...)
        if value is not ... and (value := scalar(value)) is not ...:
            found[name] = value
    return found


def _wrap_logging(session: Session, module: ModuleType) -> None:
    logger: Any = module.Logger
    original = logger.callHandlers
    source = session.source("logging")

    def callHandlers(self: Any, record: Any) -> Any:
        result = original(self, record)
        if not source.off:
            started = time.perf_counter_ns()
            try:
                _logged(session, record)
            except Exception as error:
                source.failed(error)
            finally:
                source.spend(time.perf_counter_ns() - started)
        return result

    functools.update_wrapper(callHandlers, original)
    logger.callHandlers = hide(callHandlers)


def _logged(session: Session, record: Any) -> None:
    if not session.sites.is_user(record.pathname):
        return
    frame = session.sites.caller(sys._getframe(2))
    site = session.sites.at(frame) if frame is not None else None
    if frame is None or site is None or not _keep(site):
        return
    args = record.args if isinstance(record.args, tuple) else ()
    _emit(session, "log", frame, site, (record.msg if isinstance(record.msg, str) else None, *args))


def _wrap_tqdm(session: Session, module: ModuleType) -> None:
    """What a progress bar shows behind its count: `set_postfix(loss=...)`, `set_description(f"loss {l}")`."""
    source = session.source("tqdm")
    for method in ("set_postfix", "set_description", "set_postfix_str", "set_description_str"):
        original = getattr(module.tqdm, method, None)
        if original is not None:
            setattr(module.tqdm, method, hide(_bar(session, source, original)))


def _bar(session: Session, source: Source, original: Any) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if not source.off:
            started = time.perf_counter_ns()
            try:
                _shown(session, sys._getframe(1), args, kwargs)
            except Exception as error:
                source.failed(error)
            finally:
                source.spend(time.perf_counter_ns() - started)
        return result

    return call


def _shown(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not session.sites.is_user(frame.f_code.co_filename):
        return
    site = session.sites.at(frame)
    if site is None or not _keep(site):
        return
    shown = {k: v for k, v in kwargs.items() if k not in ("refresh", "ordered_dict")}
    if len(args) > 1 and isinstance(args[1], dict):
        shown.update(args[1])
    texts = tuple(a for a in args[1:2] if isinstance(a, str))
    labelled = {str(k): v for k, raw in shown.items() if (v := scalar(raw)) is not ...}
    _emit(session, "bar", frame, site, texts, w=labelled)
