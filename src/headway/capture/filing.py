"""A record's files on the server: models, code, environment, tables, figures, and the record itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from headway.capture import wording
from headway.capture.outbox import Outbox
from headway.capture.replay import replay
from headway.capture.sources.figures import unused
from headway.capture.wire import Refused, artifact_path

__all__ = ["artifacts", "models"]

FILE_LIMIT = 200 * 1024**2
CHECKPOINTS = 10


def models(out: Outbox, record: dict[str, Any]) -> None:
    """The saved models; each gets its `model_id` in the record."""
    for model in record["models"]:
        folder = model.get("folder")
        if folder and not Path(folder).is_dir():
            folder = str(out.spool / "models" / Path(folder).name)  # the spool was moved
        if folder and Path(folder).is_dir():
            if folder not in out.sent.models:
                _model(out, model, Path(folder), record)
            model["model_id"] = out.sent.models.get(folder)


def _model(out: Outbox, model: dict[str, Any], folder: Path, record: dict[str, Any]) -> None:
    training: dict[str, Any] = next((t for t in record["trainings"] if t["id"] == model["training"]), {})
    params = {**(training.get("params") or {}), **(training.get("best_params") or {})}
    tags = {"headway.class": str(model["class"]), "headway.line": str(model.get("line") or "")}
    body = {
        "experiment_id": out.sent.experiment_id,
        "name": re.sub(r"[^A-Za-z0-9_-]+", "_", str(model.get("title") or model["inner"] or model["class"])),
        "source_run_id": out.sent.run_id,
        "params": wording.pairs({k: t for k, v in list(params.items())[:80] if (t := wording.text(v))}),
        "tags": wording.pairs(tags),
    }
    info = out.server.call("POST", "logged-models", body)["model"]["info"]
    number = str(info["model_id"])
    root = artifact_path(str(info["artifact_uri"]))
    if root is None:
        out.sent.refused.append(f"{folder.name}: the server keeps artifacts at {info['artifact_uri']}")
        return
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == "MLmodel":
            manifest = json.loads(path.read_text(encoding="utf-8"))
            manifest |= {"model_id": number, "run_id": out.sent.run_id}
            out.server.put(f"{root}/{name}", json.dumps(manifest, indent=1).encode())
        else:
            out.server.put(f"{root}/{name}", path)
    out.server.call("PATCH", f"logged-models/{number}", {"model_id": number, "status": "LOGGED_MODEL_READY"})
    outputs = {"run_id": out.sent.run_id, "models": [{"model_id": number, "step": 0}]}
    try:
        out.server.call("POST", "runs/outputs", outputs)
    except Refused as error:
        out.sent.refused.append(f"outputs: {error}"[:500])
    out.sent.models[str(folder)] = number
    out.save()


def artifacts(out: Outbox, record: dict[str, Any]) -> None:
    """All other files, the record last."""
    packages = record["environment"].get("packages") or []
    python = record["environment"].get("python", "")
    if packages:
        out.upload("headway/environment.txt", f"# python {python}\n{''.join(p + chr(10) for p in packages)}".encode())
    for item in record["code"]:
        out.upload(f"headway/code/{wording.code_name(item, record)}", item["text"].encode())
    if script := replay([c for c in record["code"] if c.get("cell") is not None]):
        out.upload("headway/code/replay.py", script.encode())
    if record["data"]:
        out.upload("headway/data.json", json.dumps(record["data"], indent=1, default=str).encode())
    for number, table in enumerate(record["tables"][:60], 1):
        name = re.sub(r"[^A-Za-z0-9]+", "-", table["name"]).strip("-")[:60]
        rows = {"columns": table["columns"], "data": table["data"]}
        out.upload(f"headway/tables/{number:02d}-{name}.json", json.dumps(rows, default=str).encode())
    _figures(out, record)
    _checkpoints(out, record)
    slim = {**record, "code": [{k: v for k, v in c.items() if k != "text"} for c in record["code"]]}
    slim["tables"] = [{k: v for k, v in t.items() if k != "data"} for t in record["tables"]]
    slim["refused"] = out.sent.refused
    out.upload("headway/capture.json", json.dumps(slim, default=str).encode())


def _figures(out: Outbox, record: dict[str, Any]) -> None:
    """Under names that are the same in the next run: what a figure is called, or the file that the program gave it."""
    names: dict[str, str] = {}
    last = {f["path"]: f for f in record["figures"]}  # a figure that was shown again is there once, as it was at last
    for figure in list(last.values())[:60]:
        path = _kept(out, figure["path"])
        if path.is_file() and path.stat().st_size <= FILE_LIMIT:
            name = unused(figure.get("name") or Path(figure["path"]).stem, names)
            names[name] = figure["artifact"] = f"headway/figures/{name}{path.suffix}"
            out.upload(figure["artifact"], path.read_bytes())


def _checkpoints(out: Outbox, record: dict[str, Any]) -> None:
    """The last model files that the program wrote itself, as they lie in its folder: `checkpoints/best.pt`.

    Each of the others says why it is not kept; a graph (.onnx) is filed among the models.
    """
    files = [f for f in record["checkpoints"] if not f["name"].endswith(".onnx")]
    for file in files[:-CHECKPOINTS]:
        file["reason"] = f"only the last {CHECKPOINTS} model files of a run are kept"
    for file in files[-CHECKPOINTS:]:
        path = Path(file["path"])
        if not path.is_file():
            file["reason"] = "the file was gone when the run was sent"
        elif path.stat().st_size > FILE_LIMIT:
            file["reason"] = f"the file is larger than {FILE_LIMIT // 1024**2} MiB"
        else:
            file["artifact"] = "checkpoints/" + re.sub(r"[^A-Za-z0-9_./=-]+", "_", file["name"])
            out.upload(file["artifact"], path)


def _kept(out: Outbox, path: str) -> Path:
    """Where a file of the run lies now: a spool may have been moved since, and its files with it."""
    kept: str | None = (out.gathered.get("figures") or {}).get(path)
    if kept:
        return out.spool / "figures" / kept
    inside = out.spool / "figures" / Path(path).name
    return inside if not Path(path).exists() and inside.exists() else Path(path)
