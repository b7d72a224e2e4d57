"""What may come next in a filter that is being typed: the place, and what the store offers there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from headway.tracking import experiments, service
from headway.tracking.find import completion
from headway.tracking.find.completion import expected, meant
from headway.tracking.show import suggest
from headway.tracking.store.record import Metric
from tests.world import World, world

# | is the caret
CASES = [
    ("|", "key", "", "", ""),
    ("  |", "key", "", "", ""),
    ("au|", "key", "", "au", ""),
    ("metrics.|", "key", "metric", "", ""),
    ("metrics.au|c > 1", "key", "metric", "au", ""),
    ("params.`learning ra|", "key", "param", "learning ra", ""),
    ("best(metrics.au|", "key", "metric", "au", ""),
    ("metrics.auc |", "operator", "metric", "auc", ""),
    ("metrics.auc >|", "operator", "metric", "auc", ""),
    ("params.model |", "operator", "param", "model", ""),
    ("params.model I|", "operator", "param", "model", ""),
    ("params.model IS NOT NULL |", "join", "", "", ""),
    ("metrics.auc > |", "value", "metric", "auc", ">"),
    ("metrics.auc > 0.9|", "value", "metric", "auc", ">"),
    ("metrics.auc > 0.9 |", "join", "", "", ""),
    ("metrics.auc > 0.9 a|", "join", "", "", ""),
    ("metrics.auc > 0.9 and |", "key", "", "", ""),
    ("metrics.auc > 0.9 and params.mo|", "key", "param", "mo", ""),
    ("params.model = 'fo|", "value", "param", "model", "="),
    ("params.model = 'it''s fo|", "value", "param", "model", "="),
    ("params.model not  in |", "value", "param", "model", "NOT IN"),
    ("attributes.run_id IN ('a', 'b|", "value", "attribute", "run_id", "IN"),
    ("status = |", "value", "attribute", "status", "="),
    ("tags.`a b` ILIKE '%x%' and |", "key", "", "", ""),
    ("min(metrics.loss) < |", "value", "metric", "loss", "<"),
    ("((((|", "join", "", "", ""),
    ("metrics.auc > 1 and| params.x = '1'", "join", "", "", ""),
]


@pytest.mark.parametrize(("marked", "what", "kind", "key", "op"), CASES)
def test_what_is_expected(marked: str, what: str, kind: str, key: str, op: str) -> None:
    at = marked.index("|")
    found = expected(marked.replace("|", ""), at)
    assert (found.what, found.kind, found.key, found.op) == (what, kind, key, op)
    assert 0 <= found.start <= at <= found.end <= len(marked) - 1


@pytest.mark.parametrize(
    ("text", "filter_"),
    [
        ("", ""),
        ("  fox ", "attributes.run_name ILIKE '%fox%'"),
        ("calm fox", "attributes.run_name ILIKE '%calm%' AND attributes.run_name ILIKE '%fox%'"),
        ("train/loss-3.1", "attributes.run_name ILIKE '%train/loss-3.1%'"),
        ("metrics.auc>1", "metrics.auc>1"),
        ("params.x IS NULL", "params.x IS NULL"),
        ("x like y", "x like y"),
        ("sand-like", "attributes.run_name ILIKE '%sand-like%'"),
        ("'; drop", "'; drop"),
    ],
)
def test_plain_words_search_the_name(text: str, filter_: str) -> None:
    assert meant(text) == filter_


def test_operators_and_quotes() -> None:
    assert completion.operators("metric", "auc")[0] == ">"
    assert set(completion.operators("param", "x")) == {"=", "!=", "LIKE", "ILIKE", "IS NULL", "IS NOT NULL"}
    assert "IN" in completion.operators("attribute", "run_id")
    assert "LIKE" not in completion.operators("attribute", "start_time")
    assert completion.name("param", "learning rate") == "params.`learning rate`"
    assert completion.quoted("it's") == "'it''s'"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with world(tmp_path_factory.mktemp("complete")) as w:
        yield _filled(w)


def _filled(w: World) -> dict[str, Any]:
    ada = w.user("ada")
    project = w.project("Churn", ada)
    with w.host.database.write() as db:
        experiment = experiments.ensure(db, project.id, "e")
        for i, model in enumerate(["forest", "forest", "mlp"]):
            run = service.create_run(db, ada, project_id=project.id, experiment_id=experiment.id, name=f"fox {i}",
                                     tags={"team": "a'b"})  # fmt: skip
            params = [("model", model), ("learning rate", "0.1")]
            service.log_batch(db, run.uuid, [Metric("auc", 0.5 + i / 10, 1)], params, who=ada)
    return {"world": w, "ada": ada, "url": f"/api/v1/projects/{project.slug}/runs/complete"}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("au", "metrics.auc"),
        ("params.", "params.`learning rate`"),
        ("params.model = ", "'forest'"),
        ("params.model ILIKE ", "'%forest%'"),
        ("tags.team = ", "'a''b'"),
        ("metrics.auc ", ">"),
        ("metrics.auc > ", "0.5"),
        ("status = ", "'RUNNING'"),
        ("attributes.run_name = 'fox 1", "'fox 1'"),
        ("metrics.auc > 0.5 ", "AND"),
        ("attributes.run_id IN ", None),
        ("params.none = ", None),
    ],
)
def test_suggestions_of_the_store(site: dict[str, Any], text: str, first: str | None) -> None:
    answer = site["world"].client(site["ada"]).get(site["url"], params={"text": text}).json()
    shown = [item["text"] for item in answer["items"]]
    assert (shown[0] if first else shown) == (first or [])
    if first and text.strip() and answer["start"] < answer["end"]:
        assert answer["end"] == len(text)


def test_names_that_only_old_runs_have_are_offered_too(site: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest, "SAMPLE", 0)  # none are among the latest
    client = site["world"].client(site["ada"])
    for typed, offered in (
        ("metrics.AU", ["metrics.auc"]),
        ("metrics.a_c", []),
        ("tags.auc", []),
        ("params.`g ra", ["params.`learning rate`"]),
    ):
        items = client.get(site["url"], params={"text": typed}).json()["items"]
        assert [one["text"] for one in items] == offered


def test_every_suggestion_can_be_read(site: dict[str, Any]) -> None:
    """What is suggested, taken one after another, is a filter that finds runs."""
    client = site["world"].client(site["ada"])
    text = ""
    for _ in range(7):
        found = client.get(site["url"], params={"text": text}).json()
        text = text[: found["start"]] + found["items"][0]["text"] + " " + text[found["end"] :]
    assert client.get(site["url"].replace("complete", "table"), params={"filter": text}).status_code == 200, text
