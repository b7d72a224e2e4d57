"""Models of strange habits, importable by a replica's unpickling."""

from __future__ import annotations

from typing import Any

import numpy as np


class Centred:
    """Subtracts the mean of the call: its answer for a row depends on the others."""

    def predict(self, frame: Any) -> Any:
        return (frame - frame.mean()).sum(axis=1).to_numpy()


class Odd:
    """Answers the same value for every row, or one too few."""

    def __init__(self, value: Any, *, short: bool = False) -> None:
        self.value, self.short = value, short

    def predict(self, frame: Any) -> Any:
        count = len(frame) - (1 if self.short and len(frame) == 2 else 0)
        return np.array([self.value] * count)


class Dies:
    """Ends its process when asked about a negative number, as a crash in native code does."""

    def predict(self, frame: Any) -> Any:
        if (np.asarray(frame, dtype=float) < 0).any():
            import os

            os._exit(11)
        return np.zeros(len(frame))


class Slow:
    """Takes its time."""

    def predict(self, frame: Any) -> Any:
        import time

        time.sleep(float(np.asarray(frame, dtype=float)[0, 0]))
        return np.zeros(len(frame))
