"""What a record is called in the protocol's terms: pairs, tags, data sets, names of experiments and files. Pure."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

__all__ = ["code_name", "dataset", "experiment_name", "pairs", "progress", "tags", "text", "unsaid"]

VALUE_LIMIT = 500


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": k, "value": v} for k, v in values.items()]


def text(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    return shown if len(shown) <= VALUE_LIMIT else shown[: VALUE_LIMIT - 1] + "…"


def tags(record: dict[str, Any]) -> dict[str, str]:
    found = {"headway.captured": "true", "headway.trainings": str(len(record["trainings"]))}
    classes = list(dict.fromkeys(str(m["inner"] or m["class"]) for m in record["models"]))
    if classes:
        found["headway.models"] = ", ".join(classes)[:500]
    if record["notes"]:
        found["headway.notes"] = "\n".join(record["notes"])[:2000]
    return found


def dataset(item: dict[str, Any]) -> dict[str, str] | None:
    """A data fact as the protocol's dataset."""
    shape = item.get("shape") or {}
    columns = shape.get("columns") or []
    if item["kind"] == "file":
        name, source, kind = Path(item["path"]).name, {"uri": item["path"]}, "local"
        digest = item.get("sha256") or f"{item['size']}-{int(item['mtime'])}"
    elif item["kind"] == "call":
        name = str(item.get("path") or item["name"]).rsplit("/", 1)[-1]
        source, kind = {"call": item["name"], "path": item.get("path"), "params": item["params"]}, "code"
        digest = hashlib.sha256(
            json.dumps([item["name"], item["params"], shape], sort_keys=True, default=str).encode()
        ).hexdigest()
    else:
        return None
    found = {"name": name, "digest": digest[:36], "source_type": kind, "source": json.dumps(source, default=str)}
    if columns:
        schema = [{"name": c, "type": t} for c, t in zip(columns, shape.get("dtypes") or [], strict=False)]
        found["schema"] = json.dumps({"mlflow_colspec": schema})[:60_000]
    if shape.get("rows") is not None:
        found["profile"] = json.dumps({"num_rows": shape["rows"]})
    return found


def code_name(item: dict[str, Any], record: dict[str, Any]) -> str:
    if item.get("cell") is not None:
        return f"cells/{item['cell']:04d}.py"
    folder = os.path.commonpath(
        [os.path.dirname(c["file"]) for c in record["code"] if c.get("file") and os.path.isabs(c["file"])] or [""]
    )
    name = (
        os.path.relpath(item["file"], folder)
        if folder and os.path.isabs(item["file"])
        else os.path.basename(item["file"])
    )
    return re.sub(r"[^A-Za-z0-9_./ -]+", "_", name).replace("../", "")


def progress(record: dict[str, Any]) -> dict[str, str]:
    """How far the outermost bar is, as a tag: `37/100 epochs`."""
    told = record.get("progress")
    if not told or not told.get("total"):
        return {}
    return {"headway.progress": f"{told['n']:g}/{told['total']:g} {told.get('text') or ''}".strip()}


def unsaid(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics without those that the code's own MLflow calls have put into this run."""
    if not record.get("logged_here"):
        return dict(record["metrics"])
    return {k: m for k, m in record["metrics"].items() if all(w["source"] != "own" for w in m["witnesses"])}


def experiment_name(start: dict[str, Any]) -> str:
    name = str(start.get("name") or start.get("main") or "interactive")
    cwd = str(start.get("cwd") or "")
    return os.path.relpath(name, cwd) if cwd and os.path.isabs(name) and name.startswith(cwd) else name
