"""The sources of facts, in order of trust: library hooks, printed values, names, configuration, data, figures."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from headway.capture.session import Session

__all__ = ["install", "wake"]

# Each source, and the packages it has hooks for: it is set up when the first of them is imported. () is at once.
_SOURCES: dict[str, tuple[str, ...]] = {
    "output": (),
    "opened": (),
    "code": (),
    **({"functions": ()} if sys.version_info >= (3, 12) else {}),
    "lines": ("logging", "tqdm"),
    "fits": ("sklearn",),
    "boosting": ("xgboost", "lightgbm"),
    "catboost": ("catboost",),
    "studies": ("optuna", "statsmodels"),
    "torch": ("torch",),
    "lightning": ("lightning", "pytorch_lightning"),
    "keras": ("keras",),
    "transformers": ("transformers",),
    "saved": ("torch", "onnx", "safetensors", "keras", "joblib"),
    "config": ("argparse",),
    "parsers": ("click", "typer", "fire", "absl", "hydra", "omegaconf", "jsonargparse", "yaml", "tomllib", "json"),
    "trackers": ("mlflow", "wandb", "clearml", "torch", "tensorboardX"),
    "data": ("pandas", "numpy", "polars", "seaborn", "sklearn"),
    "figures": ("matplotlib",),
    "cells": ("IPython",),
}


def install(session: Session) -> None:
    """Lets each source set its hooks, at once or when its packages come; one that fails is left out and noted."""
    for name, packages in _SOURCES.items():
        if not packages:
            _set_up(session, name)
        for package in packages:
            session.waiting.setdefault(package, []).append(name)


def wake(session: Session, package: str) -> None:
    """Sets up the sources that wait for a package, which is about to be imported."""
    for name in session.waiting.pop(package, ()):
        for waiting in session.waiting.values():
            if name in waiting:
                waiting.remove(name)
        _set_up(session, name)


def _set_up(session: Session, name: str) -> None:
    try:
        __import__(f"headway.capture.sources.{name}")
        sys.modules[f"headway.capture.sources.{name}"].install(session)
    except Exception as error:
        session.fact("note", text=f"{name}: {type(error).__name__}")
