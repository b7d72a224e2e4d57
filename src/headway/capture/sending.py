"""A record to the server, as the difference to what was sent before. Idempotent: what was sent is remembered on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headway.capture import gathering, system
from headway.capture.replay import replay
from headway.capture.sources.figures import unused
from headway.capture.wire import Refused, Server, artifact_path
from headway.errors import BadInput
from headway.sdk.points import Columns, pack

__all__ = ["Sender", "Sent"]

POINTS_A_CALL, PARAMS_A_CALL = 50_000, 100
VALUE_LIMIT = 500
FILE_LIMIT = 200 * 1024**2
LIVE_POINTS = 3
ENDED = "ended.json"
CHILDREN = 30
SYSTEM_S = 10.0


@dataclass
class Sent:
    """What the server has, kept in `shipped.json` of the spool."""

    run_id: str = ""
    experiment_id: str = ""
    project: str = ""
    root: str = ""
    created: bool = False
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    children: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    finished: bool = False

    @staticmethod
    def load(path: Path) -> Sent:
        try:
            return Sent(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Sent()

    def save(self, path: Path) -> None:
        part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(path)


class Sender:
    """Sends records of one spool's run. Each method raises Unreachable when the server is away; call again later."""

    def __init__(self, server: Server, spool: Path, run_id: str | None) -> None:
        self.server = server
        self.spool = spool
        self._path = spool / "shipped.json"
        self.sent = Sent.load(self._path)
        self._gathered = gathering.gathered(spool)
        self._began = self._system_due = time.monotonic()
        if run_id:
            self.sent.run_id = run_id

    def save(self) -> None:
        self.sent.save(self._path)

    # -- the run

    def open_run(self, start: dict[str, Any]) -> None:
        """Finds the run, or creates one for an interactive session, on its first fact."""
        if not self.sent.run_id:
            self._create_run(start)
        if not self.sent.root:
            run = self.server.call("GET", "runs/get", {"run_id": self.sent.run_id})["run"]["info"]
            self.sent.experiment_id = str(run["experiment_id"])
            self.sent.root = artifact_path(str(run.get("artifact_uri") or "")) or ""
            self.save()

    def _create_run(self, start: dict[str, Any]) -> None:
        name = _experiment_name(start)
        try:
            found = self.server.call("GET", "experiments/get-by-name", {"experiment_name": name})
            experiment = str(found["experiment"]["experiment_id"])
        except Refused as error:
            if error.status != 404:
                raise
            experiment = str(self.server.call("POST", "experiments/create", {"name": name})["experiment_id"])
        how = "tracked" if (self.spool.parent / "track.json").exists() else "interactive"
        tags = {"headway.source": how, "mlflow.source.name": name, "mlflow.source.type": "LOCAL"}
        body = {"experiment_id": experiment, "start_time": start["t"], "tags": _pairs(tags)}
        self.sent.run_id = str(self.server.call("POST", "runs/create", body)["run"]["info"]["run_id"])
        self.sent.created = True
        self.save()

    def close_run(self, failed: bool, when: int) -> None:
        """Ends a run that this shipper created; others are ended by whoever started them."""
        if self.sent.created:
            how = self._ended()
            failed, when = (bool(how["exit_code"]), int(how["ended"])) if how else (failed, when)
            status = "KILLED" if how.get("signal") else "FAILED" if failed else "FINISHED"
            if how:
                told = {f"headway.{k}": str(how[k]) for k in ("exit_code", "signal") if how.get(k) is not None}
                self._batch(self.sent.run_id, {}, {}, told)
            self.server.call("POST", "runs/update", {"run_id": self.sent.run_id, "status": status, "end_time": when})

    def _ended(self) -> dict[str, Any]:
        """How the program ended, as its parent saw it (`headway track`); {} where nobody could see it."""
        try:
            value = json.loads((self.spool / ENDED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) and "ended" in value and "exit_code" in value else {}

    # -- facts

    def live(self, record: dict[str, Any]) -> None:
        """What can be told while the run goes on: series that grow, and parameters that won't change."""
        settled = ("fit", "arguments", "command line")
        params = {k: v["value"] for k, v in record["params"].items() if v["witnesses"][0]["source"] in settled}
        points = {k: m["points"] for k, m in _unsaid(record).items() if len(m["points"]) >= LIVE_POINTS}
        self._batch(self.sent.run_id, params, points, _progress(record))

    def all(self, record: dict[str, Any]) -> None:
        """The whole record."""
        self._models(record)
        params = {k: v["value"] for k, v in record["params"].items()}
        points = {k: m["points"] for k, m in _unsaid(record).items()}
        self._batch(self.sent.run_id, params, points, _tags(record))
        self._inputs(record)
        if len(record["trainings"]) > 1:
            for training in record["trainings"][:CHILDREN]:
                self._child(training, record)
        self._artifacts(record)

    def _batch(self, run: str, params: dict[str, Any], points: dict[str, list[Any]], tags: dict[str, str]) -> None:
        new_params = {k: text for k, v in params.items() if (text := _text(v)) and f"{run}:{k}" not in self.sent.params}
        new_tags = {k: v for k, v in tags.items() if self.sent.tags.get(f"{run}:{k}") != v}
        todo_params = list(new_params.items())
        while todo_params or new_tags:
            few, todo_params = todo_params[:PARAMS_A_CALL], todo_params[PARAMS_A_CALL:]
            self._log(run, dict(few), new_tags)
            self.sent.params.update({f"{run}:{k}": v for k, v in few})
            self.sent.tags.update({f"{run}:{k}": v for k, v in new_tags.items()})
            new_tags = {}
            self.save()
        waiting = {k: new for k, series in points.items() if (new := series[self.sent.metrics.get(f"{run}:{k}", 0) :])}
        while waiting:
            some, left = {}, POINTS_A_CALL
            for name in list(waiting)[:POINTS_A_CALL]:
                some[name], rest = waiting[name][:left], waiting.pop(name)[left:]
                left -= len(some[name])
                if rest:
                    waiting[name] = rest
                if not left:
                    break
            self._points(run, some)
            for name, told in some.items():
                key = f"{run}:{name}"
                self.sent.metrics[key] = self.sent.metrics.get(key, 0) + len(told)
            self.save()

    def _points(self, run: str, some: dict[str, list[Any]]) -> None:
        """Columns of points ([step, value, milliseconds] each); one bad name must not lose the others."""
        try:
            columns = {
                k: Columns([int(p[0]) for p in rows], [int(p[2]) for p in rows], [float(p[1]) for p in rows])
                for k, rows in some.items()
            }
            self.server.points(run, pack(columns))
        except (Refused, BadInput, ValueError, TypeError, OverflowError) as error:
            if len(some) == 1:
                name, rows = next(iter(some.items()))
                self.sent.refused.append(f"{name}, {len(rows)} points: {error}"[:500])
                return
            for name, rows in some.items():
                self._points(run, {name: rows})

    def _log(self, run: str, params: dict[str, str], tags: dict[str, str]) -> None:
        body = {"run_id": run, "params": _pairs(params), "tags": _pairs(tags)}
        try:
            self.server.call("POST", "runs/log-batch", body)
        except Refused as error:
            if len(params) + len(tags) <= 1:
                self.sent.refused.append(f"{str(params or tags)[:200]}: {error}"[:500])
                return
            # One bad value must not lose the others.
            for name, value in params.items():
                self._log(run, {name: value}, {})
            for name, value in tags.items():
                self._log(run, {}, {name: value})

    def _inputs(self, record: dict[str, Any]) -> None:
        datasets = []
        for item in record["data"]:
            if item["kind"] == "file":
                item["sha256"] = self._hash(item)
            data = _dataset(item)
            if data and data["digest"] + data["name"] not in self.sent.inputs:
                datasets.append({"tags": _pairs({"mlflow.data.context": "training"}), "dataset": data})
        if datasets:
            try:
                self.server.call("POST", "runs/log-inputs", {"run_id": self.sent.run_id, "datasets": datasets})
            except Refused as error:
                self.sent.refused.append(f"inputs: {error}"[:500])
            self.sent.inputs += [d["dataset"]["digest"] + d["dataset"]["name"] for d in datasets]  # type: ignore[index]
            self.save()

    def _hash(self, item: dict[str, Any]) -> str:
        """The sha256 of a file that was read, unless it changed since; taken once."""
        key = gathering.hash_key(item)
        if key not in self.sent.hashes:
            known: dict[str, str] = self._gathered.get("hashes") or {}
            self.sent.hashes[key] = known[key] if key in known else gathering.hash_of(item)
        return self.sent.hashes[key]

    def _child(self, training: dict[str, Any], record: dict[str, Any]) -> None:
        """One training of several, as a run below the run."""
        key = str(training["id"])
        if key not in self.sent.children:
            tags = {
                "mlflow.parentRunId": self.sent.run_id,
                "mlflow.runName": f"{training['inner'] or training['class']}, line {training['line']}",
                "headway.training": key,
                "headway.class": str(training["class"]),
            }
            body = {"experiment_id": self.sent.experiment_id, "start_time": training["started"], "tags": _pairs(tags)}
            self.sent.children[key] = str(self.server.call("POST", "runs/create", body)["run"]["info"]["run_id"])
            self.save()
        run = self.sent.children[key]
        params = {**training["params"], **{f"best_{k}": v for k, v in training["best_params"].items()}}
        names = {n for n, m in record["metrics"].items() if m["training"] == training["id"]}
        self._batch(run, params, {n: record["metrics"][n]["points"] for n in names}, {})
        table = training.get("sweep") or training.get("trials")
        if table:
            self._upload(f"headway/trainings/{key}.json", json.dumps(table, default=str).encode())
        ended = training["started"] + int(1000 * (training["seconds"] or 0))
        if f"{run}:ended" not in self.sent.tags:
            self.server.call("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": ended})
            self.sent.tags[f"{run}:ended"] = "1"
            self.save()

    # -- models and files

    def _models(self, record: dict[str, Any]) -> None:
        for model in record["models"]:
            folder = model.get("folder")
            if folder and not Path(folder).is_dir():
                folder = str(self.spool / "models" / Path(folder).name)  # the spool was moved
            if folder and Path(folder).is_dir():
                if folder not in self.sent.models:
                    self._model(model, Path(folder), record)
                model["model_id"] = self.sent.models.get(folder)

    def _model(self, model: dict[str, Any], folder: Path, record: dict[str, Any]) -> None:
        training: dict[str, Any] = next((t for t in record["trainings"] if t["id"] == model["training"]), {})
        params = {**(training.get("params") or {}), **(training.get("best_params") or {})}
        tags = {"headway.class": str(model["class"]), "headway.line": str(model.get("line") or "")}
        body = {
            "experiment_id": self.sent.experiment_id,
            "name": re.sub(r"[^A-Za-z0-9_-]+", "_", str(model.get("title") or model["inner"] or model["class"])),
            "source_run_id": self.sent.run_id,
            "params": _pairs({k: t for k, v in list(params.items())[:80] if (t := _text(v))}),
            "tags": _pairs(tags),
        }
        info = self.server.call("POST", "logged-models", body)["model"]["info"]
        number = str(info["model_id"])
        root = artifact_path(str(info["artifact_uri"]))
        if root is None:
            self.sent.refused.append(f"{folder.name}: the server keeps artifacts at {info['artifact_uri']}")
            return
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if name == "MLmodel":
                manifest = json.loads(path.read_text(encoding="utf-8"))
                manifest |= {"model_id": number, "run_id": self.sent.run_id}
                self.server.put(f"{root}/{name}", json.dumps(manifest, indent=1).encode())
            else:
                self.server.put(f"{root}/{name}", path)
        self.server.call("PATCH", f"logged-models/{number}", {"model_id": number, "status": "LOGGED_MODEL_READY"})
        outputs = {"run_id": self.sent.run_id, "models": [{"model_id": number, "step": 0}]}
        try:
            self.server.call("POST", "runs/outputs", outputs)
        except Refused as error:
            self.sent.refused.append(f"outputs: {error}"[:500])
        self.sent.models[str(folder)] = number
        self.save()

    def _artifacts(self, record: dict[str, Any]) -> None:
        packages = record["environment"].get("packages") or []
        python = record["environment"].get("python", "")
        if packages:
            self._upload(
                "headway/environment.txt", f"# python {python}\n{''.join(p + chr(10) for p in packages)}".encode()
            )
        for item in record["code"]:
            self._upload(f"headway/code/{_code_name(item, record)}", item["text"].encode())
        if script := replay([c for c in record["code"] if c.get("cell") is not None]):
            self._upload("headway/code/replay.py", script.encode())
        if record["data"]:
            self._upload("headway/data.json", json.dumps(record["data"], indent=1, default=str).encode())
        for number, table in enumerate(record["tables"][:60], 1):
            name = re.sub(r"[^A-Za-z0-9]+", "-", table["name"]).strip("-")[:60]
            rows = {"columns": table["columns"], "data": table["data"]}
            self._upload(f"headway/tables/{number:02d}-{name}.json", json.dumps(rows, default=str).encode())
        self._figures(record)
        slim = {**record, "code": [{k: v for k, v in c.items() if k != "text"} for c in record["code"]]}
        slim["tables"] = [{k: v for k, v in t.items() if k != "data"} for t in record["tables"]]
        slim["refused"] = self.sent.refused
        self._upload("headway/capture.json", json.dumps(slim, default=str).encode())

    def _figures(self, record: dict[str, Any]) -> None:
        """Under names that are the same in the next run: what a figure is called, or the file that the program gave it."""
        names: dict[str, str] = {}
        last = {
            f["path"]: f for f in record["figures"]
        }  # a figure that was shown again is there once, as it was at last
        for figure in list(last.values())[:60]:
            path = self._kept(figure["path"])
            if path.is_file() and path.stat().st_size <= FILE_LIMIT:
                name = unused(figure.get("name") or Path(figure["path"]).stem, names)
                names[name] = figure["artifact"] = f"headway/figures/{name}{path.suffix}"
                self._upload(figure["artifact"], path.read_bytes())

    def _kept(self, path: str) -> Path:
        """Where a file of the run lies now: a spool may have been moved since, and its files with it."""
        kept: str | None = (self._gathered.get("figures") or {}).get(path)
        if kept:
            return self.spool / "figures" / kept
        inside = self.spool / "figures" / Path(path).name
        return inside if not Path(path).exists() and inside.exists() else Path(path)

    def _upload(self, name: str, content: bytes) -> None:
        digest = hashlib.sha256(content).hexdigest()
        if not self.sent.root or self.sent.files.get(name) == digest:
            return
        try:
            self.server.put(f"{self.sent.root}/{name}", content)
        except Refused as error:
            self.sent.refused.append(f"{name}: {error}"[:500])
        self.sent.files[name] = digest
        self.save()

    def git(self, folder: str) -> None:
        """The commit and the uncommitted changes of the work folder."""
        state = self._gathered["git"] if "git" in self._gathered else gathering.git_state(folder)
        if state:
            self._batch(self.sent.run_id, {}, {}, state["tags"])
        if state.get("diff"):
            self._upload("headway/code/changes.diff", state["diff"].encode())

    def system(self, *, last: bool = False) -> None:
        """What the run took of its machine: every ten seconds, of a long run every hundredth of its time, and at the end."""
        now = time.monotonic()
        if self.sent.run_id and (last or now >= self._system_due):
            self._system_due = now + max(SYSTEM_S, (now - self._began) / 100)
            if told := system.described(self.spool):
                self._upload("headway/system.json", json.dumps(told).encode())


