"""Draws the figures that a program showed: `python -m headway.capture.drawing FOLDER`, beside the program or after it.

The program's own thread only pickled them (`sources/figures.py`), as drawing takes ten times as long, lays a figure out anew
and may warn. This runs in the program's Python, and imports no module of the user's: a figure that needs one is left out.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["ENDING", "draw"]

ENDING = ".figure"
DPI = 80
TIMEOUT_S = 60.0
_LIBRARIES = frozenset(
    ("matplotlib", "mpl_toolkits", "numpy", "scipy", "pandas", "sklearn", "seaborn", "PIL", "cycler", "dateutil", "builtins",
     "_codecs", "_io", "copyreg", "collections", "datetime", "decimal", "enum", "fractions", "functools", "io", "itertools",
     "math", "operator", "pathlib", "re", "types", "weakref", "zoneinfo")
)  # fmt: skip


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] not in _LIBRARIES:
            raise pickle.UnpicklingError(f"{module} is the program's own")
        return super().find_class(module, name)


def draw(folder: Path, python: str) -> None:
    """Draws what waits in `folder` with the program's Python; what can't be drawn is told in the log and left out."""
    if not any(folder.glob(f"*{ENDING}")):
        return
    source = str(Path(__file__).resolve().parents[2])
    keep = {
        k: os.environ[k]
        for k in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "MPLCONFIGDIR", "LD_LIBRARY_PATH")
        if k in os.environ
    }
    environment = {**keep, "PYTHONPATH": source, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    words = [python, "-m", "headway.capture.drawing", str(folder)]
    try:
        subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"capture: figures were not drawn: {type(error).__name__}", file=sys.stderr)


def _draw_one(path: Path) -> None:
    import matplotlib as mpl

    settings, figure = _Reader(io.BytesIO(path.read_bytes())).load()
    with mpl.rc_context():
        for key, value in settings.items():
            try:
                mpl.rcParams[key] = value
            except (KeyError, ValueError):
                continue
        new = path.with_suffix(".tmp.png")
        figure.savefig(new, dpi=DPI)
        new.replace(path.with_suffix(".png"))


def main(folder: Path) -> int:
    import warnings

    warnings.simplefilter("ignore")
    for path in sorted(folder.glob(f"*{ENDING}")):
        try:
            _draw_one(path)
        except Exception as error:
            print(f"capture: {path.stem} was not drawn: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
