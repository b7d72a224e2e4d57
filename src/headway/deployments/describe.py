"""What an endpoint says of itself: health, schema, Open Inference metadata, and OpenAPI of the model's own columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from headway.deployments.http import Exchange
from headway.deployments.traffic import Endpoint

Then = Callable[[Exchange, int, bytes], None]

_JSON_TYPES: dict[str, dict[str, Any]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "binary": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
}
_V2_TYPES = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64", "string": "BYTES",
    "binary": "BYTES", "datetime": "BYTES", "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32",
    "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float16": "FP16",
    "float32": "FP32", "float64": "FP64",
}  # fmt: skip


def at_once(action: bytes, endpoint: Endpoint, ready: bool) -> tuple[int, bytes] | None:
    """The answers that need no replica."""
    base = f"/endpoints/{endpoint.project}/{endpoint.name}"
    match action:
        case b"":
            paths = ("invocations", "schema", "openapi.json", "health", "v2")
            return 200, json.dumps({"name": endpoint.name, **{p.split(".")[0]: f"{base}/{p}" for p in paths}}).encode()
        case b"v2":
            return 200, json.dumps({"name": "headway", "version": "2", "extensions": []}).encode()
        case b"v2/health/live":
            return 200, b'{"live": true}'
        case b"v2/health/ready" | b"v2/model/ready" | b"health" | b"ping" if not ready:
            return 503, b'{"error": {"code": "UNAVAILABLE", "message": "No replica is ready."}}'
    return None


def later(action: bytes, endpoint: Endpoint) -> Then:
    """What to do with the replica's answer."""
    if action in (b"health", b"ping"):
        return lambda exchange, status, body: exchange.respond(status, body)
    if action in (b"v2/health/ready", b"v2/model/ready"):
        return lambda exchange, status, body: exchange.respond(status, b'{"ready": true}' if status == 200 else body)

    def told(exchange: Exchange, status: int, body: bytes) -> None:
        if status != 200 or action == b"schema":
            exchange.respond(status, body)
            return
        schema = json.loads(body)
        value = (
            openapi(schema, endpoint.project, endpoint.name)
            if action == b"openapi.json"
            else v2_metadata(schema, endpoint.name)
        )
        exchange.respond(200, json.dumps(value).encode())

    return told


def v2_metadata(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The model metadata of the Open Inference protocol."""

    def side(fields: list[dict[str, Any]], fallback: str) -> list[dict[str, Any]]:
        found = []
        for field in fields:
            spec = field.get("tensor-spec")
            kind, shape = (spec["dtype"], spec["shape"]) if spec else (field["type"], [-1])
            found.append(
                {"name": field.get("name") or fallback, "datatype": _V2_TYPES.get(kind, "BYTES"), "shape": shape}
            )
        return found

    inputs, outputs = side(schema["inputs"], "input"), side(schema["outputs"], "predictions")
    return {
        "name": name,
        "versions": [],
        "platform": f"headway_{schema['flavor']}",
        "inputs": inputs,
        "outputs": outputs,
    }


def openapi(schema: dict[str, Any], project: str, name: str) -> dict[str, Any]:
    """OpenAPI 3.1 of one endpoint: a record of the model's own columns, required ones required, with the example."""
    record, split = _bodies(schema)
    example = schema.get("example")
    body: dict[str, Any] = {"schema": {"oneOf": [split, record] if record else [split]}}
    if example is not None:
        body["example"] = example
    answer = {
        "type": "object",
        "required": ["predictions"],
        "properties": {
            "predictions": {"type": "array", "items": {}},
            "probabilities": {"type": "array", "items": {"type": "array"}},
        },
    }
    ok: dict[str, Any] = {"schema": answer}
    if schema.get("example_predictions") is not None:
        ok["example"] = {"predictions": schema["example_predictions"]}
    error = {"$ref": "#/components/responses/Error"}
    invoke = {
        "operationId": "predict",
        "summary": f"Predict with {name}",
        "requestBody": {
            "required": True,
            "content": {"application/json": body, "text/csv": {"schema": {"type": "string"}}},
        },
        "responses": {"200": {"description": "One prediction a row", "content": {"application/json": ok}}}
        | dict.fromkeys(("400", "401", "413", "422", "503", "504"), error),
    }
    plain = {"200": {"description": "As JSON"}, "401": error}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{project}/{name}",
            "version": "1",
            "description": f"A {schema['class']} ({schema['flavor']}).",
        },
        "servers": [{"url": f"/endpoints/{project}/{name}"}],
        "security": [{"key": []}],
        "paths": {
            "/invocations": {"post": invoke},
            "/schema": {"get": {"operationId": "schema", "summary": "Columns and an example", "responses": plain}},
            "/health": {"get": {"operationId": "health", "summary": "Whether it answers", "responses": plain}},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Error": {"description": "What was wrong", "content": {"application/json": {"schema": _ERROR}}}
            },
        },
    }


_TEXTS: dict[str, Any] = {k: {"type": "string"} for k in ("code", "message", "hint", "column", "expected", "got")}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": _TEXTS | {"row": {"type": "integer"}},
        },
    },
}


def _bodies(schema: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """(dataframe_records or None, the form shown first) of a model's inputs."""
    fields = schema["inputs"]
    if not fields or "tensor-spec" in fields[0]:
        return None, {"type": "object", "required": ["inputs"], "properties": {"inputs": {}}}
    properties: dict[str, Any] = {}
    for i, field in enumerate(fields):
        kind = dict(_JSON_TYPES.get(str(field["type"]), {}))
        if not field.get("required", True) and kind:
            kind["type"] = [kind["type"], "null"]
        properties[str(field.get("name") or i)] = kind
    required = [str(f.get("name") or i) for i, f in enumerate(fields) if f.get("required", True)]
    row = {"type": "object", "properties": properties, "required": required}
    record = {
        "type": "object", "required": ["dataframe_records"],
        "properties": {"dataframe_records": {"type": "array", "items": row, "minItems": 1}},
    }  # fmt: skip
    columns = {"type": "array", "items": {"enum": list(properties)}}
    data = {"type": "array", "items": {"type": "array"}, "minItems": 1}
    frame = {"type": "object", "required": ["columns", "data"], "properties": {"columns": columns, "data": data}}
    return record, {"type": "object", "required": ["dataframe_split"], "properties": {"dataframe_split": frame}}
