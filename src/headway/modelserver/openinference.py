"""The Open Inference protocol, version 2 (KServe, Triton, MLServer): its request and answer, over the same checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from headway.errors import BadInput
from headway.modelserver.payload import METHODS, Arrays, Table, columns_table, kind_of, refuse, shown

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip
_HINT = 'Send {"inputs": [{"name": ..., "shape": [...], "datatype": "FP64", "data": [...]}]}.'


@dataclass(slots=True)
class V2:
    """A decoded request, and how its answer is told."""

    data: Table | Arrays
    encode: Callable[[dict[str, Any]], bytes]


def decode(value: dict[str, Any], names: list[str] | None) -> V2:
    """Columns by the tensors' names, or one matrix in the signature's order; arrays for a model that takes arrays."""
    inputs = value.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise BadInput('"inputs" must be a list of tensors.', hint=_HINT)
    encode = partial(encode_v2, value.get("id") if isinstance(value.get("id"), str) else None)
    method = _method(value.get("parameters"))
    tensors = [_tensor(i, one) for i, one in enumerate(inputs)]
    if len({name for name, _, _ in tensors}) != len(tensors):
        refuse("Two inputs have the same name.", _HINT)
    if names is None:
        return V2(
            Arrays({None if len(tensors) == 1 else n: _nested(shape, flat) for n, shape, flat in tensors}, method),
            encode,
        )
    if len(tensors) == 1 and (len(tensors[0][1]) == 2 and tensors[0][0] not in names):
        _, shape, flat = tensors[0]
        if shape[1] != len(names):
            refuse(
                f"The input has {shape[1]} columns, the model takes {len(names)}.", "Name each column as its own input."
            )
        return V2(Table(_nested(shape, flat), None, method), encode)
    columns = {}
    for name, shape, flat in tensors:
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            refuse(f"Input {shown(name)}: a column has the shape [rows] or [rows, 1].", _HINT, column=name)
        columns[name] = flat
    return V2(columns_table(columns, method), encode)


def _method(parameters: Any) -> str:
    method = parameters.get("method", "predict") if isinstance(parameters, dict) else "predict"
    if method not in METHODS:
        raise BadInput(f"Unknown method {shown(method)}.", hint=f"Methods: {', '.join(METHODS)}.")
    return str(method)


def _tensor(i: int, one: Any) -> tuple[str, list[int], list[Any]]:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise BadInput(f"Input {i} must be an object with a name, a shape, a datatype and data.", hint=_HINT)
    name, shape, kind = one["name"], one.get("shape"), one.get("datatype")
    if not isinstance(shape, list) or not shape or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
        raise BadInput(f"Input {shown(name)}: the shape must be a list of whole numbers.", hint=_HINT)
    if kind not in DATATYPES:
        raise BadInput(f"Input {shown(name)}: unknown datatype.", hint=f"Datatypes: {', '.join(DATATYPES)}.")
    data = one.get("data")
    if not isinstance(data, list):
        raise BadInput(f"Input {shown(name)}: data must be a list, not {kind_of(data)}.", hint=_HINT)
    flat = _flat(data, len(shape))
    wanted = 1
    for n in shape:
        wanted *= n
    if len(flat) != wanted:
        refuse(f"Input {shown(name)}: the shape wants {wanted} values, data has {len(flat)}.", _HINT, column=name)
    return name, shape, flat


def _flat(data: list[Any], depth: int) -> list[Any]:
    for _ in range(depth - 1):
        if not data or not isinstance(data[0], list):
            break
        if not all(isinstance(part, list) for part in data):
            refuse("The data mix lists and values.", _HINT)
        data = [v for part in data for v in part]
    return data


def _nested(shape: list[int], flat: list[Any]) -> list[Any]:
    for width in reversed(shape[1:]):
        flat = [flat[i : i + width] for i in range(0, len(flat), width)] if width else []
    return flat


def encode_v2(request_id: str | None, found: dict[str, Any]) -> bytes:
    """The answer: one output "predictions" and, where asked, "probabilities"."""
    outputs = [_output(name, found[name]) for name in ("predictions", "probabilities") if name in found]
    answer: dict[str, Any] = {"model_name": "model", "outputs": outputs}
    if request_id is not None:
        answer["id"] = request_id
    if "classes" in found:
        answer["parameters"] = {"classes": json.dumps(found["classes"])}
    return json.dumps(answer, allow_nan=False).encode()


def _output(name: str, rows: list[Any]) -> dict[str, Any]:
    shape, flat = [len(rows)], rows
    while flat and all(isinstance(v, list) and len(v) == len(flat[0]) for v in flat):
        shape.append(len(flat[0]))
        flat = [v for part in flat for v in part]
    kinds = set(map(type, flat))
    if kinds <= {bool}:
        kind = "BOOL"
    elif kinds <= {int}:
        kind = "INT64"
    elif kinds <= {int, float, type(None)}:
        kind = "FP64"
    else:
        kind, flat = "BYTES", [v if isinstance(v, str) else json.dumps(v) for v in flat]
    return {"name": name, "shape": shape, "datatype": kind, "data": flat}
