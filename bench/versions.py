"""The capture tests' programs with other releases of the libraries, and with other Pythons: one line for each.

    python bench/versions.py [--only TEXT] [--keep DIR] [--pytest ARGS]

Each set of releases gets an environment of its own, built by uv; the tests run in this one, their programs in that. The table is
the one of docs/capture.md. Needs the development environment (`make dev`) and a package index; about 10 minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ALWAYS = (
    "ipykernel",
    "nbclient",
    "matplotlib",
    "tqdm",
    "pyyaml",
    "click",
    "polars",
    "cloudpickle",
    "coverage",
    "pytest",
)
SETS: dict[str, tuple[str, ...]] = {
    # name: (python, releases)
    "2023": ("3.11", "numpy<2", "scikit-learn==1.2.*", "pandas<2.1", "xgboost==1.7.*", "lightgbm==3.3.*", "scipy<1.12",
             "matplotlib<3.9", "optuna<4", "statsmodels<0.15"),
    "2024": ("3.11", "numpy<2", "scikit-learn==1.5.*", "pandas==2.*", "xgboost==2.*", "lightgbm==4.3.*", "optuna", "statsmodels"),
    "2025, Python 3.12": ("3.12", "numpy==2.1.*", "scikit-learn==1.7.*", "pandas==2.3.*", "xgboost==3.0.*", "lightgbm==4.6.*",
                          "optuna", "statsmodels"),
    "newest, Python 3.12": ("3.12", "numpy", "scikit-learn", "pandas", "xgboost", "lightgbm", "optuna", "statsmodels"),
    "newest, Python 3.13": ("3.13", "numpy", "scikit-learn", "pandas", "xgboost", "lightgbm", "optuna", "statsmodels"),
}  # fmt: skip
TESTS = ("programs", "tables", "hostile", "notebook", "functions", "lines", "grammar", "secrets", "children")
SHOWN = ("numpy", "scikit-learn", "pandas", "xgboost", "lightgbm", "optuna", "statsmodels")


def python_of(version: str, uv: str) -> str:
    """The path of an interpreter: one that is here, else one that uv brings."""
    found = subprocess.run([uv, "python", "find", version], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else version


def environment(folder: Path, releases: tuple[str, ...], uv: str) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "-q", "--python", python_of(releases[0], uv), str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *ALWAYS, *releases[1:]], check=True)
    return python


def versions(python: Path) -> dict[str, str]:
    code = (
        "import sys, importlib.metadata as m\n"
        "print('python', '.'.join(map(str, sys.version_info[:2])))\n"
        f"for n in {SHOWN!r}: print(n, m.version(n))"
    )
    lines = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    return dict(line.split() for line in lines if line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="sets whose name has this")
    parser.add_argument("--keep", type=Path, help="where the environments are built and stay")
    parser.add_argument("--pytest", default="-p no:cacheprovider", help="further arguments of pytest")
    options = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    uv = str(Path(sys.executable).with_name("uv"))
    failed = False
    print(f"| set | python | {' | '.join(SHOWN)} | passed | failed | skipped |")
    with tempfile.TemporaryDirectory() as scratch:
        for name, releases in SETS.items():
            if options.only not in name:
                continue
            python = environment((options.keep or Path(scratch)) / re.sub(r"\W+", "-", name), releases, uv)
            told = versions(python)
            env = {**os.environ, "HEADWAY_TEST_PYTHON": str(python), "HEADWAY_TEST_PYTHONS": ""}
            tests = [f"tests/capture/test_{t}.py" for t in TESTS]
            command = [sys.executable, "-m", "pytest", *tests, *options.pytest.split()]
            done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
            counts = [re.search(rf"(\d+) {word}", done.stdout[-400:]) for word in ("passed", "failed", "skipped")]
            numbers = [m[1] if m else "0" for m in counts]
            print(
                f"| {name} | {told['python']} | {' | '.join(told[n] for n in SHOWN)} | {' | '.join(numbers)} |",
                flush=True,
            )
            if done.returncode:
                failed = True
                print(done.stdout[-6000:], file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
