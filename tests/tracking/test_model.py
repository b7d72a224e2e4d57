"""The store beside a model that anybody can read: whatever is done in whatever order, they tell the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from headway.errors import BadInput, NotFound
from headway.people.rules import Who
from headway.storage.database import Database
from headway.tracking import experiments, service
from headway.tracking.store import history, merge, purge, record, series
from headway.tracking.store.record import Metric

ADA = Who("u" * 32, "ada", admin=True)
PROJECT = "p" * 32
KEYS = st.sampled_from(["loss", "acc", "a/b c"])
VALUES = st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 0.1, 1e300, -5e-324]) | st.floats(-5, 5)
POINT = st.tuples(KEYS, st.integers(-3, 20) | st.sampled_from([-(2**63), 2**63 - 1]), st.integers(0, 3), VALUES)
POINTS = st.lists(POINT, min_size=1, max_size=40)
WORDS = st.dictionaries(st.sampled_from(["p", "q", "r"]), st.sampled_from(["", "1", "2", "é"]), max_size=3)


def known(value: float) -> Any:
    return "nan" if math.isnan(value) else value


class Model:
    """A run as plain lists."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[int, int, Any]]] = {}
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.deleted = False

    def log(self, points: list[tuple[str, int, int, float]]) -> None:
        for key, step, time, value in points:
            self.points.setdefault(key, []).append((step, time, known(value)))


class Store(RuleBasedStateMachine):
    database: Database
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}
        self.gone: set[str] = set()

    @rule(target=runs, tags=WORDS)
    def create(self, tags: dict[str, str]) -> str:
        def work(db: Any) -> str:
            row = experiments.ensure(db, PROJECT, "e")
            return service.create_run(db, ADA, project_id=PROJECT, experiment_id=row.id, name="n", tags=tags).uuid

        uuid = self.database.group(work)
        self.models[uuid] = model = Model()
        model.tags = {**tags, "mlflow.runName": "n"}
        return uuid

    def log(self, run: str, **what: Any) -> bool:
        """Whether it was taken; a deleted or purged run takes nothing."""
        refused = NotFound if run in self.gone else BadInput
        try:
            self.database.group(lambda db: service.log_batch(db, run, who=ADA, **what))
        except refused:
            return False
        assert run not in self.gone and not self.models[run].deleted
        return True

    @rule(run=runs, points=POINTS, twice=st.booleans())
    def log_points(self, run: str, points: list[Any], twice: bool) -> None:
        for _ in range(2 if twice else 1):
            if self.log(run, metrics=[Metric(key, value, time, step) for key, step, time, value in points]):
                self.models[run].log(points)

    @rule(run=runs, points=POINTS, again=st.booleans())
    def log_columns(self, run: str, points: list[Any], again: bool) -> None:
        """As the columns of the binary wire, with an idempotency key; the second time is none."""
        by_key: dict[str, Any] = {}
        for key, *rest in points:
            by_key.setdefault(key, []).append(rest)
        packed = {
            key: series.packed(series.points(*(list(column) for column in zip(*rows, strict=True))))
            for key, rows in by_key.items()
        }
        name = f"{len(self.models[run].points)}-{id(points)}"

        def work(db: Any) -> bool:
            touched = record.touch(db, ADA, run)
            fresh = record.first_time(db, touched, name.ljust(64, "0"), 1)
            if fresh:
                record.packed(db, touched, packed)
            return fresh

        for count in range(2 if again else 1):
            try:
                assert self.database.group(work) is (count == 0)
            except (BadInput, NotFound):
                assert run in self.gone or self.models[run].deleted
                return
        self.models[run].log(points)

    @rule(run=runs, params=WORDS, points=POINTS)
    def log_params(self, run: str, params: dict[str, str], points: list[Any]) -> None:
        """All or nothing: a parameter that has another value keeps the points out, too."""
        model = self.models[run]
        metrics = [Metric(key, value, time, step) for key, step, time, value in points]
        clash = any(model.params.get(key, value) != value for key, value in params.items())
        if self.log(run, params=list(params.items()), metrics=metrics):
            assert not clash
            model.params |= params
            model.log(points)
        else:
            assert clash or model.deleted or run in self.gone

    @rule(run=runs, tags=WORDS)
    def set_tags(self, run: str, tags: dict[str, str]) -> None:
        if self.log(run, tags=tags):
            self.models[run].tags |= tags

    @rule(run=runs)
    def delete(self, run: str) -> None:
        if run not in self.gone:
            self.database.group(lambda db: service.delete_run(db, ADA, run))
            self.models[run].deleted = True

    @rule(run=runs)
    def restore(self, run: str) -> None:
        if run not in self.gone:
            self.database.group(lambda db: service.restore_run(db, ADA, run))
            self.models[run].deleted = False

    @rule(run=consumes(runs))
    def purge(self, run: str) -> None:
        with self.database.write() as db:
            purge.run(db, service.facts(db, ADA, run).id)
        self.gone.add(run)
        with pytest.raises(NotFound), self.database.read() as db:
            service.facts(db, ADA, run)
        assert not self.log(run, tags={"t": "x"})

    @rule()
    def fold(self) -> None:
        with self.database.read() as db:
            everything = db.execute(text("SELECT run_id, key_id FROM summaries")).all()
        for run, key in everything:
            self.database.group(lambda db, run=run, key=key: merge.fold(db, run, key))

    @invariant()
    def they_tell_the_same(self) -> None:
        for uuid, model in self.models.items():
            if uuid in self.gone:
                continue
            with self.database.read() as db:
                facts = service.facts(db, ADA, uuid)
                whole = {key: history.whole(db, facts.id, key) for key in model.points}
            assert (facts.params, facts.tags) == (model.params, model.tags)
            assert facts.lifecycle == ("deleted" if model.deleted else "active")
            assert set(facts.metrics) == set(model.points)
            for key, logged in model.points.items():
                self.compare(facts.metrics[key], whole[key], logged)

    def compare(self, short: Any, found: Any, logged: list[tuple[int, int, Any]]) -> None:
        rows = list(zip(found.steps.tolist(), found.times.tolist(), map(known, found.values.tolist()), strict=True))
        assert len(rows) == len(set(rows)) and set(rows) == set(logged)
        assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
        step, time = max(row[:2] for row in logged)
        last = max(
            (v for s, t, v in logged if (s, t) == (step, time)), key=lambda v: (v == "nan", 0 if v == "nan" else v)
        )
        assert (short.step, short.time, known(short.last)) == (step, time, last)
        real = [v for *_, v in logged if v != "nan"]
        assert (short.low, short.high) == ((min(real), max(real)) if real else (None, None))
        # what was sent twice counts twice until it is found out
        assert len(set(logged)) <= short.points <= len(logged)


