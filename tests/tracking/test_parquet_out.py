"""What is written as Parquet is, to pyarrow and to pandas, the table that it was."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.tracking.show import parquet_out
from headway.tracking.show.parquet_out import DOUBLE, TEXT, written

parquet = pytest.importorskip("pyarrow.parquet", reason="comes with mlflow")


def read(data: bytes) -> tuple[list[str], list[list[Any]], int]:
    file = parquet.ParquetFile(io.BytesIO(data))
    table = file.read()
    rows = [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return table.schema.names, rows, file.num_row_groups


def same(one: Any, other: Any) -> bool:
    return one == other or (
        isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    )


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tables = st.lists(st.sampled_from([DOUBLE, TEXT]), min_size=1, max_size=20).flatmap(
    lambda kinds: st.tuples(
        st.just(kinds),
        st.lists(
            st.lists(st.tuples(*[texts if kind == TEXT else st.none() | st.floats() for kind in kinds]), max_size=20),
            max_size=4,
        ),
    )
)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_any_table_comes_back(table: tuple[list[int], list[list[tuple[Any, ...]]]]) -> None:
    kinds, pages = table
    columns = [(f"c {at} ü", kind) for at, kind in enumerate(kinds)]
    names, found, _ = read(b"".join(written(columns, iter([[list(row) for row in page] for page in pages]))))
    rows = [row for page in pages for row in page]
    assert names == [name for name, _ in columns]
    assert len(found) == len(rows)
    assert all(same(a, b) for one, other in zip(found, rows, strict=True) for a, b in zip(one, other, strict=True))


def test_much_is_sent_in_groups_and_little_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_out, "_GROUP", 2000)
    rows = [[f"run {at}", None if at % 3 else at / 7] for at in range(5000)]
    pieces = list(written([("id", TEXT), ("acc", DOUBLE)], iter(rows[at : at + 500] for at in range(0, 5000, 500))))
    assert len(pieces) > 2
    names, found, groups = read(b"".join(pieces))
    assert (names, found) == (["id", "acc"], rows)
    assert groups in (len(pieces) - 1, len(pieces))  # the last piece may be the metadata alone


def test_pandas_reads_its_types() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(
        io.BytesIO(b"".join(written([("a", TEXT), ("b", DOUBLE)], iter([[["x", 1.5], [None, None]]]))))
    )
    assert frame["b"].dtype == "float64" and frame["a"][0] == "x" and frame.isna().sum().tolist() == [1, 1]
