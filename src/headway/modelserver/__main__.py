"""`python -m headway.modelserver prove BUNDLE` and `... serve --socket PATH BUNDLE`, in the model's environment."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import warnings
from pathlib import Path

from headway import bundle
from headway.modelserver.loading import load
from headway.modelserver.loop import serve
from headway.modelserver.predictor import Predictor
from headway.modelserver.prove import Failed, prove


def main() -> int:
    """Exit status: 0 done, 1 the bundle does not hold (the verdict, as JSON, is the last line), 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m headway.modelserver", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    proof = verbs.add_parser("prove", help="load the bundle here and replay its recorded examples")
    proof.add_argument("bundle", type=Path)
    proof.add_argument("--verdict", type=Path, help="also write the verdict to this file")
    server = verbs.add_parser("serve", help="answer frames on a UNIX socket")
    server.add_argument("--socket", type=Path, required=True)
    server.add_argument("bundle", type=Path)
    args = parser.parse_args()
    return _prove(args.bundle, args.verdict) if args.verb == "prove" else _serve(args.bundle, args.socket)


def _prove(folder: Path, to: Path | None) -> int:
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):  # what the model's own code prints is not the verdict
        verdict = prove(folder)
    text = verdict.to_json()
    if to is not None:
        part = to.with_suffix(".tmp")
        part.write_text(text, encoding="utf-8")
        part.replace(to)
    print(text, flush=True)
    return 0 if verdict.ok else 1


def _serve(folder: Path, socket: Path) -> int:
    warnings.simplefilter(
        "ignore"
    )  # scikit-learn warns at each call without feature names: the columns are checked before
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        predictor = Predictor(load(folder), bundle.read_examples(folder))
    except (bundle.BundleError, Failed) as error:
        print(f"the bundle can't be served: {error}", file=sys.stderr, flush=True)
        return 1
    gc.collect()
    gc.freeze()
    serve(predictor, socket)
    return 0


if __name__ == "__main__":
    sys.exit(main())
