"""Requests in, answers out: parse, check, one predict for as many as may share it, and encode. No sockets here."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headway import frames
from headway.bundle import Examples
from headway.errors import BadInput, HeadwayError, Unprocessable
from headway.modelserver import openinference, payload, tabular
from headway.modelserver.columns import Columns
from headway.modelserver.loading import Loaded
from headway.modelserver.payload import Arrays, Table
from headway.modelserver.tensors import Tensors
from headway.signature import plain

BATCH_ROWS = 256
_TOLERANCE = 1e-6


@dataclass(slots=True)
class Asked:
    """One request as its frame brought it."""

    kind: int
    content: int
    deadline: float
    body: bytes


@dataclass(slots=True)
class Ready:
    """One request that passed its checks: `data` is a list of checked rows, or an array."""

    place: int
    data: Any
    count: int
    method: str
    encode: Callable[[dict[str, Any]], bytes]


Answer = tuple[int, bytes]


class Predictor:
    """A loaded model with its compiled signature. `answer` takes whatever came together; it raises nothing."""

    def __init__(self, loaded: Loaded, examples: Examples | None = None) -> None:
        self.loaded = loaded
        self.examples = examples
        signature = loaded.manifest.signature
        self.columns = Columns(signature.columns) if signature and signature.columns else None
        self.tensors = Tensors(signature.tensors) if signature and signature.tensors else None
        self.names = self.columns.names if self.columns else None
        self._build = self._builder()
        self.batches = self._may_batch()

    # ---- how the model wants its input, settled once, on the recorded examples where there are any ----

    def _builder(self) -> Callable[[list[list[Any]]], Any]:
        if self.columns is None:
            return lambda rows: rows
        frame = tabular.frames(self.columns, self.loaded.manifest.headway)
        if self.columns.all_numbers and self.loaded.takes_arrays and self._arrays_agree(frame):
            if all(c.required for c in self.columns.columns):
                tabular.trust_numbers()
            return tabular.matrix
        return frame

    def _arrays_agree(self, frame: Callable[[list[list[Any]]], Any]) -> bool:
        assert self.columns is not None
        try:
            rows = self._example_rows() or [[0.0] * len(self.columns.names)]
            for call in self.loaded.methods.values():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    one, other = call(tabular.matrix(rows)), call(frame(rows))
                if not close(listed(one, len(rows)), listed(other, len(rows))):
                    return False
        except Exception:  # whatever the model raises: it wants frames
            return False
        return True

    def _may_batch(self) -> bool:
        """By its classes, and never against what the examples show; an unknown class only by three examples or more."""
        if not self.loaded.pure or (self.tensors is not None and len(self.tensors.tensors) != 1):
            return False
        try:
            rows = self._example_rows()
            if len(rows) < (1 if self.loaded.row_wise else 3):
                return self.loaded.row_wise
            together = self.predict(rows, "predict", len(rows))["predictions"]
            alone = [self.predict([row], "predict", 1)["predictions"][0] for row in rows]
        except Exception:  # the proof reports it; here it only means: one at a time
            return False
        return close(together, alone)

    def _example_rows(self) -> list[Any]:
        if self.examples is None:
            return []
        asked = self.parse(json.dumps(self.examples.payload()).encode(), frames.JSON)
        return list(asked.data) if self.columns or self.tensors else []

    # ---- one request ----

    def parse(self, body: bytes, content: int, place: int = 0) -> Ready:
        """A checked request. Raises BadInput or Unprocessable, whose messages hold names and kinds but no data."""
        if content == frames.CSV:
            table = payload.decode_csv(body)
            if self.columns is None and self.tensors is not None:
                raise BadInput("This model takes arrays, not CSV.", hint='Send {"inputs": [...]} as JSON.')
            return self._ready(table, place, encode_mlflow, text=True)
        value = payload.document(body)
        return self._ready(payload.decode(value, self.names), place, encode_mlflow)

    def parse_v2(self, body: bytes, place: int = 0) -> Ready:
        """The same for the Open Inference protocol."""
        asked = openinference.decode(payload.document(body), self.names)
        return self._ready(asked.data, place, asked.encode)

    def _ready(
        self, sent: Table | Arrays, place: int, encode: Callable[[dict[str, Any]], bytes], *, text: bool = False
    ) -> Ready:
        if sent.method not in self.loaded.methods:
            known = ", ".join(self.loaded.methods)
            raise Unprocessable(f"This model has no {sent.method}.", hint=f"Methods: {known}.", field="params.method")
        if self.columns is not None:
            if isinstance(sent, Arrays):
                raise Unprocessable("This model takes columns.", hint='Send {"dataframe_split": {...}}.')
            rows = self.columns.rows(sent, text=text)
            return Ready(place, rows, len(rows), sent.method, encode)
        if self.tensors is not None:
            arrays = self.tensors.arrays(sent if isinstance(sent, Arrays) else Arrays({None: sent.rows}, sent.method))
            data = next(iter(arrays.values())) if len(arrays) == 1 else arrays
            return Ready(place, data, len(next(iter(arrays.values()))), sent.method, encode)
        data, count = tabular.unchecked(sent)
        return Ready(place, data, count, sent.method, encode)

    def predict(self, data: Any, method: str, count: int) -> dict[str, Any]:
        """{"predictions": one entry a row} and, where asked, "probabilities" and "classes". Raises what the model raises."""
        built = self._build(data)
        found: dict[str, Any] = {"predictions": listed(self.loaded.methods["predict"](built), count)}
        if method == "predict_proba":
            found["probabilities"] = listed(self.loaded.methods[method](built), count)
            if self.loaded.classes is not None:
                found["classes"] = self.loaded.classes
        return found

    # ---- many requests ----

    def answer(self, asked: list[Asked]) -> list[Answer]:
        """(status, JSON body) of each, in order."""
        answers: list[Answer] = [(500, b"")] * len(asked)
        groups: dict[str, list[Ready]] = {}
        now = time.time()
        for place, one in enumerate(asked):
            try:
                if one.deadline and now > one.deadline:
                    answers[place] = refusal(504, "DEADLINE", "The deadline passed before the model was asked.")
                elif one.kind == frames.HEALTH:
                    answers[place] = 200, b'{"status": "ok"}'
                elif one.kind == frames.SCHEMA:
                    answers[place] = 200, json.dumps(self.describe()).encode()
                else:
                    v2 = one.kind == frames.V2_INFER
                    ready = self.parse_v2(one.body, place) if v2 else self.parse(one.body, one.content, place)
                    groups.setdefault(ready.method if self.batches else str(place), []).append(ready)
            except HeadwayError as error:
                answers[place] = error.status, json.dumps(error.as_dict()).encode()
            except Exception as error:
                answers[place] = refusal(
                    500, "INTERNAL", f"The replica could not read this request ({type(error).__name__})."
                )
        for group in groups.values():
            for batch in _cut(group):
                self._run(batch, answers)
        return answers

    def _run(self, batch: list[Ready], answers: list[Answer]) -> None:
        """One predict for a batch; if that fails, each member alone, so that none fails for another's sake."""
        count = sum(r.count for r in batch)
        try:
            data = batch[0].data if len(batch) == 1 else tabular.joined([r.data for r in batch])
            found = self.predict(data, batch[0].method, count)
            if len(batch) == 1:
                answers[batch[0].place] = 200, batch[0].encode(found)
                return
            start = 0
            for ready in batch:
                end = start + ready.count
                part = {k: v if k == "classes" else v[start:end] for k, v in found.items()}
                answers[ready.place] = 200, ready.encode(part)
                start = end
        except Exception as error:
            if len(batch) > 1:
                for ready in batch:
                    self._run([ready], answers)
            else:
                answers[batch[0].place] = refused_by_model(error)

    def describe(self) -> dict[str, Any]:
        """The schema of this model: what it takes and gives, with an example that works."""
        manifest = self.loaded.manifest
        signature = manifest.signature
        sides = ((), ()) if signature is None else (signature.inputs, signature.outputs)
        return {
            "inputs": [field.to_mlflow() for field in sides[0]],
            "outputs": [field.to_mlflow() for field in sides[1]],
            "methods": list(self.loaded.methods),
            "classes": self.loaded.classes,
            "flavor": manifest.library,
            "class": type(self.loaded.model).__name__,
            "batching": self.batches,
            "example": None if self.examples is None else self.examples.payload(),
            "example_predictions": None if self.examples is None else self.examples.predictions,
        }


