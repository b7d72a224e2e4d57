"""What users' processes wrote, taken as it comes: a value of the wrong kind counts as none. Pure."""

from __future__ import annotations

import json
from typing import Any


def mapping(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else {}."""
    return value if isinstance(value, dict) else {}


def parsed(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text holds; {} for nothing, for anything else, and for what is no JSON."""
    try:
        return mapping(json.loads(text)) if text else {}
    except (ValueError, RecursionError):
        return {}
