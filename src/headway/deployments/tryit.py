"""The try-it form: fields made from a signature, prefilled with the recorded example; what was posted as a request body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headway.errors import Unprocessable

_NUMBERS = {"integer", "long", "float", "double"}
_WHOLE = {"integer", "long"}


@dataclass(frozen=True)
class Field:
    """One input: `kind` is the kit's (number, text, select, datetime-local, textarea), `value` what stands in it."""

    name: str
    label: str
    kind: str
    value: str
    required: bool
    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    options: tuple[tuple[str, str], ...] = ()


def fields(summary: Mapping[str, Any]) -> list[Field]:
    """A field a column; empty for a model that takes arrays or has no signature, which gets a box for JSON instead."""
    inputs = summary.get("inputs") or []
    if not inputs or any("tensor-spec" in entry for entry in inputs):
        return []
    example = _first_row(summary.get("example"))
    return [_field(i, entry, example.get(str(entry.get("name") or i))) for i, entry in enumerate(inputs)]


def _first_row(example: Any) -> dict[str, Any]:
    split = example.get("dataframe_split") if isinstance(example, dict) else None
    if not isinstance(split, dict) or not split.get("data"):
        return {}
    return dict(zip(map(str, split.get("columns") or []), split["data"][0], strict=False))


def _field(i: int, entry: Mapping[str, Any], value: Any) -> Field:
    name, kind = str(entry.get("name") or i), str(entry["type"])
    required = bool(entry.get("required", True))
    shown = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    posted = f"c{i}"
    if kind in _NUMBERS:
        attrs = {"step": "1" if kind in _WHOLE else "any", "inputmode": "numeric" if kind in _WHOLE else "decimal"}
        return Field(posted, name, "number", shown, required, kind, attrs)
    if kind == "boolean":
        options = (
            (("true", "true"), ("false", "false")) if required else (("", "–"), ("true", "true"), ("false", "false"))
        )
        return Field(posted, name, "select", shown, required, kind, options=options)
    if kind == "datetime":
        return Field(posted, name, "datetime-local", shown[:19], required, kind, {"step": "1"})
    if kind == "string":
        return Field(posted, name, "text", shown, False, kind)  # an empty text is a text
    return Field(posted, name, "textarea", json.dumps(value) if value is not None else "", required, kind)


def payload(summary: Mapping[str, Any], posted: Mapping[str, Any], *, probabilities: bool = False) -> dict[str, Any]:
    """The request body for what was posted. Raises Unprocessable for a box that does not hold a JSON object."""
    shown = fields(summary)
    if shown:
        row = [_value(one, str(posted.get(one.name, ""))) for one in shown]
        body: dict[str, Any] = {"dataframe_split": {"columns": [one.label for one in shown], "data": [row]}}
    else:
        try:
            body = json.loads(str(posted.get("body", "")))
        except (ValueError, RecursionError) as error:
            raise Unprocessable(f"This is not JSON: {error}.", field="body") from None
        if not isinstance(body, dict):
            raise Unprocessable('A JSON object is needed, such as {"inputs": [[1, 2, 3]]}.', field="body")
    return body | ({"params": {"method": "predict_proba"}} if probabilities else {})


def _value(one: Field, text: str) -> Any:
    """What a field's text stands for; what can't be converted is sent as it is, and the model's own check names the column."""
    if text == "" and (one.type != "string" or not one.required):
        return None if one.type != "string" else ""
    if one.type in _NUMBERS:
        try:
            return int(text) if one.type in _WHOLE else float(text)
        except ValueError:
            return text
    if one.type == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if one.type in ("string", "datetime", "binary"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
