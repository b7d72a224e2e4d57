"""The pure parts: the split of traffic, the rollout, states, counters, the log's lines, forms, snippets, pins."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from headway.bundle import BundleError, Column, Manifest, Signature, flavors
from headway.deployments import prediction_log, prepare, rollout, states, tryit
from headway.deployments.counters import BOUNDS_S, MINUTES, Histogram, prometheus
from headway.deployments.counters import Counter as Counted
from headway.deployments.prediction_log import Entry, PredictionLog
from headway.deployments.rollout import Known
from headway.deployments.service import clean_name
from headway.deployments.show import series
from headway.deployments.snippets import snippets
from headway.deployments.traffic import WHOLE, Endpoint, Key, Replica, Revision, Routes
from headway.errors import Conflict, Unprocessable

# ---- traffic ----


def endpoint(*shares: tuple[int, int]) -> Endpoint:
    return Endpoint("e", "p", "n", tuple(Revision(n, w) for n, w in shares))


@pytest.mark.parametrize("weight", [0, 1, 500, 2500, 5000, 9999, WHOLE])
def test_requests_without_an_entity_are_split_exactly(weight: int) -> None:
    split = endpoint((2, weight), (1, WHOLE - weight))
    found = Counter(split.pick(None, i).number for i in range(WHOLE))  # type: ignore[union-attr]
    assert found[2] == weight


def test_no_entity_leaves_a_growing_canary() -> None:
    held: set[int] = set()
    for weight in (100, 500, 1000, 3000, 6000, 9000, WHOLE):
        split = endpoint((2, weight), (1, WHOLE - weight))
        now = {i for i in range(2000) if split.pick(f"user-{i}".encode(), 0).number == 2}  # type: ignore[union-attr]
        assert held <= now
        assert abs(len(now) / 2000 - weight / WHOLE) < 0.04
        held = now


def test_entities_fall_otherwise_at_another_endpoint() -> None:
    one, other = endpoint((2, 5000), (1, 5000)), Endpoint("f", "p", "m", (Revision(2, 5000), Revision(1, 5000)))
    picks = [(one.pick(b"%d" % i, 0).number, other.pick(b"%d" % i, 0).number) for i in range(400)]  # type: ignore[union-attr]
    assert len(set(picks)) == 4


def test_without_weight_nobody_is_picked() -> None:
    assert endpoint().pick(None, 1) is None
    assert endpoint((1, 0)).pick(None, 1) is None
    assert endpoint((1, 0), (2, 0)).pick(b"x", 1) is None


def test_a_snapshot_comes_back_as_it_was_written() -> None:
    shares = (Revision(2, 100, (Replica("a", "/s/a"),), False), Revision(1, 9900, (Replica("b", "/s/b"),)))
    routes = Routes(7, {"p/n": Endpoint("e", "p", "n", shares, True, 5, 1.5, 100, False)},
                    {"ab": Key("k", frozenset({"e"})), "cd": Key("platform", None)})  # fmt: skip
    assert Routes.from_json(json.loads(json.dumps(routes.to_json()))) == routes


# ---- rollout ----

L, R, F, S = states.LIVE, states.RETIRED, states.FAILED, states.STARTING
TWO = [Known(2, L, 0), Known(1, L, WHOLE, 10)]


def test_promote_and_canary() -> None:
    assert rollout.promote(TWO, 2) == {2: WHOLE, 1: 0}
    assert rollout.canary(TWO, 2, 1000) == {2: 1000, 1: WHOLE - 1000}
    assert rollout.canary([Known(1, L, 0)], 1, 1000) == {1: WHOLE}  # alone it takes all
    assert rollout.canary([Known(2, L, 500), Known(1, L, 9500, 1)], 2, 4000) == {2: 4000, 1: 6000}
    assert rollout.canary([Known(2, L, WHOLE, 2), Known(1, L, 0, 1)], 1, 1000) == {1: 1000, 2: 9000}


@pytest.mark.parametrize("number", [1, 3])
def test_only_a_live_revision_is_given_traffic(number: int) -> None:
    with pytest.raises(Conflict):
        rollout.promote([Known(1, F)], number)
    with pytest.raises(Conflict):
        rollout.canary([Known(1, F)], number, 10)


@pytest.mark.parametrize("share", [-1, WHOLE + 1])
def test_a_share_is_a_share(share: int) -> None:
    with pytest.raises(Unprocessable):
        rollout.canary(TWO, 2, share)


BACK: list[tuple[str, list[Known], int | None]] = [
    ("to the one before", [Known(2, L, WHOLE, 20), Known(1, L, 0, 10)], 1),
    ("to a retired one", [Known(2, L, WHOLE, 20), Known(1, R, 0, 10)], 1),
    ("over a failed one", [Known(3, L, WHOLE, 30), Known(2, F), Known(1, R, 0, 10)], 1),
    ("over one that never had traffic", [Known(3, L, WHOLE, 30), Known(2, L, 0), Known(1, R, 0, 10)], 1),
    ("from a canary", [Known(3, L, 1000), Known(2, L, 9000, 20), Known(1, R, 0, 10)], 2),
    ("from what was rolled back to", [Known(3, L, 0, 30), Known(2, L, WHOLE, 40), Known(1, R, 0, 10)], 1),
    ("from the first", [Known(1, L, WHOLE, 10)], None),
    ("from nothing", [Known(1, F)], None),
    ("when nothing serves", [Known(2, F), Known(1, R, 0, 10)], 1),
]


@pytest.mark.parametrize(("revisions", "target"), [b[1:] for b in BACK], ids=[b[0] for b in BACK])
def test_roll_back_leads_to_the_last_that_served(revisions: list[Known], target: int | None) -> None:
    if target is None:
        with pytest.raises(Conflict):
            rollout.rollback_target(revisions)
    else:
        assert rollout.rollback_target(revisions).number == target


def test_one_idle_revision_stays_warm() -> None:
    assert rollout.superfluous(
        [Known(4, L, WHOLE, 40), Known(3, L, 0, 30), Known(2, L, 0, 20), Known(1, R, 0, 10)]
    ) == [2]
    assert rollout.superfluous(TWO) == []


@pytest.mark.parametrize(
    ("revisions", "state"),
    [
        ([], "stopped"),
        ([(F, 0)], "failed"),
        ([(states.ASKED, 0)], "deploying"),
        ([(F, 0), (L, WHOLE)], "live"),
        ([(S, 0), (F, 0)], "deploying"),
        ([(R, 0)], "stopped"),
    ],
)
def test_an_endpoints_word(revisions: list[tuple[str, int]], state: str) -> None:
    assert states.endpoint_state(revisions) == state


@pytest.mark.parametrize("cause", ["out_of_memory", "timed_out", "cancelled", "killed", "lost", "exited", ""])
def test_a_proof_without_a_verdict_is_explained(cause: str) -> None:
    reason, hint = states.unproved(cause, "line\nSegmentation fault\n\n")
    assert reason.endswith(".")
    assert hint


# ---- counters ----


def test_quantiles_are_right_within_a_bucket() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    for i in range(1, 1001):
        histogram.add(i / 1000)
    for q in (0.5, 0.9, 0.99):
        assert histogram.quantile(q) == pytest.approx(q, rel=0.3)
    histogram.add(1e6)
    assert histogram.quantile(1.0) == BOUNDS_S[-1]


def test_a_counter_goes_on_where_it_was() -> None:
    counter = Counted()
    for minute in range(400):
        counter.add(200, 0.01, minute)
    counter.add(422, 0.01, 400)
    counter.add(503, 0.01, 400)
    told = json.loads(json.dumps(counter.to_json()))
    assert told["statuses"] == {"200": 400, "422": 1, "503": 1}
    assert len(told["minutes"]) == MINUTES + 1
    assert told["minutes"][-1][:4] == [400, 2, 1, 1]
    again = Counted.from_json(told)
    again.add(200, 0.02, 401)
    assert again.statuses[200] == 401
    with pytest.raises(ValueError, match="other buckets"):
        Counted.from_json(told | {"buckets": [1]})


def test_prometheus_counts_up() -> None:
    counter = Counted()
    for seconds in (0.0005, 0.003, 0.2, 20.0, 100.0):
        counter.add(200, seconds, 1)
    lines = prometheus([("p", "n", 1, counter)], {("p", "n"): 3}).splitlines()
    buckets = [int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("headway_request_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 5
    assert 'headway_in_flight{project="p",endpoint="n"} 3' in lines


def test_a_series_has_a_value_for_each_minute() -> None:
    counter = Counted()
    counter.add(200, 0.01, 100)
    counter.add(500, 0.01, 102)
    stats = {"3": counter.to_json()}
    [requests] = series(stats, "requests", 102, 5)["series"]
    assert requests["y"] == [0.0, 0.0, 1 / 60, 0.0, 1 / 60]
    assert requests["x"] == [(98 + i) * 60_000 for i in range(5)]
    assert [s["y"] for s in series(stats, "errors", 102, 3)["series"]] == [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert series(stats, "latency", 102, 3)["series"][0]["y"][1] is None
    assert series({}, "requests", 102)["series"] == []


# ---- prediction log ----


def entry(**changes: Any) -> Entry:
    return Entry("e", "p1", 1.5, 2, "k", 0.001, 200, b'{"a":\n 1}', True, b'{"predictions": [1]}')._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "logged"),
    [
        ({}, {"a": 1}),
        ({"request": b'a,b\n1,"x"\n', "is_json": False}, 'a,b\n1,"x"\n'),
        ({"request": b"{broken", "status": 400}, None),
        ({"request": b'"' + b"x" * 70_000 + b'"'}, None),
    ],
)
def test_a_line_is_json_whatever_was_asked(changes: dict[str, Any], logged: Any) -> None:
    line = prediction_log.line(entry(**changes))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    told = json.loads(line)
    assert told["request"] == logged
    assert (told["id"], told["t"], told["revision"], told["ms"]) == ("p1", 1500, 2, 1.0)


def test_segments_turn_over_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_log, "SEGMENT_BYTES", 500)
    monkeypatch.setattr(prediction_log, "KEEP_BYTES", 1500)
    clock = iter(range(1000, 100_000))
    monkeypatch.setattr(prediction_log.time, "time", lambda: next(clock))
    log = PredictionLog(tmp_path)
    for i in range(40):
        log.add(entry(id=f"p{i}"))
        log.flush()
    log.close()
    assert 2 <= len(list((tmp_path / "e").iterdir())) <= 4
    newest = [e["id"] for e in prediction_log.read(tmp_path, "e", limit=3)]
    assert newest == ["p39", "p38", "p37"]


def test_what_comes_just_before_the_end_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = PredictionLog(tmp_path)
    flush = log.flush

    def flush_and_then_the_end() -> None:
        flush()
        if not log._closing.is_set():
            log.add(entry(id="late"))
            log._closing.set()

    monkeypatch.setattr(log, "flush", flush_and_then_the_end)
    log.add(entry(id="first"))
    log._thread.join(timeout=30)
    assert [e["id"] for e in prediction_log.read(tmp_path, "e")] == ["late", "first"]


def test_a_full_disk_drops_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    log = PredictionLog(tmp_path / "file")
    log.add(entry())
    log.flush()
    log.close()
    assert log.dropped == 1


def test_a_line_cut_by_a_crash_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "1.jsonl").write_bytes(prediction_log.line(entry()) + b'{"id": "cut')
    assert [e["id"] for e in prediction_log.read(tmp_path, "e")] == ["p1"]
    assert list(prediction_log.read(tmp_path, "none")) == []


# ---- forms, snippets, names, pins ----

SUMMARY = {
    "inputs": [
        {"name": "age", "type": "long", "required": True},
        {"name": "income", "type": "double", "required": False},
        {"name": "city", "type": "string", "required": True},
        {"name": "member", "type": "boolean", "required": True},
        {"name": "since", "type": "datetime", "required": False},
    ],
    "example": {
        "dataframe_split": {
            "columns": ["city", "age", "income", "member", "since"],
            "data": [["Oslo", 31, None, True, "2020-01-01T00:00:00.000"]],
        }
    },
}


def test_a_form_is_made_of_the_signature_and_filled_from_the_example() -> None:
    found = {f.label: f for f in tryit.fields(SUMMARY)}
    assert [f.kind for f in found.values()] == ["number", "number", "text", "select", "datetime-local"]
    assert [f.value for f in found.values()] == ["31", "", "Oslo", "true", "2020-01-01T00:00:00"]
    assert (found["age"].attrs["step"], found["income"].attrs["step"]) == ("1", "any")
    assert found["age"].required
    assert not found["income"].required


def test_what_was_posted_becomes_a_body() -> None:
    posted = {"c0": "40", "c1": "", "c2": "", "c3": "false", "c4": "2021-01-01T10:00"}
    body = tryit.payload(SUMMARY, posted, probabilities=True)
    assert body["dataframe_split"]["data"] == [[40, None, "", False, "2021-01-01T10:00"]]
    assert body["params"] == {"method": "predict_proba"}
    assert (
        tryit.payload(SUMMARY, {"c0": "many"})["dataframe_split"]["data"][0][0] == "many"
    )  # the replica says what is wrong


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_a_box_of_json_is_checked(text: str) -> None:
    with pytest.raises(Unprocessable):
        tryit.payload(
            {"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}]}, {"body": text}
        )


def test_snippets_can_be_run_as_they_are() -> None:
    body = {"dataframe_split": {"columns": ["it's"], "data": [[None, True, 1.5]]}}
    found = {label: text for label, _, text in snippets("http://h/x", "n", body)}
    ast.parse(found["Python"])
    assert json.dumps(body).replace("'", "'\\''") in found["curl"]
    assert "hwe_k" in next(t for label, _, t in snippets("http://h/x", "n", body, "hwe_k") if label == "Python")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Churn model (v2)", "churn-model-v2"),
        ("x" * 100, "x" * 63),
        ("Größe", "gr-e"),
        ("***", "model"),
        ("a--b", "a-b"),
    ],
)
def test_a_models_name_suggests_an_endpoints(text: str, name: str) -> None:
    assert clean_name(text) == name


def test_pins_come_from_the_bundle_and_mlflow_only_where_it_is_needed(tmp_path: Path) -> None:
    native = Manifest(
        flavors("sklearn", "model.pkl", version="1.5.0", python="3.11.7"), Signature((Column("x", "long"),))
    )
    assert prepare.requirements(tmp_path, native) == ["scikit-learn==1.5.0", "pandas", "cloudpickle"]
    (tmp_path / "requirements.txt").write_text(
        "# lock\nmlflow==3.1\nmlflow-skinny==3.1\nmlflow_export==1\nnumpy==2.0 # x\n\n"
    )
    assert prepare.requirements(tmp_path, native) == ["mlflow_export==1", "numpy==2.0"]
    generic = Manifest({"python_function": {"loader_module": "x"}})
    assert "mlflow==3.1" in prepare.requirements(tmp_path, generic)


@pytest.mark.parametrize("text", ["{", "a: [", "\t- x", "a: &a [*a]"])
def test_a_manifest_that_is_neither_json_nor_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(BundleError):
        prepare.prepare(tmp_path)
