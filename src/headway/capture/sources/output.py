"""Printed and logged values. The text is the user's; what is kept are the values behind it and the names they have."""

from __future__ import annotations

import builtins
import functools
import sys
import time

from headway.capture.guard import GRACE_NS, Source, hide
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
# Prints that are looked at: so many at once, so many more at each round of the writer (100 ms). Beyond that, of a loop that
# prints thousands of lines between two rounds, every eighth; and after so many of those none until the next round.
BURST, REFILL, PATIENCE = 2_000, 200, 2_000
HOT = 500
_PLAIN = frozenset((float, int, str, bool, type(None)))


def install(session: Session) -> None:
    _wrap_print(session)
    session.hooks["logging"] = functools.partial(_wrap_logging, session)
    session.hooks["tqdm.std"] = functools.partial(_wrap_tqdm, session)


def _wrap_print(session: Session) -> None:
    """`print` calls the original first, then ours. Who prints faster than a chart could show is left alone between ticks.

    The path of a call that was met before is kept short: plain values are noted as they are, and looked at by the writer.
    """
    original = builtins.print
    source, sites, spool = session.source("print"), session.sites, session.spool
    getframe, now, users, known, note = sys._getframe, time.perf_counter_ns, sites.users, sites.known, spool.note
    plain = _PLAIN.issuperset
    left, skipped = BURST, 0
    hot: Any = None  # the code, and the place in it, of the loop that prints
    hot_at = 0

    def print(*args: Any, **kwargs: Any) -> None:
        nonlocal left, skipped, hot, hot_at
        original(*args, **kwargs)
        frame = getframe(1)
        if left < 0 and frame.f_lasti == hot_at and frame.f_code is hot:
            skipped += 1
            if skipped & 7:
                if skipped > PATIENCE and builtins.print is wrapper:
                    builtins.print = original
                return
        if source.off:
            return
        started = now()
        try:
            code = frame.f_code
            if users.get(code.co_filename) is not False:
                site = known.get((id(code), frame.f_lasti))
                if site is None or kwargs or not site.plain or site.count >= THIN_AFTER:
                    _printed(session, frame, args, kwargs)
                else:
                    site.count += 1
                    told = tuple(map(frame.f_globals.get, site.names))
                    if plain(map(type, args)) and plain(map(type, told)):
                        note((started, None, "print", site, args, told))
                    else:
                        note((started, None, "print", site, _values(args, site), tuple(map(_told, told))))
                left -= 1
                if site is not None and site.count > HOT:
                    hot, hot_at = code, frame.f_lasti
        except Exception as error:
            source.failed(error)
        spent = source.spent_ns = source.spent_ns + now() - started
        if spent > GRACE_NS:
            source.spend(0)

    def tick() -> None:
        nonlocal left, skipped
        left, skipped = min(max(left, 0) + REFILL, BURST), 0
        if builtins.print is original:
            builtins.print = wrapper

    functools.update_wrapper(print, original)
    builtins.print = wrapper = hide(print)
    spool.on_tick = tick


def _printed(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not session.sites.is_user(frame.f_code.co_filename):
        return
    if kwargs and kwargs.get("file") not in (None, sys.stdout, sys.stderr):
        return
    site = session.sites.at(frame)
    if site is not None and (site.count <= THIN_AFTER or _keep(site)):
        _emit(session, "print", frame, site, args)


def _keep(site: Site) -> bool:
    count = site.count
    if count <= THIN_AFTER:
        return True
    return count % (1 << (count // THIN_AFTER).bit_length()) == 0


def _emit(session: Session, kind: str, frame: FrameType, site: Site, args: tuple[Any, ...], **more: Any) -> None:
    told = _names(frame, site)
    if more:
        session.fact(kind, s=site.id, v=_values(args, site), n=dict(zip(site.names, told, strict=True)), **more)
    else:
        session.spool.row(kind, site, _values(args, site), told)
    if not site.module_level and not site.count & (site.count - 1):
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


def _values(args: tuple[Any, ...], site: Site) -> list[Any]:
    return [a if type(a) in _PLAIN and not site.secret else _value(a, site) for a in args[:24]]


def _names(frame: FrameType, site: Site) -> tuple[Any, ...]:
    """The scalars behind the names in the call and of the loops around it, at full precision; None for what is none."""
    if not site.names:
        return ()
    holds = frame.f_locals if not site.module_level else frame.f_globals
    return tuple(map(_told, map(holds.get, site.names)))


def _told(value: Any) -> Any:
    """A value as a scalar, None where it is none."""
    if type(value) in _PLAIN:
        return value
    found = scalar(value)
    return None if found is ... else found


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
