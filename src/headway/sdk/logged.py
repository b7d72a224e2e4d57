"""What `headway.log` takes, sorted into what a server keeps: points of series, and files. Nothing is imported for it."""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from headway.errors import BadInput
from headway.sdk import points as wire
from headway.sdk.client import Client, part
from headway.sdk.points import Columns

_HINT = "Numbers, lists of numbers, dicts of these, figures, images, tables, or a Path to a file."


@dataclass
class Sorted:
    """Points by the name of their series, and files by their path in the run."""

    series: list[tuple[str, Columns]] = field(default_factory=list)
    files: dict[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.series or self.files)


def sort(values: Mapping[str, Any], step: int, now: int | None = None) -> Sorted:
    """Each value by what it is; a list is a series that begins at `step`, names in a dict are joined by a slash.

    Raises `BadInput` for what is none of that; then nothing of it has been sent.
    """
    found = Sorted()
    moment = time.time_ns() // 1_000_000 if now is None else now
    for name, value in _flat(values):
        if file := _file_of(name, value):
            found.files[file] = value
            continue
        numbers = _numbers(name, value)
        if numbers:
            steps = range(step, step + len(numbers))
            found.series.append((name, Columns(steps, [moment] * len(numbers), numbers)))
    return found


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        full = f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{full}/")
        else:
            yield full, value


def _file_of(name: str, value: Any) -> str:
    """The path that a value gets as a file; "" for what is no file."""
    if isinstance(value, Path):
        if not value.is_file():
            raise BadInput(f"{name}: there is no file {value}.", hint="A Path names a file that is there.", field=name)
        return name if Path(name).suffix else name + "".join(value.suffixes[-2:])
    if hasattr(value, "savefig") or (hasattr(value, "save") and hasattr(value, "convert")):
        return f"figures/{name}.png"
    if hasattr(value, "write_html") and hasattr(value, "to_html"):
        return f"figures/{name}.html"
    if (hasattr(value, "to_csv") or hasattr(value, "write_csv")) and len(getattr(value, "shape", ())) == 2:
        return f"tables/{name}.csv"
    return ""


def _numbers(name: str, value: Any) -> list[float]:
    plain = value.tolist() if hasattr(value, "tolist") else value
    many = plain if isinstance(plain, Sequence) and not isinstance(plain, str | bytes) else [plain]
    try:
        return [float(one) for one in many]
    except (TypeError, ValueError):
        shown = repr(value)
        raise BadInput(f"{name}={shown[:80]}{'…' if len(shown) > 80 else ''} is no number, and nothing else that can be logged.",
                       hint=_HINT, field=name) from None  # fmt: skip


def send(client: Client, project: str, run_id: str, artifacts: str, found: Sorted) -> None:
    """Record it in a run; durable once it returns. `artifacts`: the run's artifact URI."""
    if found.series:
        headers = {"Content-Type": wire.MEDIA_TYPE, "Idempotency-Key": secrets.token_hex(16)}
        client.request(
            "POST", f"/api/v1/runs/{part(run_id)}/points", wire.pack(found.series), headers=headers, again=True
        )
    for path, value in found.files.items():
        with tempfile.TemporaryFile() as file:
            _write(value, file)
            upload(client, project, artifacts, path, file)


def upload(client: Client, project: str, artifacts: str, path: str, file: IO[bytes]) -> None:
    """Send a file into a run."""
    size = file.seek(0, 2)
    file.seek(0)
    base = artifacts.removeprefix("mlflow-artifacts:").strip("/")
    url = f"/api/2.0/mlflow-artifacts/artifacts/{base}/" + "/".join(part(name) for name in path.split("/"))
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size), "X-MLflow-Workspace": project}
    client.request("PUT", url, file, headers=headers, timeout=600)


def _write(value: Any, out: IO[bytes]) -> None:
    if isinstance(value, Path):
        with value.open("rb") as source:
            while piece := source.read(1 << 20):
                out.write(piece)
    elif hasattr(value, "savefig"):
        value.savefig(out, format="png", bbox_inches="tight")
    elif hasattr(value, "convert") and hasattr(value, "save"):
        value.save(out, format="PNG")
    elif hasattr(value, "write_html"):
        out.write(value.to_html(include_plotlyjs=True).encode())
    elif hasattr(value, "write_csv"):
        value.write_csv(out)
    else:
        plain = type(value.index).__name__ == "RangeIndex"  # an index that says nothing
        out.write(value.to_csv(index=not plain).encode())


def texts(found: Mapping[str, Any], what: str) -> list[dict[str, str]]:
    """Parameters or tags as the protocol has them; what is no text is written as JSON, where it can be."""
    pairs = []
    for key, value in found.items():
        try:
            text = (
                value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict | list) else str(value)
            )
        except (TypeError, ValueError):
            raise BadInput(f"The {what} {key} can't be written as a text.", field=key) from None
        pairs.append({"key": str(key), "value": text})
    return pairs
