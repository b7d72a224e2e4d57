"""Printed values. The text is the user's; what is kept are the values behind it and the names they have."""

from __future__ import annotations

import builtins
import sys
import time

from headway.capture.guard import GRACE_NS, hide, like
from headway.capture.sources.relays import relayed
from headway.capture.values import held, scalar, snapshot, text

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session
    from headway.capture.sites import Site

__all__ = ["emit", "install", "keep"]

# After so many calls of one site only every second, then fourth... is kept: a chart needs no more points.
THIN_AFTER = 20_000
FAST_LIMIT = 2_000
# Prints that are looked at: so many at once, so many more at each round of the writer (100 ms). Beyond that, of a loop that
# prints thousands of lines between two rounds, every eighth; and after so many of those none until the next round.
BURST, REFILL, PATIENCE = 2_000, 200, 2_000
HOT = 500
_PLAIN = frozenset((float, int, str, bool, type(None)))


def install(session: Session) -> None:
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

    builtins.print = wrapper = hide(like(print, original))
    spool.on_tick.append(tick)


def _printed(session: Session, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not session.sites.is_user(frame.f_code.co_filename):
        return
    if kwargs and kwargs.get("file") not in (None, sys.stdout, sys.stderr):
        return
    if len(args) == 1 and (above := relayed(frame, args[0], session.sites)) is not None:
        frame, args = above
    site = session.sites.at(frame)
    if site is not None and (site.count <= THIN_AFTER or keep(site)):
        emit(session, "print", frame, site, args)


def keep(site: Site) -> bool:
    count = site.count
    if count <= THIN_AFTER:
        return True
    return count % (1 << (count // THIN_AFTER).bit_length()) == 0


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
    holds = held(frame) if not site.module_level else frame.f_globals
    return tuple(map(_told, map(holds.get, site.names)))


def _told(value: Any) -> Any:
    """A value as a scalar, None where it is none."""
    if type(value) in _PLAIN:
        return value
    found = scalar(value)
    return None if found is ... else found
