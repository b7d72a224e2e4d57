"""Results in files that the program wrote: numbers and series under names of results. Pure; nothing else of a file is kept."""

from __future__ import annotations

from headway.capture.lexicon import is_metric_name, is_noise_name, words

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from typing import Any

__all__ = ["results_in"]

ROWS = 2_000
NAMES = 40
_STEPS = frozenset(
    ("epoch", "epochs", "step", "steps", "iter", "iters", "iteration", "round", "rounds", "fold", "trial", "episode")
)
# Words by which a name of a result becomes that of a setting.
_SETTING = frozenset(
    ("weight", "weights", "coef", "lambda", "alpha", "scale", "fn", "function", "type", "threshold", "smoothing", "every",
     "interval", "tol", "tolerance", "eps", "target", "name", "best_model", "norm", "dim", "size")
)  # fmt: skip


def results_in(text: str, suffix: str) -> dict[str, Any]:
    """`{"v": {name: number}, "h": {name: numbers}, "r": {column: values}}`, each only where there is some."""
    if suffix == ".json":
        return _json(text)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(text)
    if suffix in (".csv", ".tsv"):
        return _table(text, "\t" if suffix == ".tsv" else "")
    return _lines(text)


def _json(text: str) -> dict[str, Any]:
    import json

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _json_lines(text)
    found: dict[str, Any] = {"v": {}, "h": {}, "r": {}}
    _walk(value, "", 3, found)
    return {k: v for k, v in found.items() if v}


def _walk(value: Any, name: str, depth: int, found: dict[str, Any]) -> None:
    if isinstance(value, dict) and depth:
        for key, item in list(value.items())[:NAMES]:
            _walk(item, f"{name}.{key}" if name else str(key), depth - 1, found)
    elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        found["r"].update(
            _columns([{k: v for k, v in row.items() if not isinstance(v, (dict, list))} for row in value[:ROWS]])
        )
    elif _is_result(name.rsplit(".", 1)[-1]) and len(found["v"]) + len(found["h"]) < NAMES:
        if _is_number(value):
            found["v"][name] = value
        elif isinstance(value, list) and 2 <= len(value) <= ROWS and all(_is_number(v) for v in value):
            found["h"][name] = value


def _json_lines(text: str) -> dict[str, Any]:
    import json

    rows = []
    try:
        for line in text.split("\n")[: ROWS + 1]:
            if line.strip():
                rows.append(json.loads(line))
    except (ValueError, RecursionError):
        return {}
    if len(rows) < 2 or len(rows) > ROWS or not all(isinstance(r, dict) for r in rows):
        return {}
    return {"r": told} if (told := _columns(rows)) else {}


def _table(text: str, delimiter: str) -> dict[str, Any]:
    head = text.split("\n", 1)[0]
    if not any(_is_result(w) for w in head.replace('"', "").replace(";", ",").replace("\t", ",").strip().split(",")):
        return {}
    import csv

    delimiter = delimiter or max(",;\t", key=head.count)
    rows = list(csv.reader(text.split("\n")[: ROWS + 2], delimiter=delimiter))
    names = [n.strip() for n in rows[0]]
    body = [r for r in rows[1:] if len(r) == len(names)]
    if not 1 <= len(body) <= ROWS or len(set(names)) < len(names):
        return {}
    told = _columns([{n: _number(c) for n, c in zip(names, row, strict=True)} for row in body])
    return {"r": told} if told else {}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The columns of results, with that of the steps or of the words that name the rows.

    Data has results in it, too (a score for each row): a table counts only where steps or few named rows lead it, or where
    most of its columns are results.
    """
    names = [n for n in rows[0] if isinstance(n, str) and all(n in r for r in rows)]
    columns = {n: [r[n] for r in rows] for n in names}
    results = {n: v for n, v in columns.items() if _is_result(n) and all(_is_number(x) for x in v)}
    steps = [n for n, v in columns.items() if set(words(n)) & _STEPS and all(type(x) is int for x in v)]
    index = [n for n, v in columns.items() if not n and v == list(range(len(v)))]
    labels = [n for n, v in columns.items() if len(v) <= 50 and all(isinstance(x, str) and 0 < len(x) <= 40 for x in v)
              and len(set(v)) == len(v)]  # fmt: skip
    rest = [n for n in columns if n not in (*results, *steps, *index, *labels) and not is_noise_name(n)]
    if not results or not (steps or labels or len(results) > len(rest)) or (len(rows) == 1 and not labels):
        return {}
    kept = [*steps[:1], *labels[:1], *results][:NAMES]
    return {n: columns[n] for n in kept}


def _lines(text: str) -> dict[str, Any]:
    """A log: `epoch 3 train loss 0.25, acc = 0.91`, where several lines have the same names."""
    import re

    number = re.compile(
        r"([A-Za-z][\w./-]*(?: [A-Za-z][\w./-]*){0,2})\s*[:=]?\s*(-?\d+\.\d+(?:[eE][+-]?\d+)?|nan)(?![\w.])"
    )
    step = re.compile(r"(?i)\b(?:epoch|step|iter\w*|round|episode)\D{0,3}(\d+)")
    found: dict[str, list[Any]] = {}
    steps: list[int] = []
    lines = text.split("\n")
    for line in lines[: ROWS * 2]:
        told = {m[1]: float(m[2]) for m in number.finditer(line) if _is_result(m[1])}
        at = step.search(line)
        if told and at:
            steps.append(int(at[1]))
        for name, value in told.items():
            found.setdefault(name.strip(" ./-"), []).append(value)
    series = {n: v for n, v in found.items() if 2 <= len(v) <= ROWS}
    if not series or len(series) > NAMES // 2:
        return {}
    longest = max(map(len, series.values()))
    whole = {n: v for n, v in series.items() if len(v) == longest}
    grows = len(steps) == longest and all(after > before for before, after in zip(steps, steps[1:]))  # noqa: B905, RUF007  no more imports here
    return {"r": {**({"step": steps} if grows else {}), **whole}}


def _is_result(name: str) -> bool:
    return is_metric_name(name) and not set(words(name)) & _SETTING


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(cell: str) -> Any:
    try:
        return int(cell)
    except ValueError:
        try:
            return float(cell)
        except ValueError:
            return cell.strip()
