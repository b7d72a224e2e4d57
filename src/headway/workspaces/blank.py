"""A new notebook. Pure."""

from __future__ import annotations

import json
import secrets

from headway.errors import Unprocessable


def path_of(name: str) -> str:
    """`Churn study` -> `Churn study.ipynb`. Raises `Unprocessable` for no name; the path itself is checked by `paths`."""
    name = name.strip()
    if not name:
        raise Unprocessable("A notebook needs a name.", hint="e.g. churn", field="name")
    return name if name.endswith(".ipynb") else f"{name}.ipynb"


def notebook() -> bytes:
    """One empty cell, for the project's current environment."""
    cell: dict[str, object] = {
        "cell_type": "code",
        "id": secrets.token_hex(4),
        "metadata": {},
        "source": [],
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    value = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(value, indent=1) + "\n").encode()
