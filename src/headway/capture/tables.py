"""Small tables of results: what a classification report says, confusion matrices, importances, coefficients, trials."""

from __future__ import annotations

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

__all__ = ["confusion", "importances", "report", "report_table"]

ROWS = 500
SUMMARIES = ("accuracy", "micro avg", "macro avg", "weighted avg", "samples avg")


def report(result: Any) -> dict[str, dict[str, float]] | None:
    """`{row: {column: number}}` of a classification report, printed or as a dict. Its `accuracy` is `{"accuracy": a}`."""
    if isinstance(result, dict):
        found: dict[str, dict[str, float]] = {}
        for row, cells in result.items():
            if isinstance(cells, dict):
                found[str(row)] = {str(k): float(v) for k, v in cells.items() if isinstance(v, (int, float))}
            elif isinstance(cells, (int, float)):
                found[str(row)] = {str(row): float(cells)}
        return found or None
    return _parsed(result) if isinstance(result, str) else None


def _parsed(text: str) -> dict[str, dict[str, float]] | None:
    lines = [line for line in text.splitlines() if line.strip()]
    columns = lines[0].split() if lines else []
    found: dict[str, dict[str, float]] = {}
    for line in lines[1:]:
        # A class may have spaces in its name, and numbers: the columns are counted from the right.
        for count in (len(columns), 2):
            words = line.rsplit(None, count)
            numbers = [_number(w) for w in words[1:]]
            if len(words) == count + 1 and None not in numbers:
                name = words[0].strip()
                told = dict(zip(columns if count == len(columns) else ["accuracy", "support"], numbers, strict=False))
                found[name] = {k: v for k, v in told.items() if v is not None}
                break
    return found or None


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def summary(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """What one would log of a report: the accuracy, and the averages of F1."""
    found = {}
    for name in SUMMARIES:
        for column, value in rows.get(name, {}).items():
            if column == "accuracy":
                found["accuracy"] = value
            elif column == "f1-score":
                found[f"{name.replace(' ', '_')}_f1"] = value
    return found


def report_table(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    rows = {n: {"f1-score" if k == "accuracy" else k: v for k, v in cells.items()} for n, cells in rows.items()}
    columns = list(dict.fromkeys(c for cells in rows.values() for c in cells))
    data = [[name, *(cells.get(c) for c in columns)] for name, cells in list(rows.items())[:ROWS]]
    return {"columns": ["", *columns], "data": data}


def confusion(matrix: Any, labels: Any = None) -> dict[str, Any] | None:
    """A confusion matrix of at most 100 classes: a row for each true class."""
    if getattr(matrix, "ndim", 0) != 2 or not 1 < matrix.shape[0] <= 100 or matrix.shape[0] != matrix.shape[1]:
        return None
    names = [str(n) for n in (labels if labels is not None else range(matrix.shape[0]))]
    rows = matrix.tolist()
    if len(names) != len(rows):
        return None
    return {"columns": ["true \\ predicted", *names], "data": [[n, *r] for n, r in zip(names, rows, strict=True)]}


def importances(names: list[str], columns: dict[str, list[float]]) -> dict[str, Any] | None:
    """One row for each feature, the most important first."""
    values = next(iter(columns.values()), [])
    if not values or any(len(v) != len(names) for v in columns.values()):
        return None
    order = sorted(range(len(names)), key=lambda i: -abs(values[i]))[:ROWS]
    return {"columns": ["feature", *columns], "data": [[names[i], *(c[i] for c in columns.values())] for i in order]}
