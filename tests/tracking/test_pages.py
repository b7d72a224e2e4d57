"""The pages of runs, as a browser gets them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.clock import now_ms
from headway.storage.blobs import Blob
from headway.tracking import artifacts, experiments, inputs, logged_models, service
from headway.tracking.store import record
from headway.tracking.store.record import Metric
from tests.world import World, world

BAD = "<script>alert(1)</script>"
RECORD = {
    "params": {"lr": {"value": 2, "witnesses": [{"source": "namespace", "file": "train.py", "line": 3}]}},
    "metrics": {
        "auc": {
            "points": [[0, 0.92, 1]],
            "witnesses": [{"source": "print", "file": "x", "line": 9, "expression": BAD}],
        }
    },
    "trainings": [
        {"id": 1, "class": "Forest", "line": 4, "params": {}, "sweep": [{"params": {"C": 1}}, {"params": {"C": 2}}]}
    ],
    "notes": ["Something was skipped."],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with world(tmp_path_factory.mktemp("pages")) as made:
        yield _filled(made)


def _filled(w: World) -> dict[str, Any]:
    ada = w.user("ada")
    project = w.project("Churn", ada, viewer="vera")

    def put(owner: str, path: str, content: bytes) -> None:
        blob: Blob = w.host.blobs.put(content)
        with w.host.database.write() as db:
            artifacts.put(db, owner, path, blob)

    with w.host.database.write() as db:
        experiment = experiments.ensure(db, project.id, "train.ipynb")
        ids = []
        for i in range(3):
            run = service.create_run(db, ada, project_id=project.id, experiment_id=experiment.id, name=f"run {i} {BAD}",
                                     start_time=now_ms() - 10_000 + i, tags={"mlflow.note.content": BAD})  # fmt: skip
            points = [Metric("loss", 1 / (s + 1) + i, s, s) for s in range(10)]
            service.log_batch(db, run.uuid, [*points, Metric("auc", 0.9 + i / 100, 1)], who=ada,
                              params=[("lr", str(i)), ("same", "1"), ("html", BAD)])  # fmt: skip
            service.update_run(db, ada, run.uuid, status="FINISHED" if i else "RUNNING")
            ids.append(run.uuid)
        child = service.create_run(db, ada, project_id=project.id, experiment_id=experiment.id, name="child",
                                   tags={"mlflow.parentRunId": ids[2]})  # fmt: skip
        touched = record.touch(db, ada, ids[2])
        schema = json.dumps({"mlflow_colspec": [{"name": BAD, "type": "long"}]})
        inputs.datasets(db, touched, [inputs.DatasetUse("sales", "abc", "local", '{"uri": "sales.csv"}', schema)])
        logged_models.create(db, ada, experiment.id, name="clf", source_run=ids[2])
        service.end_run(db, ids[1], "FAILED", cause="out_of_memory")
    files = {
        "page.html": b"<script>1</script>", "pic.png": b"\x89PNG", "vector.svg": b"<svg/>", "t.csv": b"a,b\n1," + BAD.encode(),
        "j.json": b'{"a": 1}', "headway/code/train.py": b"print(1)\n", "headway/environment.txt": b"numpy==2.0\n",
        "m.bin": b"\0\1", "headway/capture.json": json.dumps(RECORD).encode(),
    }  # fmt: skip
    for path, content in files.items():
        put(ids[2], path, content)
    put(ids[1], "headway/code/train.py", b"print(2)\n")
    put(ids[1], "headway/environment.txt", b"numpy==1.0\n")
    return {"world": w, "ada": ada, "vera": w.user("vera"), "slug": project.slug, "runs": ids, "child": child.uuid,
            "experiment": experiment.id, "eve": w.user("eve")}  # fmt: skip


def get(site: dict[str, Any], path: str, who: str = "ada", status: int = 200) -> str:
    answer = site["world"].client(site[who], page=True).get(f"/p/{site['slug']}/{path}")
    assert answer.status_code == status, answer.text[:500]
    assert BAD not in answer.text and not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", answer.text)
    return str(answer.text)


def test_the_table_shows_differing_columns_first_and_sorts(site: dict[str, Any]) -> None:
    text = get(site, "runs")
    assert text.count("<tr data-id") == 3 and "child" not in re.findall(r'data-kind="name"><a[^>]*>([^<]*)', text)
    assert 'data-col="params.lr"' in text and 'data-col="params.same"' not in text
    assert 'data-col="params.same"' in get(site, "runs?column=params.same&column=status")
    ordered = re.findall(r'data-id="(\w+)"', get(site, "runs?sort=metrics.auc+DESC"))
    assert ordered == [site["runs"][2], site["runs"][1], site["runs"][0]]
    assert re.findall(r'data-id="(\w+)"', get(site, "runs?filter=params.lr+%3D+'1'")) == [site["runs"][1]]
    assert "out of memory" in text
    assert get(site, f"runs?experiment={site['experiment']}&children=true").count("<tr data-id") == 4
    assert "can&#39;t be read" in get(site, "runs?filter=metrics.auc+%3E+x", status=400)
    assert "Nothing fulfils this filter" in get(site, "runs?filter=metrics.auc+%3E+7")


@pytest.mark.parametrize("tab", ["overview", "files", "code", "data", "why"])
@pytest.mark.parametrize("run", [0, 1, 2])
def test_each_tab_of_each_run(site: dict[str, Any], tab: str, run: int) -> None:
    get(site, f"runs/{site['runs'][run]}?tab={tab}")


def test_what_the_tabs_say(site: dict[str, Any]) -> None:
    base = f"runs/{site['runs'][2]}"
    overview = get(site, base)
    assert "clf" in overview and "Deploy" in overview and "Something was skipped" in overview and "child" in overview
    assert "2 fits" in overview
    why = get(site, base + "?tab=why")
    assert "train.py:3" in why and "namespace" in why
    assert 'sandbox="allow-scripts"' in get(site, base + "?tab=files&file=page.html")
    assert "a" in get(site, base + "?tab=files&file=t.csv") and "No preview" in get(
        site, base + "?tab=files&file=m.bin"
    )
    get(site, base + "?tab=files&file=none", status=404)
    get(site, base + "?tab=files&file=../x", status=400)
    get(site, base + "?tab=nothing", status=404)


def test_charts_and_compare(site: dict[str, Any]) -> None:
    client = site["world"].client(site["ada"])
    ids = ",".join(site["runs"])
    found = client.get(f"/p/{site['slug']}/series", params={"runs": ids, "key": "loss"}).json()
    assert [len(s["x"]) for s in found["series"]] == [10, 10, 10] and found["x"] == "step"
    part = client.get(
        f"/p/{site['slug']}/runs/{site['runs'][0]}/series", params={"key": "loss", "from": "2", "to": 4}
    ).json()
    assert part["series"][0]["x"] == [2, 3, 4]
    assert client.get(f"/p/{site['slug']}/series", params={"runs": ids, "key": "loss", "from": "x"}).status_code == 400
    names = client.get(f"/p/{site['slug']}/curves", params={"runs": ids}).json()["metrics"]
    assert names[0] == "loss" and "auc" not in names
    since = client.get(f"/p/{site['slug']}/series", params={"runs": ids, "key": "loss", "x": "relative"}).json()
    assert since["x"] == "relative" and since["series"][0]["key"] == site["runs"][0]
    assert client.get(f"/p/{site['slug']}/series", params={"runs": ids, "key": "loss", "x": "moon"}).status_code == 400
    get(site, "compare")
    get(site, "compare?runs=" + "0" * 32, status=404)


def test_changing_runs_and_experiments(site: dict[str, Any]) -> None:
    ada, vera = site["world"].client(site["ada"]), site["world"].client(site["vera"])
    base = f"/p/{site['slug']}/runs/{site['child']}/do"
    assert vera.post(f"{base}/rename", data={"name": "mine"}).status_code == 403
    assert ada.post(f"{base}/rename", data={"name": "renamed"}).status_code == 303
    assert ada.post(f"{base}/rename", data={"name": " "}).status_code == 400
    assert ada.post(f"{base}/describe", data={"note": "why"}).status_code == 303
    assert ada.post(f"{base}/explode").status_code == 400
    text = get(site, f"runs/{site['child']}")
    assert "renamed" in text and "why" in text and "Part of" in text
    assert ada.post(f"{base}/delete").status_code == 303
    assert "renamed" in get(site, "runs?deleted=true&children=true")
    assert ada.post(f"{base}/restore").status_code == 303
    assert ada.post(f"/p/{site['slug']}/experiments", data={"name": "second"}).status_code == 303
    assert ada.post(f"/p/{site['slug']}/experiments", data={"name": "second"}).status_code == 409
    number = re.findall(r"experiments/(\d+)/delete", get(site, "experiments"))[0]
    assert ada.post(f"/p/{site['slug']}/experiments/{number}/rename", data={"name": "third"}).status_code == 303
    assert ada.post(f"/p/{site['slug']}/experiments/{number}/delete").status_code == 303
    assert "third" in get(site, "experiments?deleted=true")
    assert vera.post(f"/p/{site['slug']}/experiments", data={"name": "x"}).status_code == 403


def test_strangers_see_nothing(site: dict[str, Any]) -> None:
    run = site["runs"][2]
    for path in (
        "runs",
        "experiments",
        f"compare?runs={run}",
        f"runs/{run}",
        f"runs/{run}/files/pic.png",
        f"series?runs={run}&key=loss",
    ):
        client = site["world"].client(site["eve"])
        assert client.get(f"/p/{site['slug']}/{path}").status_code == 404
    other = site["world"].project("Other", site["eve"])
    for path in (f"runs/{run}", f"runs/{run}/files/pic.png", f"compare?runs={run}"):
        assert site["world"].client(site["eve"]).get(f"/p/{other.slug}/{path}").status_code == 404


def test_previews_of_broken_files(tmp_path: Path) -> None:
    from headway.tracking.show import told

    for text in ("", "[]", "{", '{"params": 3, "metrics": {"a": 1}, "trainings": [4], "notes": {}}'):
        found = told.read(text)
        assert found is None or found.trainings == []
