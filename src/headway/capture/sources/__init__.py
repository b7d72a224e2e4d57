"""The sources of facts, in order of trust: library hooks, printed values, names, configuration, data, figures."""

from __future__ import annotations

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from headway.capture.session import Session

__all__ = ["install"]

_NAMES = ("output", "fits", "boosting", "studies", "config", "data", "figures", "cells", "code")


def install(session: Session) -> None:
    """Lets each source set its hooks; one that fails is left out and noted."""
    from importlib import import_module

    for name in _NAMES:
        try:
            import_module(f"headway.capture.sources.{name}").install(session)
        except Exception as error:
            session.fact("note", text=f"{name}: {type(error).__name__}")
