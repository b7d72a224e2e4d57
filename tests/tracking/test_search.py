"""The grammar of filters and orders."""

from __future__ import annotations

import pytest

from headway.errors import BadInput
from headway.tracking.find.search import EXPERIMENTS, Clause, Order, parse_filter, parse_order, parse_orders, quote_key


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("metrics.acc > 0.9", Clause("metric", "acc", ">", 0.9)),
        ("metric.acc<=-1e-3", Clause("metric", "acc", "<=", -0.001)),
        ("metrics.`a b` != 2", Clause("metric", "a b", "!=", 2.0)),
        ("params.lr = '0.1'", Clause("param", "lr", "=", "0.1")),
        ('parameters."x y" LIKE "%a"', Clause("param", "x y", "LIKE", "%a")),
        ("params.q = 'it''s'", Clause("param", "q", "=", "it's")),
        ("tags.mlflow.source.name iLiKe 'x_'", Clause("tag", "mlflow.source.name", "ILIKE", "x_")),
        ("tag.x IS NULL", Clause("tag", "x", "IS NULL", None)),
        ("tags.x is  not  null", Clause("tag", "x", "IS NOT NULL", None)),
        ("status = 'FINISHED'", Clause("attribute", "status", "=", "FINISHED")),
        ("`Run name` != 'x'", Clause("attribute", "run_name", "!=", "x")),
        ("attr.created > 5", Clause("attribute", "start_time", ">", 5)),
        ("run_id NOT IN ('a', \"b\")", Clause("attribute", "run_id", "NOT IN", ("a", "b"))),
        ("datasets.name IN ('a')", Clause("dataset", "name", "IN", ("a",))),
        ("params.ünïcode = 'ß'", Clause("param", "ünïcode", "=", "ß")),
        ("metrics.a/b-c:d > .5", Clause("metric", "a/b-c:d", ">", 0.5)),
    ],
)
def test_clauses(text: str, found: Clause) -> None:
    assert parse_filter(text) == [found]


def test_conditions_are_joined_by_and() -> None:
    assert [c.key for c in parse_filter("metrics.a > 1 AND params.b = 'and' aNd tags.c != 'x'")] == ["a", "b", "c"]
    assert parse_filter("") == parse_filter("  ") == parse_filter(None) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metrics.a > 1 or metrics.b > 2", "character 15"),
        ("metrics.a", "expected a comparison"),
        ("metrics.a > 'x'", "numeric"),
        ("metrics.a > 1e", "numeric"),
        ("params.a = 5", "quoted string"),
        ("params.a = 'x", "quoted string"),
        ("params.a > 'x'", "Invalid comparator"),
        ("metrics.a LIKE 'x'", "Invalid comparator"),
        ("run_id IN ()", "expected string value"),
        ("run_id IN ('a'", "Expected ')'"),
        ("status IN ('a')", "Invalid comparator"),
        ("secret = 'x'", "Invalid attribute key"),
        ("foo.bar = 'x'", "Invalid entity type"),
        ("dataset.size = 'x'", "Invalid dataset key"),
        ("metrics.a > 1 and", "at its end"),
        ("; drop table runs", "Invalid clause"),
        ("((((metrics.a > 1", "Invalid clause"),
        ("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported"),
    ],
)
def test_errors_say_where(text: str, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_filter(text)
    assert says in caught.value.message and caught.value.hint


def test_orders() -> None:
    assert parse_order("metrics.acc DESC") == Order("metric", "acc", False)
    assert parse_order(" params.`a b` ") == Order("param", "a b", True)
    assert parse_order("created desc") == Order("attribute", "start_time", False)
    for bad in ("", "metrics.a foo", "metrics.a DESC x", "order_by=secret", "secret", "start_time; drop"):
        with pytest.raises(BadInput):
            parse_order(bad)
    with pytest.raises(BadInput, match="duplicate"):
        parse_orders(["start_time", "created DESC"])
    with pytest.raises(BadInput):
        parse_order("start_time", EXPERIMENTS)


@pytest.mark.parametrize("key", ["a", "a.b/c:d-e", "a b", "x y.z"])
def test_keys_survive_quoting(key: str) -> None:
    assert parse_order(f"metrics.{quote_key(key)} DESC") == Order("metric", key, False)
