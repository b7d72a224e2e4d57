"""Many runs at once, and as files: on both databases."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from headway.tracking import experiments, service
from headway.tracking.show import bulk, export
from headway.tracking.store.record import Metric
from tests.tracking.serving import Server
from tests.world import World

COUNT = 7


@pytest.fixture
def site(server: Server, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """A project of its own with a few runs: `auc` from 0 to 6, an odd parameter, a child of the last one."""
    w: World = server.world
    vera = w.user("vera")
    project = w.project(f"Bulk {abs(hash(request.node.name)) % 10**8}", server.who, viewer="vera")
    runs = []
    with w.host.database.write() as db:
        experiment = experiments.ensure(db, project.id, "e")
        for i in range(COUNT):
            run = service.create_run(db, server.who, project_id=project.id, experiment_id=experiment.id, name=f"run {i}",
                                     start_time=1_700_000_000_000 + i * 1000)  # fmt: skip
            metrics = [Metric("auc", float("nan") if i == 6 else i, 1)]
            params = [("learning rate", f"0.{i}"), ("=cmd", '=1+1,"x"'), *([("few", "1")] if i == 2 else [])]
            service.log_batch(db, run.uuid, metrics, params, who=server.who)
            service.update_run(db, server.who, run.uuid, status="FINISHED", end_time=1_700_000_000_500 + i * 1000)
            runs.append(run.uuid)
        child = service.create_run(db, server.who, project_id=project.id, experiment_id=experiment.id, name="child",
                                   tags={"mlflow.parentRunId": runs[-1]})  # fmt: skip
    yield {"world": w, "ada": w.client(server.who), "vera": w.client(vera), "runs": runs, "child": child.uuid,
           "url": f"/api/v1/projects/{project.slug}/runs", "experiment": str(experiment.id)}  # fmt: skip


def active(site: dict[str, Any], **query: Any) -> list[str]:
    found = site["ada"].get(f"{site['url']}/table", params=query).json()
    return [site["runs"].index(run) for run in found["run_id"] if run in site["runs"]]


def post(site: dict[str, Any], action: str, status: int = 200, who: str = "ada", **body: Any) -> Any:
    answer = site[who].post(f"{site['url']}/bulk", json={"action": action, **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_deleting_and_restoring(site: dict[str, Any]) -> None:
    runs = site["runs"]
    assert post(site, "delete", run_ids=runs[:2]) == {"changed": 2, "next": ""}
    assert post(site, "delete", run_ids=runs[:3])["changed"] == 1  # again: only what was not
    assert active(site) == [6, 5, 4, 3]
    assert active(site, deleted=True) == [2, 1, 0]
    assert post(site, "restore", run_ids=[runs[0]])["changed"] == 1
    assert post(site, "restore", all=True, deleted=True, **{"except": [runs[2]]})["changed"] == 1
    assert active(site, deleted=True) == [2]


def test_all_that_a_filter_finds_part_by_part(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    cursor, changed, turns = "", 0, 0
    while turns == 0 or cursor:
        body = {"filter": "metrics.auc >= 1", "except": [site["runs"][3]], "cursor": cursor}
        done = post(site, "delete", **body)
        cursor, changed, turns = done["next"], changed + done["changed"], turns + 1
    assert (changed, turns) == (4, 3)
    assert active(site) == [6, 3, 0]
    named = post(site, "restore", run_ids=site["runs"])
    assert (named["changed"], named["next"]) == (1, "2")  # 0 was not deleted
    assert post(site, "restore", run_ids=site["runs"], cursor="2")["changed"] == 1


def test_tags(site: dict[str, Any]) -> None:
    assert post(site, "tag", run_ids=site["runs"][:2], key="team", value="risk")["changed"] == 2
    post(site, "tag", run_ids=site["runs"][:1], key="team", value="growth")
    assert active(site, filter="tags.team = 'growth'") == [0]
    assert post(site, "untag", all=True, key="team")["changed"] == 2
    assert active(site, filter="tags.team IS NOT NULL") == []
    assert post(site, "untag", all=True, key="never there")["changed"] == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"action": "explode", "all": True}),
        (400, {"action": "delete"}),
        (400, {"action": "delete", "filter": "metrics.auc >"}),
        (400, {"action": "tag", "all": True, "key": " "}),
        (400, {"action": "tag", "all": True, "key": "mlflow.runName", "value": "x"}),
        (400, {"action": "tag", "all": True, "key": "k", "value": "x" * 100_000}),
        (404, {"action": "delete", "run_ids": ["0" * 32]}),
        (400, {"action": "delete", "all": True, "cursor": "not one of ours"}),
    ],
)
def test_what_is_refused_changes_nothing(site: dict[str, Any], status: int, body: dict[str, Any]) -> None:
    answer = site["ada"].post(f"{site['url']}/bulk", json=body)
    assert answer.status_code == status, answer.text
    assert len(active(site)) == COUNT


def test_rights_and_other_projects(site: dict[str, Any]) -> None:
    post(site, "delete", 403, who="vera", run_ids=site["runs"][:1])
    other = site["world"].project(f"Other {site['runs'][0][:8]}", site["world"].user("ada"))
    answer = site["ada"].post(
        f"/api/v1/projects/{other.slug}/runs/bulk", json={"action": "delete", "run_ids": site["runs"][:1]}
    )
    assert answer.status_code == 404
    foreign = site["ada"].post(
        f"/api/v1/projects/{other.slug}/runs/bulk", json={"action": "delete", "experiment": [site["experiment"]]}
    )
    assert foreign.json()["changed"] == 0
    assert len(active(site)) == COUNT
    assert site["vera"].get(f"{site['url']}/export").status_code == 200


# ------------------------------------------------------------------ files
def rows(site: dict[str, Any], **query: Any) -> list[dict[str, str]]:
    answer = site["ada"].get(f"{site['url']}/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"].endswith('-runs.csv"')
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_csv_of_all_that_match(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS", 2)
    found = rows(site, all=True)
    assert [row["run_name"] for row in found] == [f"run {i}" for i in range(6, -1, -1)]
    last = found[-1]
    assert (last["metrics.auc"], last["params.`learning rate`"], last["params.few"]) == ("0.0", "0.0", "")
    assert last["params.`=cmd`"] == '\'=1+1,"x"'  # no formula
    assert (last["duration_s"], last["start_time"], last["experiment"]) == ("0.5", "2023-11-14T22:13:20Z", "e")
    assert found[0]["metrics.auc"] == "NaN" and found[4]["params.few"] == "1"
    assert not any(key.startswith("tags.mlflow") for key in last)
    some = rows(site, filter="metrics.auc >= 1", order="metrics.auc", column=["status", "best(metrics.auc)"])
    assert [row["best(metrics.auc)"] for row in some] == ["1.0", "2.0", "3.0", "4.0", "5.0"]
    assert set(some[0]) == {"run_id", "run_name", "status", "best(metrics.auc)"}
    chosen = rows(site, run=site["runs"][1:4], **{"except": site["runs"][2:3]})
    assert [row["run_name"] for row in chosen] == ["run 3", "run 1"]


def test_json_lines_and_parquet(site: dict[str, Any]) -> None:
    answer = site["ada"].get(f"{site['url']}/export", params={"format": "jsonl", "all": True})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert len(lines) == COUNT and "params.few" not in lines[0] and lines[-1]["metrics.auc"] == 0
    answer = site["ada"].get(f"{site['url']}/export", params={"format": "parquet", "all": True})
    parquet = pytest.importorskip("pyarrow.parquet", reason="comes with mlflow")
    table = parquet.read_table(io.BytesIO(answer.content))
    assert table.num_rows == COUNT
    assert table.column("metrics.auc").to_pylist()[-1] == 0.0


@pytest.mark.parametrize("query", [{"format": "xls"}, {"filter": "metrics.auc >"}, {"order": "x y z"}, {"column": "nothing"},
                                   {"run": "a' OR '1'='1"}])  # fmt: skip
def test_a_wrong_question_is_refused_before_the_first_byte(site: dict[str, Any], query: dict[str, str]) -> None:
    assert site["ada"].get(f"{site['url']}/export", params=query).status_code == 400


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1", "'=1"),
        ("+1", "+1"),
        ("-x", "'-x"),
        ("@a", "'@a"),
        ("a=1", "a=1"),
        (None, ""),
        (1.5, 1.5),
        ("-1e3", "-1e3"),
    ],
)
def test_cells_that_are_no_formulas(value: Any, cell: Any) -> None:
    assert export.harmless(value) == cell
