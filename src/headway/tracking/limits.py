"""What names and values may look like, and how much fits in one request. Pure; raises `BadInput` in the protocol's words."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any

from headway.errors import BadInput

METRICS, PARAMS, ENTITIES = 1000, 100, 1000
KEY, PARAM_VALUE, TAG_VALUE, EXPERIMENT_NAME, EXPERIMENT_TAG_VALUE = 250, 6000, 8000, 500, 20_000
RUN_NAME, USER = 500, 256
DATASET_NAME, DATASET_DIGEST, DATASET_SCHEMA, DATASET_SOURCE = 500, 36, 1_048_575, 65_535
DATASET_PROFILE, INPUT_TAG_KEY, INPUT_TAG_VALUE = 16_777_215, 255, 500
SYSTEM = "system/"  # how MLflow names what it measures of the machine
_NAME = re.compile(r"[/\w.\- :]*")
_INT64 = range(-(2**63), 2**63)

HELP = " See the API docs for more information about request parameters."
_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:)"
    " and slashes (/)."
)


def of_machine(metric: str) -> bool:
    """Whether a metric is about the machine and not about the code: it stays out of the way of the others."""
    return metric.startswith(SYSTEM)


def invalid(path: str, value: Any, message: str = "") -> BadInput:
    """`Invalid value ... for parameter '...' supplied`."""
    shown = json.dumps(value, sort_keys=True, default=str)[:200]
    return BadInput(
        f"Invalid value {shown} for parameter '{path}' supplied{': ' + message if message else '.'}", field=path
    )


def wrong_type(path: str, value: Any) -> BadInput:
    """`Invalid value ...`, as it is not of the type it should be."""
    return invalid(path, value, f"Hint: Value was of type '{type(value).__name__}'." + HELP)


def missing(path: str) -> BadInput:
    """`Missing value for required parameter '...'`."""
    return BadInput(f"Missing value for required parameter '{path}'." + HELP, field=path)


def key(name: Any, path: str = "key", limit: int = KEY, what: str = "") -> str:
    """A sound name of a parameter, metric or tag."""
    if name is None or name == "":
        raise missing(path) if name is None else invalid(path, name, "A key name must be provided.")
    if not isinstance(name, str):
        raise wrong_type(path.removesuffix("name") + "key" if path.endswith("name") else path, name)
    if not _NAME.fullmatch(name):
        raise invalid(path, name, _CHARACTERS)
    plain = posixpath.normpath(name)
    if plain != name or plain == "." or plain.startswith(("..", "/")):
        raise invalid(
            path,
            name,
            "Names may be treated as files in certain cases, and must not resolve to other names when treated as such."
            f" This name would resolve to '{plain}'",
        )
    if len(name) > limit:
        raise BadInput(f"'{what or path}' exceeds the maximum length of {limit} characters", field=path)
    return name


def text(value: Any, path: str, limit: int, what: str = "") -> str:
    """A value as text, of limited length; what lacks is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong_type(path, value)
    if len(value) > limit:
        raise BadInput(f"'{what or path}' exceeds the maximum length of {limit} characters", field=path)
    if "\0" in value:
        raise invalid(path, value, "It holds a NUL character, which can't be stored.")
    return value


def integer(value: Any, path: str, default: int | None = None) -> int:
    """A 64-bit integer, which the protocol also sends as a string."""
    if value is None or value == "":
        if default is None:
            raise missing(path)
        return default
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong_type(path, value)
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise wrong_type(path, value) from None
    if number not in _INT64 or (isinstance(value, float) and number != value):
        raise invalid(path, value, "It must be a 64-bit integer.")
    return number


def number(value: Any, path: str) -> float:
    """A double; NaN and the infinities come as strings."""
    if value is None or value == "":
        raise missing(path)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise invalid(path, value, "Please specify value as a valid double (64-bit floating point)")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise invalid(path, value, "Please specify value as a valid double (64-bit floating point)") from None


def batch(metrics: int, params: int, tags: int) -> None:
    """Raises `BadInput` if there is too much for one request."""
    for what, limit, count in (
        ("metrics", METRICS, metrics),
        ("params", PARAMS, params),
        ("tags", PARAMS, tags),
        ("metrics, params, and tags", ENTITIES, metrics + params + tags),
    ):
        if count > limit:
            raise BadInput(
                f"A batch logging request can contain at most {limit} {what}. Got {count} {what}. Please split up {what}"
                " across multiple requests and try again."
            )
