"""`runs/log-...` and `runs/set-tag`: what a training loop calls all the time. Read and checked before the transaction, so that
a bad request costs its neighbours nothing; then written straight by the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from headway.storage.direct import Direct
from headway.tracking import limits, service
from headway.tracking.store.record import Batch, Metric
from headway.tracking.wire.call import Call, endpoint

Work = tuple[str, Callable[[Direct], None]]  # the run, and what to do
_MOST_TIME = 2**63 - 1


def run_id(call: Call) -> str:
    """The run's id, which old clients call `run_uuid`."""
    return call.text("run_id", "run_uuid")


def _write(call: Call, uuid: str, batch: Batch) -> Work:
    return uuid, partial(service.log, who=call.who, run_id=uuid, batch=batch)


@endpoint("POST", "runs/log-metric", mode="direct")
def log_metric(call: Call) -> Work:
    uuid, batch = run_id(call), Batch()
    _add(batch, call.values, "")
    return _write(call, uuid, batch)


@endpoint("POST", "runs/log-parameter", mode="direct")
def log_param(call: Call) -> Work:
    uuid = run_id(call)
    key = limits.key(call.text("key"), "key", what="Param key")
    value = limits.text(call.values.get("value"), "value", limits.PARAM_VALUE, "Param value")
    return _write(call, uuid, Batch(params=[(key, value)]))


@endpoint("POST", "runs/set-tag", mode="direct")
def set_tag(call: Call) -> Work:
    uuid = run_id(call)
    key = limits.key(call.text("key"))
    return _write(call, uuid, Batch(tags={key: limits.text(call.values.get("value"), "value", limits.TAG_VALUE)}))


@endpoint("POST", "runs/log-batch", mode="direct")
def log_batch(call: Call) -> Work:
    uuid = run_id(call)
    metrics, params, tags = call.items("metrics"), call.items("params"), call.items("tags")
    limits.batch(len(metrics), len(params), len(tags))
    batch = Batch()
    _add_all(batch, metrics)
    batch.params = [
        (
            limits.key(key, f"params[{i}].key", what="Param key"),
            limits.text(value, f"params[{i}].value", limits.PARAM_VALUE, "Param value"),
        )
        for i, (key, value) in enumerate(call.pairs("params"))
    ]
    batch.tags = service.check_tags(call.pairs("tags"))
    return _write(call, uuid, batch)


def _add_all(batch: Batch, found: list[Any]) -> None:
    """Add metrics as they came. Those that are just as they should be, nearly all, are not looked at twice."""
    rows = batch.rows
    for i, m in enumerate(found):
        if type(m) is dict:
            columns = rows.get(m.get("key", ""))  # what has columns has a sound name
            value, time, step = m.get("value"), m.get("timestamp"), m.get("step", 0)
            if (
                columns is not None and type(value) is float and type(time) is int and type(step) is int
                and 0 <= time <= _MOST_TIME and -_MOST_TIME <= step <= _MOST_TIME and not m.get("model_id")
            ):  # fmt: skip
                columns[0].append(step)
                columns[1].append(time)
                columns[2].append(value)
                continue
        _add(batch, m, f"metrics[{i}].")


def _add(batch: Batch, values: Any, path: str) -> None:
    if not isinstance(values, dict):
        raise limits.invalid(path.rstrip("."), values, "It must be an object with key, value and timestamp.")
    name = values.get("key")
    if name is None or name == "":
        raise limits.missing(f"{path}key")
    limits.key(name, f"{path}name", what="Metric name")
    value = limits.number(values.get("value"), f"{path}value")
    time = limits.integer(values.get("timestamp"), f"{path}timestamp")
    if time < 0:
        said = f"metric '{name}' (value={value}). Timestamp must be a nonnegative long (64-bit integer) "
        raise limits.invalid(f"{path}timestamp", time, said)
    batch.add(name, limits.integer(values.get("step"), f"{path}step", 0), time, value)
    if model := values.get("model_id"):
        batch.of_models.append(
            Metric(
                name, value, time, batch.rows[name][0][-1], limits.text(model, f"{path}model_id", 64),
                limits.text(values.get("dataset_name"), f"{path}dataset_name", limits.DATASET_NAME),
                limits.text(values.get("dataset_digest"), f"{path}dataset_digest", limits.DATASET_DIGEST),
            )
        )  # fmt: skip