def _cut(group: list[Ready]) -> list[list[Ready]]:
    """Batches of at most BATCH_ROWS rows; a larger request goes alone, so that small ones do not wait inside it."""
    batches: list[list[Ready]] = []
    rows = BATCH_ROWS
    for ready in group:
        if rows + ready.count > BATCH_ROWS:
            batches.append([])
            rows = 0
        batches[-1].append(ready)
        rows += ready.count
    return batches


def encode_mlflow(found: dict[str, Any]) -> bytes:
    """`{"predictions": [...]}` as MLflow's scoring server answers."""
    return json.dumps(found, allow_nan=False).encode()


def refusal(status: int, code: str, message: str, hint: str = "") -> Answer:
    """An error as every part of headway tells one."""
    error = {"code": code, "message": message}
    return status, json.dumps({"error": error | ({"hint": hint} if hint else {})}).encode()


def refused_by_model(error: Exception) -> Answer:
    """The model raised: the input's fault where such errors usually are, else ours to say without a trace."""
    told = " ".join(str(error).split())[:300]
    if isinstance(error, ValueError | TypeError | KeyError | IndexError):
        return refusal(422, "MODEL_REFUSED", f"The model refused this input: {type(error).__name__}: {told}")
    return refusal(
        500, "MODEL_FAILED", f"The model failed on this input: {type(error).__name__}.", "The replica's log has more."
    )


def listed(found: Any, count: int) -> list[Any]:
    """What a model gave, as a list with one JSON-ready entry a row. Raises ValueError for any other number of entries."""
    if hasattr(found, "toarray"):
        found = found.toarray()
    if hasattr(found, "to_dict") and hasattr(found, "columns"):
        entries: Any = plain(found.to_dict("records"))
    elif (
        isinstance(found, list)
        and len(found) != count
        and found
        and all(hasattr(f, "shape") and len(f) == count for f in found)
    ):
        entries = [list(row) for row in zip(*(plain(f) for f in found), strict=True)]  # one array an output
    elif isinstance(found, dict):
        columns = {str(k): listed(v, count) for k, v in found.items()}
        entries = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    else:
        entries = tabular.plain_array(found)
    if not isinstance(entries, list) or len(entries) != count:
        got = len(entries) if isinstance(entries, list) else "no list of"
        raise ValueError(f"the model gave {got} predictions for {count} rows")
    return entries


def close(one: Any, other: Any, tolerance: float = _TOLERANCE) -> bool:
    """Equal, numbers within a relative tolerance (absolute below 1)."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(close(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[k], other[k], tolerance) for k in one)
    if isinstance(one, float | int) and isinstance(other, float | int) and not isinstance(one, bool):
        return abs(one - other) <= tolerance * max(1.0, abs(one), abs(other))
    return bool(one == other)
