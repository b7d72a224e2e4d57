"""Runs as JSON texts: kept by version, and written straight from the rows where they are not, for a search of 1,000 runs is
seventy thousand rows. A text is what `shapes.run` says of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy.orm import Session

from headway.storage import direct
from headway.storage.direct import Direct
from headway.tracking.store import keys, readout
from headway.tracking.wire import shapes

_PIECE = 200  # runs whose rows are in memory at once
_METRICS = "SELECT run_id, key_id, last, is_nan, time, step FROM summaries WHERE run_id IN"
_TEXTS = {"params": "SELECT run_id, key_id, value FROM params WHERE run_id IN",
          "tags": "SELECT run_id, key_id, value FROM tags WHERE run_id IN"}  # fmt: skip
_NONE: list[tuple[int, str]] = []


def documents(db: Session | Direct, rows: Sequence[Any]) -> list[bytes]:
    """Runs as JSON texts, most of them kept from before. For reading sessions only: what isn't committed must not be kept."""
    kept = readout.documents(db)
    found: dict[int, bytes] = {}
    missing = []
    for row in rows:
        document = kept.get(row.uuid, row.version)
        if document is None:
            missing.append(row)
        else:
            found[row.id] = document
    for at in range(0, len(missing), _PIECE):
        piece = missing[at : at + _PIECE]
        for row, document in zip(piece, write(db, piece), strict=True):
            kept.put(row.uuid, row.version, document, len(document) + 200)
            found[row.id] = document
    return [found[row.id] for row in rows]


def write(db: Session | Direct, rows: Sequence[Any]) -> list[bytes]:
    """The texts of runs, of which `rows` are the rows."""
    reader, ids = direct.of(db), [row.id for row in rows]
    metrics = reader.among(_METRICS, ids)
    texts = {name: reader.among(text, ids) for name, text in _TEXTS.items()}
    used = {row[1] for row in metrics}.union(*({row[1] for row in its} for its in texts.values()))
    names = keys.names(db, used)
    places = {key: place for place, key in enumerate(sorted(names, key=names.__getitem__))}
    heads = {key: f'{{"key":{orjson.dumps(name).decode()},"value":' for key, name in names.items()}
    data = {"metrics": _metrics(metrics, places, heads)} | {
        name: _texts(its, places, heads) for name, its in texts.items()
    }
    facts = {row.id: readout.bare(row) for row in rows}
    readout.attach(db, facts)
    found = []
    for row in rows:
        parts = []
        for name, its in data.items():
            entries = its.get(row.id, _NONE)
            if entries:
                entries.sort()
                parts.append(f'"{name}":[{",".join([entry for _, entry in entries])}]')
        info, lineage = orjson.dumps(shapes.run_info(row)), orjson.dumps(shapes.lineage(facts[row.id]))
        found.append(b'{"info":' + info + f',"data":{{{",".join(parts)}}},'.encode() + lineage[1:])
    return found


def _metrics(
    rows: Sequence[Any], places: Mapping[int, int], heads: Mapping[int, str]
) -> dict[int, list[tuple[int, str]]]:
    found: dict[int, list[tuple[int, str]]] = {}
    for run, key, last, is_nan, time, step in rows:
        value: Any = '"NaN"' if is_nan else last
        if last in shapes.ODD:
            value = f'"{shapes.ODD[last]}"'
        entry = (places[key], f'{heads[key]}{value},"timestamp":{time},"step":{step}}}')
        if run in found:
            found[run].append(entry)
        else:
            found[run] = [entry]
    return found


def _texts(
    rows: Sequence[Any], places: Mapping[int, int], heads: Mapping[int, str]
) -> dict[int, list[tuple[int, str]]]:
    found: dict[int, list[tuple[int, str]]] = {}
    known: dict[str, str] = {}  # parameters of many runs have few values
    for run, key, value in rows:
        quoted = known.get(value)
        if quoted is None:
            quoted = known[value] = orjson.dumps(value).decode()
        entry = (places[key], f"{heads[key]}{quoted}}}")
        if run in found:
            found[run].append(entry)
        else:
            found[run] = [entry]
    return found
