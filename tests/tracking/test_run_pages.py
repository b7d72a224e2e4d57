"""The pages of a run and of runs beside each other, as a browser gets them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from headway.clock import now_ms
from headway.tracking import artifacts, experiments, inputs, logged_models, service
from headway.tracking.show.run_tabs import NOTE
from headway.tracking.store import record
from headway.tracking.store.record import Metric
from tests.world import World, world

BAD = "<script>alert(1)</script>"
RECORD = {
    "params": {"lr": {"value": 2, "witnesses": [{"source": "namespace", "file": "train.py", "line": 3}]}},
    "metrics": {"auc": {"points": [[0, 0.92, 1]], "witnesses": [{"source": "print", "file": "x", "line": 9, "expression": BAD}]}},
    "trainings": [
        {"id": 1, "class": "Forest", "line": 4, "params": {}, "sweep": [{"params": {"C": 1}}, {"params": {"C": 2}}]}
    ],
    "notes": ["Something was skipped."],
    "environment": {"python": "3.12.1"},
}  # fmt: skip
NOTEBOOK = {
    "nbformat": 4, "metadata": {}, "cells": [
        {"cell_type": "markdown", "source": f"# Hello {BAD}", "metadata": {}},
        {"cell_type": "code", "source": "print(1)", "metadata": {}, "execution_count": 3,
         "outputs": [{"output_type": "stream", "name": "stdout", "text": "one"}]},
    ],
}  # fmt: skip
TABS = ["overview", "metrics", "output", "files", "code", "environment", "data", "resources", "why"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with world(tmp_path_factory.mktemp("pages")) as made:
        yield filled(made)


def filled(w: World) -> dict[str, Any]:
    """A project with three runs (running, out of memory, finished) and one with nothing in it."""
    ada = w.user("ada")
    project = w.project("Churn", ada, viewer="vera")
    with w.host.database.write() as db:
        experiment = experiments.ensure(db, project.id, "train.ipynb")
        ids = []
        for i in range(3):
            run = service.create_run(db, ada, project_id=project.id, experiment_id=experiment.id, name=f"run {i} {BAD}",
                                     start_time=now_ms() - 10_000 + i, tags={NOTE: f"**bold** {BAD}"})  # fmt: skip
            points = [Metric("loss", 1 / (s + 1) + i, s, s) for s in range(10)]
            system = [Metric("system/cpu_percent", 5.0 * s, s, s) for s in range(3)]
            service.log_batch(db, run.uuid, [*points, *system, Metric("auc", 0.9 + i / 100, 1)], who=ada,
                              params=[("lr", str(i)), ("same", "1"), ("html", BAD)])  # fmt: skip
            service.update_run(db, ada, run.uuid, status="FINISHED" if i else "RUNNING")
            ids.append(run.uuid)
        empty = service.create_run(
            db, ada, project_id=project.id, experiment_id=experiment.id, name="empty", status="SCHEDULED"
        )
        child = service.create_run(db, ada, project_id=project.id, experiment_id=experiment.id, name="child",
                                   tags={"mlflow.parentRunId": ids[2]})  # fmt: skip
        touched = record.touch(db, ada, ids[2])
        schema = json.dumps({"mlflow_colspec": [{"name": BAD, "type": "long"}]})
        inputs.datasets(
            db, touched, [inputs.DatasetUse("sales", "abc", "local", '{"uri": "sales.csv"}', schema, '{"num_rows": 7}')]
        )
        logged_models.create(db, ada, experiment.id, name="clf", source_run=ids[2])
        record.tags(db, touched, {"headway.kind": "script", "headway.path": "train.py", "team": BAD})
        service.end_run(db, ids[1], "FAILED", cause="out_of_memory")
    files = {
        "page.html": b"<script>1</script>", "pic.png": b"\x89PNG", "vector.svg": b"<svg/>", "t.csv": b"a,b\n1," + BAD.encode(),
        "j.json": b'{"a": 1}', "headway/code/train.py": b"a = 1\nprint(1)\n", "headway/environment.txt": b"numpy==2.0\n",
        "m.bin": b"\0\1", "headway/capture.json": json.dumps(RECORD).encode(), "note.md": b"# A title\n" + BAD.encode(),
        "n.ipynb": json.dumps(NOTEBOOK).encode(), "broken.ipynb": b"{", "sound.wav": b"RIFF", "film.mp4": b"x",
        "d.parquet": b"no",
        "headway/code/changes.diff": b"-a\n+b\n", "headway/system.json": b'{"machine": {"cores": 4, "host": "box"}, "use": {}}',
        "headway/figures/01-9-01.png": b"\x89PNG",
    }  # fmt: skip
    with w.host.database.write() as db:
        for path, content in files.items():
            artifacts.put(db, ids[2], path, w.host.blobs.put(content))
        for path, content in (("headway/code/train.py", b"a = 1\nprint(2)\n"), ("headway/environment.txt", b"numpy==1.0\n"),
                              ("headway/figures/01-8-01.png", b"\x89PNG")):  # fmt: skip
            artifacts.put(db, ids[1], path, w.host.blobs.put(content))
    return {"world": w, "ada": ada, "slug": project.slug, "runs": ids, "child": child.uuid, "empty": empty.uuid,
            "vera": w.user("vera"), "eve": w.user("eve")}  # fmt: skip


def get(site: dict[str, Any], path: str, who: str = "ada", status: int = 200) -> str:
    answer = site["world"].client(site[who], page=True).get(f"/p/{site['slug']}/{path}")
    assert answer.status_code == status, answer.text[:500]
    assert BAD not in answer.text and not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", answer.text)
    return str(answer.text)


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("run", [0, 1, 2, "empty", "child"])
@pytest.mark.parametrize("who", ["ada", "vera"])
def test_each_tab_of_each_run(site: dict[str, Any], tab: str, run: int | str, who: str) -> None:
    uuid = site["runs"][run] if isinstance(run, int) else site[run]
    get(site, f"runs/{uuid}?tab={tab}", who)


def test_the_overview_says_how_it_stands(site: dict[str, Any]) -> None:
    text = get(site, f"runs/{site['runs'][2]}")
    assert (
        "clf" in text and "Deploy" in text and "Something was skipped" in text and "child" in text and "2 fits" in text
    )
    assert "<strong>bold</strong>" in text and 'title="namespace, train.py:3"' in text
    assert text.count('class="stat"') == 2  # auc and loss, nothing of the machine
    assert "the first of this experiment" in text and 'class="sparkline"' in text
    lineage = re.findall(r'class="lineage-node.*?<title>([^<]*)', text)
    assert lineage[0] == "sales" and lineage[2] == "clf"


def test_a_run_is_measured_by_the_one_before_it_and_the_best(site: dict[str, Any]) -> None:
    w, ada = site["world"], site["ada"]
    project = w.project("Standing", ada)
    ids: list[str] = []
    for auc, lr in ((0.8, "1"), (0.9, "1"), (0.85, "2")):
        with w.host.database.write() as db:
            experiment = experiments.ensure(db, project.id, "x")
            run = service.create_run(
                db, ada, project_id=project.id, experiment_id=experiment.id, start_time=1000 * (len(ids) + 1)
            )
            service.log_batch(db, run.uuid, [Metric("auc", auc, 1)], [("lr", lr), ("same", "1")], who=ada)
            service.update_run(db, ada, run.uuid, status="FINISHED", end_time=1000 * (len(ids) + 1) + 500)
            ids.append(run.uuid)
    client = w.client(ada, page=True)
    last = client.get(f"/p/{project.slug}/runs/{ids[2]}").text
    assert 'class="change" data-tone="bad"' in last and "−0" in last and "since the previous" in last
    assert (
        re.search(r"best: <span[^>]*>0<span[^>]*>.9000", last)
        and "was 1" in last
        and "Only the 1 changed since" in last
    )
    best = client.get(f"/p/{project.slug}/runs/{ids[1]}").text
    assert 'class="change" data-tone="ok"' in best and "No other run of this experiment does better" in best
    assert f"compare?runs={ids[1]},{ids[2]}" in last and "500 ms" in last


def test_a_run_that_ended_badly_says_what_to_do(site: dict[str, Any]) -> None:
    text = get(site, f"runs/{site['runs'][1]}")
    assert "It ran out of memory" in text and "higher memory limit" in text


def test_only_a_run_that_goes_on_is_followed_once(site: dict[str, Any]) -> None:
    going, ended = site["runs"][0], site["runs"][2]
    assert re.search(rf'data-follow-runs="{going}:\d+"', get(site, f"runs/{going}"))
    assert "data-follow-runs=" not in get(site, f"runs/{going}?tab=output")  # its output has a stream of its own
    assert "data-follow-runs=" not in get(site, f"runs/{ended}")
    fragment = get(site, f"runs/{going}/live")
    assert 'hx-swap-oob="true"' in fragment and f'data-live-run="{going}" data-live-metric="loss"' in fragment


@pytest.mark.parametrize(
    ("file", "shows"),
    [
        ("page.html", 'sandbox="allow-scripts"'), ("pic.png", 'class="preview"'), ("vector.svg", 'class="preview"'),
        ("t.csv", "<th>a</th>"), ("m.bin", "No preview"), ("note.md", "<h1>A title</h1>"), ("n.ipynb", "[3]"),
        ("broken.ipynb", "can&#39;t be read"), ("sound.wav", "<audio"), ("film.mp4", "<video"), ("d.parquet", "no Parquet file"),
        ("headway/code/changes.diff", "tok-gd"), ("j.json", "tok-"),
    ],
)  # fmt: skip
def test_files_are_shown(site: dict[str, Any], file: str, shows: str) -> None:
    text = get(site, f"runs/{site['runs'][2]}?tab=files&file={file}")
    assert shows in text and 'aria-current="true"' in text


def test_what_the_other_tabs_say(site: dict[str, Any]) -> None:
    base = f"runs/{site['runs'][2]}"
    why = get(site, base + "?tab=why")
    assert "train.py:3" in why and "namespace" in why and 'id="param-lr"' in why
    code = get(site, base + "?tab=code&file=train.py&line=2")
    assert '<tr id="L2" class="marked">' in code
    data = get(site, base + "?tab=data")
    assert "7 rows × 1 columns" in data and "dataset.digest" in data
    environment = get(site, base + "?tab=environment")
    assert "numpy" in environment and "3.12.1" in environment and "box" in environment
    assert "CPU, %" in get(site, base + "?tab=resources")
    metrics = get(site, base + "?tab=metrics&q=LO+s")
    assert 'title="loss"' in metrics and 'title="auc"' not in metrics
    assert "No metric has these words" in get(site, base + "?tab=metrics&q=nothing")
    get(site, base + "?tab=metrics&page=99")
    get(site, base + "?tab=files&file=none", status=404)
    get(site, base + "?tab=files&file=../x", status=400)
    get(site, base + "?tab=nothing", status=404)


def test_files_never_run_in_our_origin(site: dict[str, Any]) -> None:
    client = site["world"].client(site["ada"])
    base = f"/p/{site['slug']}/runs/{site['runs'][2]}"
    for path, inline in (("page.html", False), ("vector.svg", False), ("pic.png", True), ("t.csv", True)):
        answer = client.get(f"{base}/files/{path}")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("sandbox;")
        assert ("attachment" not in answer.headers.get("content-disposition", "")) is inline
    frame = client.get(f"{base}/frame/page.html")
    assert frame.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in frame.headers["content-security-policy"]
    assert client.get(f"{base}/frame/pic.png").status_code == 400


# ------------------------------------------------------------------ compare
def test_compare_shows_what_differs(site: dict[str, Any]) -> None:
    one, two = site["runs"][1], site["runs"][2]
    text = get(site, f"compare?runs={one},{two}")
    assert ">lr<" in text and ">same<" not in text and 'class="best"' in text and "cpu_percent" not in text
    assert ">1.0<" in text and ">2.0<" in text and "Figure 1" in text and text.count("<strong>bold</strong>") == 2
    assert 'class="line-code gone"' in text and 'class="line-code come"' in text and text.count("baseline</span>") == 1
    assert ">same<" in get(site, f"compare?runs={one},{two}&all=true")
    assert 'class="listing diff unified"' in get(site, f"compare?runs={one},{two}&code=unified")
    other = get(site, f"compare?runs={one},{two}&base={two}")
    assert other.index("baseline</span>") > other.index(f"base={one}")
    assert ">lr<" not in get(site, f"compare?runs={one},{two}&q=auc")
    assert f'data-follow-runs="{site["runs"][0]}:' in get(site, f"compare?runs={','.join(site['runs'])}")
    get(site, "compare")
    get(site, f"compare?runs={one}", "vera")
    get(site, "compare?runs=" + "0" * 32, status=404)
    get(site, "compare?runs=" + ",".join(f"{n:032}" for n in range(21)), status=400)


def test_compare_to_take_away(site: dict[str, Any]) -> None:
    client, ids = site["world"].client(site["ada"]), ",".join(site["runs"][1:])
    answer = client.get(f"/p/{site['slug']}/compare/table?runs={ids}")
    assert answer.headers["content-type"].startswith("text/csv") and "metric,auc,0.91,0.92\n" in answer.text
    assert "| metric | auc | 0.91 | 0.92 |" in client.get(f"/p/{site['slug']}/compare/table?runs={ids}&format=md").text
    assert client.get(f"/p/{site['slug']}/compare/table?runs={ids}&format=pdf").status_code == 400
    assert site["world"].client(site["eve"]).get(f"/p/{site['slug']}/compare/table?runs={ids}").status_code == 404


def test_runs_of_another_project_are_not_there(site: dict[str, Any]) -> None:
    other = site["world"].project("Other", site["eve"])
    for who, slug in (("eve", other.slug), ("ada", None)):
        client = site["world"].client(site[who])
        slug = slug or site["world"].project("Mine too", site["ada"]).slug
        run = site["runs"][2]
        paths = (
            f"runs/{run}",
            f"compare?runs={run}",
            f"compare/table?runs={run}",
            f"live?runs={run}",
            f"runs/{run}/live",
        )
        assert [client.get(f"/p/{slug}/{path}").status_code for path in paths] == [404] * len(paths)


# ------------------------------------------------------------------ verbs
def test_notes_tags_and_names(site: dict[str, Any]) -> None:
    ada, vera = site["world"].client(site["ada"]), site["world"].client(site["vera"])
    base = f"/p/{site['slug']}/runs/{site['child']}"

    def do(verb: str, **data: str) -> int:
        return int(ada.post(f"{base}/do/{verb}", data=data).status_code)

    assert vera.post(f"{base}/do/rename", data={"name": "mine"}).status_code == 403
    assert (do("rename", name="  better "), do("rename", name=" ")) == (303, 400)
    assert (do("describe", note="**why**"), do("describe", note="x" * 8001)) == (303, 400)
    assert (do("tag", key="team", value="vision"), do("tag", key=""), do("tag", key="mlflow.user", value="x")) == (
        303,
        400,
        400,
    )
    text = get(site, f"runs/{site['child']}")
    assert "better" in text and "<strong>why</strong>" in text and "team: vision" in text
    assert (do("untag", key="team"), do("untag", key="team"), do("fly")) == (303, 404, 400)
    assert do("delete") == 303 and "deleted" in get(site, f"runs/{site['child']}") and do("restore") == 303
    shown = get(site, f"runs/{site['child']}", "vera")
    assert "/do/" not in shown
