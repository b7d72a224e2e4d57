"""`metrics/...`: series, by pages, whole, and sampled for charts. Points are written as text straight from their columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson
from anyio import to_thread
from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse

from headway.engines.host import Host
from headway.errors import BadInput
from headway.storage.direct import Direct
from headway.tracking import service
from headway.tracking.store import history, readout, samples
from headway.tracking.store.series import Floats, Points
from headway.tracking.wire import shapes
from headway.tracking.wire.call import Call, endpoint, respond
from headway.tracking.wire.logged import run_id

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def text(key: str, p: Points, run: str = "") -> bytes:
    """The points as `Metric`s (with a run's id `MetricWithRunId`s), by commas: what `shapes.points` would be as JSON."""
    head = f'{{"key":{orjson.dumps(key).decode()},"value":'
    tail = f',"run_id":{orjson.dumps(run).decode()}}}' if run else "}"
    columns = zip(_values(p.values), _texts(p.times), _texts(p.steps), strict=True)
    return ",".join([f'{head}{value},"timestamp":{time},"step":{step}{tail}' for value, time, step in columns]).encode()


def _texts(column: np.ndarray) -> list[str]:
    return orjson.dumps(np.ascontiguousarray(column), option=_NUMPY)[1:-1].decode().split(",") if len(column) else []


def _values(values: Floats) -> list[str]:
    found = _texts(values)
    for at in np.flatnonzero(~np.isfinite(values)).tolist():
        found[at] = f'"{shapes.number(float(values[at]))}"'
    return found


def _answer(texts: list[bytes], token: str = "") -> bytes:
    parts = [b'"metrics":[' + b",".join(filter(None, texts)) + b"]"] if any(texts) else []
    if token:
        parts.append(b'"next_page_token":' + orjson.dumps(token))
    return b"{" + b",".join(parts) + b"}"


@endpoint("GET", "metrics/get-history", mode="raw")
async def get_history(call: Call) -> Response:
    """A page of a series; the whole of it, where no number is said, is sent as it is read: it may be millions of points."""
    paged = any(call.values.get(name) not in (None, "") for name in ("max_results", "page_token"))
    found = await to_thread.run_sync(call.host.database.look, lambda db: _history(call, db, paged))
    if isinstance(found, bytes):
        return respond(found)
    return StreamingResponse(_stream(call.host, found, call.text("metric_key")), media_type="application/json")


def _history(call: Call, db: Direct, paged: bool) -> bytes | int:
    """The page that is asked for, or the run's number."""
    row, key = service.seen_run(db, call.who, run_id(call)), call.text("metric_key")
    if not paged:
        return row.id
    limit = call.values.get("max_results")
    most = None if limit in (None, "") else call.integer("max_results", least=1)
    found, token = history.page(db, row.id, key, most, call.text("page_token", required=False))
    return _answer([text(key, found)], token)


def _stream(host: Host, run: int, key: str) -> Iterator[bytes]:
    before = b'{"metrics":['
    with host.database.reader() as db:
        for piece in history.pieces(db, run, key):
            yield before + text(key, piece)
            before = b","
    yield b"{}" if before != b"," else b"]}"


@endpoint("GET", "metrics/get-history-bulk-interval", mode="look")
def get_history_interval(call: Call, db: Session | Direct) -> bytes:
    """Samples of a metric of several runs. The answer is kept until one of the runs is written to."""
    ids = call.strings("run_ids", required=True)
    if len(ids) > 100:
        raise BadInput("GetMetricHistoryBulkInterval request must specify at most 100 run_ids.")
    key = call.text("metric_key")
    most = call.integer("max_results", 2500)
    if not 1 <= most <= 2500:
        raise BadInput("max_results must be between 1 and 2500.", field="max_results")
    low, high = (None if call.values.get(n) in (None, "") else call.integer(n) for n in ("start_step", "end_step"))
    if (low is None) != (high is None):
        raise BadInput("If either start step or end step are specified, both must be specified.")
    if low is not None and high is not None and low > high:
        raise BadInput(f"end_step must be greater than start_step. Found start_step={low} and end_step={high}.")
    rows = [service.seen_run(db, call.who, one) for one in ids]

    def made() -> bytes:
        found = samples.sampled(db, [r.id for r in rows], key, low=low, high=high, most=most)
        return _answer([text(key, found[row.id], row.uuid) for row in rows])

    return readout.answer(db, ("interval", key, most, low, high), rows, made)


@endpoint("GET", "metrics/get-history-bulk", mode="look")
def get_history_bulk(call: Call, db: Session | Direct) -> bytes:
    """The first points of a metric of several runs."""
    ids = call.strings("run_id")
    if not ids:
        raise BadInput("GetMetricHistoryBulk request must specify at least one run_id.")
    if not call.values.get("metric_key"):
        raise BadInput("GetMetricHistoryBulk request must specify a metric_key.")
    if len(ids) > 100:
        raise BadInput("GetMetricHistoryBulk request cannot specify more than 100 run_ids.")
    key = call.text("metric_key")
    left = call.integer("max_results", 25_000, least=1, most=25_000)
    texts: list[bytes] = []
    for row in [service.seen_run(db, call.who, one) for one in sorted(ids)]:
        for piece in history.pieces(db, row.id, key):
            some = piece.take(slice(0, left))
            texts.append(text(key, some, row.uuid))
            left -= len(some)
            if left == 0:
                break
    return _answer(texts) if texts else b'{"metrics":[]}'
