"""Printed values. The text is the user's; what is kept are the values behind it and the names they have."""

from __future__ import annotations

import builtins
import sys
import time

from headway.capture.guard import hide, like
from headway.capture.pace import EVERY, HOT, THIN_AFTER, keep
from headway.capture.sources.relays import relayed
from headway.capture.values import scalar, snapshot, text, told_of

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["emit", "install"]

FAST_LIMIT = 2_000
SETTLED = 64  # a function's line of one text that so often was its own is no relay
CLOCKED = 31  # of the calls that are looked at one of 32 is timed (a mask)
_PLAIN = frozenset((float, int, str, bool, type(None)))


def install(session: Session) -> None:
    """`print` calls the original first, then ours. Who prints faster than a chart could show is left alone between rounds.

    The path of a call that was met before is kept short: plain values are noted as they are, and looked at by the writer.
    """
    original = builtins.print
    source, spool, pace = session.source("print"), session.spool, session.pace
    getframe, now, known, append, hot = sys._getframe, time.perf_counter_ns, session.sites.known, spool.append, pace.hot
    plain = _PLAIN.issuperset

    def print(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        frame = getframe(1)
        if pace.left <= 0 and hot.get(frame.f_lasti) is frame.f_code:
            passable = pace.passable = pace.passable - 1
            if passable & EVERY:
                return
            if passable < 0:
                if builtins.print is wrapper:
                    builtins.print = original
                    pace.out.append(again)
                return
        if source.off:
            return
        started = now()
        try:
            site = known.get((id(frame.f_code), frame.f_lasti))
            if site is None or kwargs or not site.plain:
                _printed(session, frame, args, kwargs)
            else:
                count = site.count = site.count + 1
                if count > THIN_AFTER and not keep(site):
                    return
                if site.module_level:
                    told = tuple(map(frame.f_globals.get, site.names))
                else:
                    told = told_of(frame, site.names)
                    if not count & (count - 1):
                        session.locals_at(frame, site)
                    pace.left -= 1
                if plain(map(type, args)) and plain(map(type, told)):
                    append((started, None, "print", site, args, told))
                else:
                    append((started, None, "print", site, _values(args, site), tuple(map(_told, told))))
                if not spool.running:
                    spool.rouse()
                if count > HOT:
                    hot[frame.f_lasti] = frame.f_code
        except Exception as error:
            source.failed(error)
        left = pace.left = pace.left - 1
        if not left & CLOCKED:
            source.spend((now() - started) * (CLOCKED + 1))

    def again() -> None:
        if builtins.print is original:
            builtins.print = wrapper

    builtins.print = wrapper = hide(like(print, original))
    pace.watch(source)
    spool.on_tick.append(pace.round)


def _printed(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    pace = session.pace
    if not session.sites.is_user(frame.f_code.co_filename):
        if pace.left <= 0:
            pace.hot[frame.f_lasti] = frame.f_code  # a library's: no line of it is wanted
        return
    if kwargs and kwargs.get("file") not in (None, sys.stdout, sys.stderr):
        return
    above = relayed(frame, args[0], session.sites) if len(args) == 1 else None
    if above is not None:
        frame, args = above
    site = session.sites.at(frame)
    if site is not None and keep(site):
        emit(session, "print", frame, site, args)
        pace.left -= 2
    if site is not None and above is None:
        site.plain = not site.secret and (len(args) > 1 or site.module_level or site.count > SETTLED)
        if site.count > HOT:
            pace.hot[frame.f_lasti] = frame.f_code


def emit(session: Session, kind: str, frame: FrameType, site: Site, args: tuple[Any, ...], **more: Any) -> None:
    told = _names(frame, site)
    if more:
        held = {k: v for k, v in zip(site.names, told, strict=True) if v is not None} if told else {}
        session.fact(kind, s=site.id, v=_values(args, site), n=held, **more)
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
    found = map(frame.f_globals.get, site.names) if site.module_level else told_of(frame, site.names)
    return tuple(map(_told, found))


def _told(value: Any) -> Any:
    """A value as a scalar, None where it is none."""
    if type(value) in _PLAIN:
        return value
    found = scalar(value)
    return None if found is ... else found
