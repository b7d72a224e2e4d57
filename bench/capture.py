"""What capture finds in unmodified code: runs the corpus under capture and prints the scorer's table.

    python bench/capture.py CORPUS SUITE [--python PY] [--split open] [--only TEXT] [--out DIR] [--plain]

CORPUS holds the items' sources, one folder a repository (owner+name). SUITE is the folder with run_capture.py,
score_capture.py, capture_corpus.json and capture_labels.json. PY is the interpreter whose environment has the libraries.
Nothing of the corpus is kept; DIR gets each item's output, its facts, and its capture file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from headway.capture.reduce import reduce
from headway.capture.shipper import Reader

ENTRY = """import os, sys
out, runtime = os.environ.get("HEADWAY_OUT"), os.environ.get("HEADWAY_RUNTIME")
if out and runtime and not os.environ.get("HEADWAY_PARENT"):
    os.environ["HEADWAY_SPOOL"] = os.path.join(out, "spool")
    sys.path.append(runtime)
    import headway.boot
    headway.boot.boot()
"""

# Seeds are pinned from outside, for captured and plain runs alike.
SEEDS = """import random, sys
random.seed(0)
class _Pin:
    done = set()
    def find_spec(self, name, path=None, target=None):
        if name in ("numpy", "torch") and name not in self.done:
            self.done.add(name)
            import importlib.util
            spec = importlib.util.find_spec(name)
            load = spec.loader.exec_module
            def execute(module):
                load(module)
                (module.random.seed if name == "numpy" else module.manual_seed)(0)
            spec.loader.exec_module = execute
            return spec
sys.meta_path.insert(0, _Pin())
"""


def capture_file(item: str, folder: Path) -> dict[str, Any]:
    """One item's captured facts in the scorer's neutral form."""
    reader = Reader(folder / "spool")
    reader.read()
    record = reduce(reader.facts)
    output = folder / "stdout.txt"
    return {
        "item": item,
        "params": {k: v["value"] for k, v in record["params"].items()},
        "metrics": {k: [p[:2] for p in m["points"]] for k, m in record["metrics"].items()},
        "models": [name for m in record["models"] for name in model_names(m)],
        "stdout": output.read_text(errors="replace") if output.exists() else "",
    }


def model_names(model: dict[str, Any]) -> list[str]:
    """The class, once for each configuration that was trained."""
    return [str(model["class"])] * int(model.get("configurations") or 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--split", default="open")
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plain", action="store_true", help="run without capture, for comparing output and time")
    parser.add_argument("--score-only", action="store_true", help="reduce and score what is in --out")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="headway-capture-"))
    with tempfile.TemporaryDirectory() as entry:
        start = SEEDS if options.plain else SEEDS + ENTRY
        (Path(entry) / "sitecustomize.py").write_text(start)
        runtime = Path(__file__).resolve().parent.parent / "src"
        command = [sys.executable, str(options.suite / "run_capture.py"), str(options.corpus), str(out)]
        command += ["--python", options.python, "--pythonpath", entry, "--split", options.split]
        command += ["--env", f"HEADWAY_RUNTIME={runtime}"] + (["--only", options.only] if options.only else [])
        if not options.score_only:
            subprocess.run(command, check=True)
    if options.plain:
        return 0
    captures = out / "captures"
    captures.mkdir(exist_ok=True)
    for result in sorted(out.glob("*/result.json")):
        item = json.loads(result.read_text())["item"]
        found = capture_file(item, result.parent)
        (captures / f"{result.parent.name}.json").write_text(json.dumps(found, default=str))
    score = [
        sys.executable,
        str(options.suite / "score_capture.py"),
        str(captures),
        "--split",
        options.split,
        "--misses",
    ]
    return subprocess.run(score, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
