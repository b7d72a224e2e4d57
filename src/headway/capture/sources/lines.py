"""Values in log records and behind progress bars, and how far the bars are."""

from __future__ import annotations

import functools
import sys
import time

from headway.capture.guard import hide
from headway.capture.pace import EVERY, HOT, keep
from headway.capture.sources.output import emit
from headway.capture.sources.relays import relayed
from headway.capture.values import scalar

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any

    from headway.capture.guard import Source
    from headway.capture.session import Session

__all__ = ["install"]


def install(session: Session) -> None:
    session.hooks["logging"] = functools.partial(_wrap_logging, session)
    session.hooks["tqdm.std"] = functools.partial(_wrap_tqdm, session)


def _wrap_logging(session: Session, module: ModuleType) -> None:
    """`logger.info(...)` calls its handlers first, then ours. Who logs very fast is left alone between rounds."""
    logger: Any = module.Logger
    original = logger.callHandlers
    source, pace = session.source("logging"), session.pace
    pace.watch(source)
    hot: dict[int, str] = {}  # the lines that came often

    def callHandlers(self: Any, record: Any) -> Any:
        result = original(self, record)
        if pace.left <= 0 and hot.get(record.lineno) == record.pathname:
            passable = pace.passable = pace.passable - 1
            if passable & EVERY:
                return result
            if passable < 0:
                if logger.callHandlers is wrapper:
                    logger.callHandlers = original
                    pace.out.append(again)
                return result
        if not source.off:
            started = time.thread_time_ns()
            try:
                if _logged(session, record) > HOT:
                    hot[record.lineno] = record.pathname
            except Exception as error:
                source.failed(error)
            finally:
                source.spend(time.thread_time_ns() - started)
        return result

    def again() -> None:
        if logger.callHandlers is original:
            logger.callHandlers = wrapper

    functools.update_wrapper(callHandlers, original)
    wrapper = logger.callHandlers = hide(callHandlers)


def _logged(session: Session, record: Any) -> int:
    """Notes a record; how often its line came so far, 0 where it hands on the lines of others."""
    if not session.sites.is_user(record.pathname):
        return 0
    frame = session.sites.caller(sys._getframe(2))
    args = record.args if isinstance(record.args, tuple) else ()
    kind, told = "log", (record.msg if isinstance(record.msg, str) else None, *args)
    if frame is not None and not args and (above := relayed(frame, record.msg, session.sites)) is not None:
        kind, (frame, told) = "print", above
    site = session.sites.at(frame) if frame is not None else None
    if frame is None or site is None:
        return 0
    if keep(site):
        emit(session, kind, frame, site, told)
        session.pace.left -= 5
    return 0 if kind == "print" else site.count


def _wrap_tqdm(session: Session, module: ModuleType) -> None:
    """What a progress bar shows behind its count: `set_postfix(loss=...)`, `set_description(f"loss {l}")`."""
    source = session.source("tqdm")
    _watch_progress(session, module)
    for method in ("set_postfix", "set_description", "set_postfix_str", "set_description_str"):
        original = getattr(module.tqdm, method, None)
        if original is not None:
            setattr(module.tqdm, method, hide(_bar(session, source, original)))


def _watch_progress(session: Session, module: ModuleType) -> None:
    """How far the outermost bar is, looked at once a second by the writer: it costs a loop nothing."""
    bar: Any = module.tqdm
    begin = bar.__init__
    last: list[Any] = [0.0, None]

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        session.spool.rouse()

    def look() -> None:
        now = time.monotonic()
        if now - last[0] < 1 or session.source("tqdm").off:
            return
        last[0] = now
        try:
            shown = [b for b in list(getattr(bar, "_instances", ())) if not b.disable and type(b.total) in (int, float)]
            outer = min(shown, key=lambda b: abs(b.pos), default=None)
            found = None if outer is None else (outer.n, outer.total, str(outer.desc or "").rstrip(": ")[:100])
            if found is not None and found != last[1]:
                last[1] = found
                session.fact("progress", n=found[0], total=found[1], text=found[2])
        except Exception as error:
            session.source("tqdm").failed(error)

    bar.__init__ = hide(functools.wraps(begin)(__init__))
    session.spool.on_tick.append(look)


def _bar(session: Session, source: Source, original: Any) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if not source.off:
            started = time.thread_time_ns()
            try:
                _shown(session, sys._getframe(1), args, kwargs)
            except Exception as error:
                source.failed(error)
            finally:
                source.spend(time.thread_time_ns() - started)
        return result

    return call


def _shown(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not session.sites.is_user(frame.f_code.co_filename):
        return
    site = session.sites.at(frame)
    if site is None or not keep(site) or (session.pace.left <= 0 and site.count > HOT and site.count & EVERY):
        return
    session.pace.left -= 5
    shown = {k: v for k, v in kwargs.items() if k not in ("refresh", "ordered_dict")}
    if len(args) > 1 and isinstance(args[1], dict):
        shown.update(args[1])
    texts = tuple(a for a in args[1:2] if isinstance(a, str))
    labelled = {str(k): v for k, raw in shown.items() if (v := scalar(raw)) is not ...}
    emit(session, "bar", frame, site, texts, w=labelled)