def _progress(record: dict[str, Any]) -> dict[str, str]:
    """How far the outermost bar is, as a tag: `37/100 epochs`."""
    told = record.get("progress")
    if not told or not told.get("total"):
        return {}
    return {"headway.progress": f"{told['n']:g}/{told['total']:g} {told.get('text') or ''}".strip()}


def _unsaid(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The metrics without those that the code's own MLflow calls have put into this run."""
    if not record.get("logged_here"):
        return dict(record["metrics"])
    return {k: m for k, m in record["metrics"].items() if all(w["source"] != "own" for w in m["witnesses"])}


def _experiment_name(start: dict[str, Any]) -> str:
    name = str(start.get("name") or start.get("main") or "interactive")
    cwd = str(start.get("cwd") or "")
    return os.path.relpath(name, cwd) if cwd and os.path.isabs(name) and name.startswith(cwd) else name


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": k, "value": v} for k, v in values.items()]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def _tags(record: dict[str, Any]) -> dict[str, str]:
    tags = {"headway.captured": "true", "headway.trainings": str(len(record["trainings"]))}
    classes = list(dict.fromkeys(str(m["inner"] or m["class"]) for m in record["models"]))
    if classes:
        tags["headway.models"] = ", ".join(classes)[:500]
    if record["notes"]:
        tags["headway.notes"] = "\n".join(record["notes"])[:2000]
    return tags


def _dataset(item: dict[str, Any]) -> dict[str, str] | None:
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


def _code_name(item: dict[str, Any], record: dict[str, Any]) -> str:
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
