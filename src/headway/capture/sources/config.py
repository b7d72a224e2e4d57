"""Configuration: argparse at its parse, and again as it stands at the first fit, or at the end."""

from __future__ import annotations

import functools

from headway.capture.guard import wrap
from headway.capture.values import parameter

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]


def install(session: Session) -> None:
    session.hooks["argparse"] = functools.partial(_hook_argparse, session)


def _hook_argparse(session: Session, module: ModuleType) -> None:
    parser: Any = module.ArgumentParser
    source = session.source("argparse")
    parsed: list[tuple[int, Any, dict[str, Any]]] = []

    def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        caller = session.sites.caller(frame, limit=4)
        site = session.sites.at(caller) if caller is not None else None
        return None if site is None else (site, args[0])

    def leave(token: Any, result: Any, error: BaseException | None) -> None:
        if error is not None or not isinstance(result, tuple):
            return
        site, owner = token
        values = _values(result[0])
        defaults = {name: parameter(owner.get_default(name)) for name in values}
        given = {k: v for k, v in values.items() if v != defaults.get(k)}
        session.fact("args", s=site.id, values=values, given=given)
        parsed.append((site.id, result[0], values))

    def look_again() -> None:
        for number, namespace, before in parsed:
            now = {k: v for k, v in _values(namespace).items() if before.get(k, ...) != v}
            if now:
                session.fact("args", s=number, values=now, given=now, late=True)
        parsed.clear()

    parser.parse_known_args = wrap(parser.parse_known_args, source, enter, leave)
    session.models.before_first.append(look_again)
    session.at_end.append(look_again)


def _values(namespace: Any) -> dict[str, Any]:
    from headway.capture.redact import HIDDEN, secret_name

    found = {}
    for name, value in list(vars(namespace).items())[:300]:
        if name.startswith("_"):
            continue
        hidden = secret_name(name) and isinstance(value, str) and value
        found[name] = HIDDEN if hidden else parameter(value)
    return found
