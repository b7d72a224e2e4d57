"""headway: nobody waits. What user code sees; all of it is optional, and nothing is imported before it is used."""

from __future__ import annotations

# Every process of a user's passes here: the module `typing` alone would double the time of its start.
TYPE_CHECKING = False

__version__ = "0.1.0"
__all__ = ["Endpoint", "Recording", "Run", "compare", "deploy", "log", "model", "predict", "run", "runs"]

if TYPE_CHECKING:
    from typing import Any

    from headway.sdk.public import Endpoint, Recording, Run, compare, deploy, log, model, predict, run, runs


def __getattr__(name: str) -> Any:
    if name in __all__:
        from headway.sdk import public

        return getattr(public, name)
    raise AttributeError(f"module 'headway' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
