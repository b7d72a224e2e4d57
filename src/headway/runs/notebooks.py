"""Notebook files: read and checked without running anything, and made ready to run."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from headway.errors import TooLarge, Unprocessable
from headway.runs import parameters
from headway.runs.parameters import Found

MOST_BYTES = 100 << 20
Json = dict[str, Any]


def read(data: bytes, name: str, *, to_run: bool = True) -> Json:
    """A notebook of the format's version 4. Raises `Unprocessable` that says where the file is broken, `TooLarge`.

    `to_run`: without outputs, and Python alone; else as it was saved, for reading.
    """
    if len(data) > MOST_BYTES:
        raise TooLarge(
            f"{name} has {len(data) >> 20} MiB; a notebook may have {MOST_BYTES >> 20}.", hint="Clear its outputs."
        )
    try:
        value = json.loads(data)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unprocessable(f"{name} is not a notebook: its JSON is broken at {where} ({error.msg}).",
                            hint="Open it in a text editor, or restore an earlier version.", line=error.lineno,
                            column=error.colno) from None  # fmt: skip
    except (UnicodeDecodeError, RecursionError):
        raise Unprocessable(
            f"{name} is not a notebook: it is not JSON text.", hint="Was it saved by another program?"
        ) from None
    if isinstance(value, dict) and isinstance(value.get("nbformat"), int) and value["nbformat"] < 4:
        value = _upgraded(value, name)
    _check(value, name)
    if to_run:
        _refuse_other_languages(value, name)
    return _normal(value, outputs=not to_run)


def _upgraded(value: Json, name: str) -> Json:
    import nbformat

    try:
        converted: Json = json.loads(json.dumps(nbformat.convert(nbformat.from_dict(value), 4)))  # type: ignore[no-untyped-call]
    except Exception as error:
        raise Unprocessable(f"{name} has the old format {value['nbformat']} and can't be converted: {error}",
                            hint="Open and save it in JupyterLab.") from None  # fmt: skip
    return converted


def _check(value: Any, name: str) -> None:
    def refuse(what: str) -> None:
        raise Unprocessable(f"{name} is not a notebook: {what}.", hint="Open and save it in JupyterLab.")

    if not isinstance(value, dict) or not isinstance(value.get("cells"), list):
        refuse("it has no list of cells")
    if value.get("nbformat") != 4:
        refuse(f"its format is {str(value.get('nbformat'))[:20]}, not 4")
    for number, cell in enumerate(value["cells"], 1):
        source = cell.get("source") if isinstance(cell, dict) else None
        texts = source if isinstance(source, list) else [source]
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            refuse(f"its cell {number} is neither code, markdown nor raw")
        if not all(isinstance(text, str) for text in texts):
            refuse(f"its cell {number} has no source text")
        metadata = cell.get("metadata", {})
        if not isinstance(metadata, dict) or not all(isinstance(tag, str) for tag in metadata.get("tags") or []):
            refuse(f"its cell {number} has metadata that can't be read")


def _refuse_other_languages(value: Json, name: str) -> None:
    language = (value.get("metadata") or {}).get("kernelspec", {}).get("language") or "python"
    if str(language).lower() not in ("python", "python3"):
        raise Unprocessable(f"{name} is written in {str(language)[:40]}; runs have Python kernels only.", hint="")


def _normal(value: Json, *, outputs: bool) -> Json:
    """With sources as text, ids that are unique, and outputs only if they are asked for."""
    seen: set[str] = set()
    cells = []
    for cell in value["cells"]:
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        known = cell.get("id")
        if not isinstance(known, str) or known in seen or not known:
            known = secrets.token_hex(4)
        seen.add(known)
        made = {"cell_type": cell["cell_type"], "id": known, "metadata": cell.get("metadata") or {}, "source": source}
        if cell["cell_type"] == "code":
            kept = cell.get("outputs") if outputs and isinstance(cell.get("outputs"), list) else []
            made |= {"execution_count": cell.get("execution_count") if outputs else None, "outputs": kept}
        elif cell.get("attachments"):
            made["attachments"] = cell["attachments"]
        cells.append(made)
    return {"cells": cells, "metadata": value.get("metadata") or {}, "nbformat": 4, "nbformat_minor": 5}


def _parameters_at(notebook: Json) -> int | None:
    for at, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code" and "parameters" in (cell["metadata"].get("tags") or []):
            return at
    return None


def find(notebook: Json) -> Found:
    """Its parameters; none, and any may be given, where no cell is tagged `parameters`."""
    at = _parameters_at(notebook)
    return Found() if at is None else parameters.of_cell(notebook["cells"][at]["source"])


def with_values(notebook: Json, values: Mapping[str, Any]) -> Json:
    """The notebook with a cell that sets the values, after the parameters cell, else first."""
    if not values:
        return notebook
    at = _parameters_at(notebook)
    cell: Json = {"cell_type": "code", "id": secrets.token_hex(4), "metadata": {"tags": ["injected-parameters"]},
            "source": parameters.injected(values), "execution_count": None, "outputs": []}  # fmt: skip
    place = 0 if at is None else at + 1
    cells = [c for c in notebook["cells"] if "injected-parameters" not in (c["metadata"].get("tags") or [])]
    return notebook | {"cells": [*cells[:place], cell, *cells[place:]]}