@pytest.mark.parametrize("full", [4096, 8])
def test_the_store_and_the_model_tell_the_same(database: Database, monkeypatch: pytest.MonkeyPatch, full: int) -> None:
    """With chunks of 8 points, too, so that full ones, late points and their folding are met all the time."""
    monkeypatch.setattr(series, "FULL", full)
    monkeypatch.setattr(merge, "FULL", full)
    Store.database = database
    run_state_machine_as_test(
        Store, settings=settings(max_examples=12, stateful_step_count=20, deadline=None,
                                 suppress_health_check=list(HealthCheck)),
    )  # fmt: skip


def test_a_point_sent_twice_is_found_in_a_full_chunk(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "FULL", 8)
    monkeypatch.setattr(merge, "FULL", 8)
    with database.write() as db:
        experiment = experiments.ensure(db, PROJECT, "e")
        uuid = service.create_run(db, ADA, project_id=PROJECT, experiment_id=experiment.id).uuid

    def log(steps: range) -> None:
        for one in (Metric("m", step / 2, step, step) for step in steps):
            database.group(lambda db, one=one: service.log_batch(db, uuid, [one], who=ADA))  # type: ignore[misc]

    def fold() -> None:
        with database.write() as db:
            (pair,) = db.execute(text("SELECT run_id, key_id FROM summaries")).all()
            merge.fold(db, *pair)

    log(range(40))
    fold()
    log(range(20, 24))  # a client that was not told, and sent them again
    with database.read() as db:
        assert service.facts(db, ADA, uuid).metrics["m"].points == 44
    fold()
    with database.read() as db:
        facts = service.facts(db, ADA, uuid)
        assert facts.metrics["m"].points == 40
        assert history.whole(db, facts.id, "m").steps.tolist() == list(range(40))
        assert db.execute(text("SELECT COUNT(*), SUM(points) FROM series_chunks")).one() == (5, 40)
