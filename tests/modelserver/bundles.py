"""Fitted models as bundles whose lock is this environment's."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn

from headway import bundle

PYTHON = sys.version.split()[0]


def save(folder: Path, model: Any, inputs: Any, *, examples: bool = True, **headway: Any) -> Path:
    """Writes a fitted model as a bundle whose lock is this environment's."""
    flavors = bundle.flavors("sklearn", "model.pkl", version=sklearn.__version__, python=PYTHON)
    predictions = model.predict(inputs)
    manifest = bundle.Manifest(flavors, bundle.infer(inputs, predictions), headway)
    pickled = pickle.dumps(model)
    recorded = bundle.record(inputs, predictions) if examples else None
    bundle.write(folder, manifest, lambda to: (to / "model.pkl").write_bytes(pickled), examples=recorded)
    return folder


def people(rows: int = 40) -> tuple[pd.DataFrame, pd.Series]:
    """A mixed table: numbers, whole numbers, text with gaps."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({
        "age": random.integers(18, 80, rows),
        "income": random.normal(50, 10, rows),
        "city": random.choice(["Oslo", "Bergen"], rows),
    })  # fmt: skip
    frame.loc[1, "income"] = None
    target = pd.Series(np.where(frame.age > 50, "old", "young"))
    return frame, target
