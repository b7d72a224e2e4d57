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
    lock = [f"scikit-learn=={sklearn.__version__}"]
    bundle.write(
        folder, manifest, lambda to: (to / "model.pkl").write_bytes(pickled), requirements=lock, examples=recorded
    )
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


CONSTANT = """\
class Constant:
    def __init__(self, value):
        self.value = value

    def predict(self, inputs):
        return [self.value] * len(inputs)
"""


def constant(folder: Path, value: float, module: str = "constant_model") -> Path:
    """A model that always answers `value`, of one float, whose class comes with the bundle: it loads in an instant."""
    flavors = bundle.flavors("sklearn", "model.pkl", version=sklearn.__version__, python=PYTHON)
    flavors["python_function"]["code"] = "code"
    signature = bundle.Signature((bundle.Tensor("float64", (-1, 1)),))
    # What pickle would write, without importing the module here.
    pickled = b"c%b\nConstant\n)\x81}X\x05\x00\x00\x00valueF%b\nsb." % (module.encode(), repr(float(value)).encode())

    def write(to: Path) -> None:
        (to / "model.pkl").write_bytes(pickled)
        (to / "code").mkdir()
        (to / "code" / "constant_model.py").write_text(CONSTANT)

    examples = bundle.Examples([[0.0], [1.0], [2.0]], [value] * 3, None, "float64")
    lock = [f"scikit-learn=={sklearn.__version__}"]
    bundle.write(folder, bundle.Manifest(flavors, signature), write, requirements=lock, examples=examples)
    return folder
