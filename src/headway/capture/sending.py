"""A record to the server, as the difference to what was sent before: the run, its facts, its children."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from headway.capture import filing, gathering, system, wording
from headway.capture.outbox import Outbox
from headway.capture.wire import Refused, Server, artifact_path

__all__ = ["Sender"]

LIVE_POINTS = 3
ENDED = "ended.json"
CHILDREN = 30
SYSTEM_S = 10.0


class Sender:
    """Sends records of one spool's run. Each method raises Unreachable when the server is away; call again later."""

    def __init__(self, server: Server, spool: Path, run_id: str | None) -> None:
        self.server = server
        self.spool = spool
        self._out = Outbox(server, spool)
        self.sent = self._out.sent
        self._began = self._system_due = time.monotonic()
        if run_id:
            self.sent.run_id = run_id

    def save(self) -> None:
        self._out.save()

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
        name = wording.experiment_name(start)
        try:
            found = self.server.call("GET", "experiments/get-by-name", {"experiment_name": name})
            experiment = str(found["experiment"]["experiment_id"])
        except Refused as error:
            if error.status != 404:
                raise
            experiment = str(self.server.call("POST", "experiments/create", {"name": name})["experiment_id"])
        how = "tracked" if (self.spool.parent / "track.json").exists() else "interactive"
        tags = {"headway.source": how, "mlflow.source.name": name, "mlflow.source.type": "LOCAL"}
        body = {"experiment_id": experiment, "start_time": start["t"], "tags": wording.pairs(tags)}
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
                self._out.batch(self.sent.run_id, {}, {}, told)
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
        points = {k: m["points"] for k, m in wording.unsaid(record).items() if len(m["points"]) >= LIVE_POINTS}
        self._out.batch(self.sent.run_id, params, points, wording.progress(record))

    def all(self, record: dict[str, Any]) -> None:
        """The whole record."""
        filing.models(self._out, record)
        params = {k: v["value"] for k, v in record["params"].items()}
        points = {k: m["points"] for k, m in wording.unsaid(record).items()}
        self._out.batch(self.sent.run_id, params, points, wording.tags(record))
        self._inputs(record)
        if len(record["trainings"]) > 1:
            for training in record["trainings"][:CHILDREN]:
                self._child(training, record)
        filing.artifacts(self._out, record)

    def _inputs(self, record: dict[str, Any]) -> None:
        datasets = []
        for item in record["data"]:
            if item["kind"] == "file":
                item["sha256"] = self._hash(item)
            data = wording.dataset(item)
            if data and data["digest"] + data["name"] not in self.sent.inputs:
                datasets.append({"tags": wording.pairs({"mlflow.data.context": "training"}), "dataset": data})
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
            known: dict[str, str] = self._out.gathered.get("hashes") or {}
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
            body = {
                "experiment_id": self.sent.experiment_id,
                "start_time": training["started"],
                "tags": wording.pairs(tags),
            }
            self.sent.children[key] = str(self.server.call("POST", "runs/create", body)["run"]["info"]["run_id"])
            self.save()
        run = self.sent.children[key]
        params = {**training["params"], **{f"best_{k}": v for k, v in training["best_params"].items()}}
        names = {n for n, m in record["metrics"].items() if m["training"] == training["id"]}
        self._out.batch(run, params, {n: record["metrics"][n]["points"] for n in names}, {})
        table = training.get("sweep") or training.get("trials")
        if table:
            self._out.upload(f"headway/trainings/{key}.json", json.dumps(table, default=str).encode())
        ended = training["started"] + int(1000 * (training["seconds"] or 0))
        if f"{run}:ended" not in self.sent.tags:
            self.server.call("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": ended})
            self.sent.tags[f"{run}:ended"] = "1"
            self.save()

    def git(self, folder: str) -> None:
        """The commit and the uncommitted changes of the work folder."""
        state = self._out.gathered["git"] if "git" in self._out.gathered else gathering.git_state(folder)
        if state:
            self._out.batch(self.sent.run_id, {}, {}, state["tags"])
        if state.get("diff"):
            self._out.upload("headway/code/changes.diff", state["diff"].encode())

    def system(self, *, last: bool = False) -> None:
        """What the run took of its machine: every ten seconds, of a long run every hundredth of its time, and at the end."""
        now = time.monotonic()
        if self.sent.run_id and (last or now >= self._system_due):
            self._system_due = now + max(SYSTEM_S, (now - self._began) / 100)
            if told := system.described(self.spool):
                self._out.upload("headway/system.json", json.dumps(told).encode())
