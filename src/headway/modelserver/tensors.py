"""A signature of tensors, compiled: nested lists to arrays of the right type and shape, or an error that says where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headway.errors import BadInput, Unprocessable
from headway.modelserver.payload import Arrays, kind_of, refuse, shown
from headway.signature import Tensor


class Tensors:
    """The compiled form of a signature's tensors. `arrays(sent)` gives numpy arrays by name, all with as many rows."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        import numpy

        self._np = numpy
        self.tensors = tuple(tensors)
        self._names = [t.name for t in tensors]

    def arrays(self, sent: Arrays) -> dict[str | None, Any]:
        """Checked arrays. Raises Unprocessable naming the tensor, the shape or the place of a bad value."""
        given = sent.by_name
        if len(self.tensors) == 1 and len(given) == 1:
            only = next(iter(given))
            if only is None or only == self.tensors[0].name or self.tensors[0].name is None:
                given = {self.tensors[0].name: given[only]}
        missing = [n for n in self._names if n not in given]
        unknown = [n for n in given if n not in self._names]
        if missing or unknown:
            expected = ", ".join(shown(n) for n in self._names if n is not None) or "one unnamed array"
            got = ", ".join(shown(n) for n in given if n is not None) or "one unnamed array"
            refuse(f"The model takes {expected}, got {got}.", 'Send {"inputs": {"name": [...]}}.')
        found = {t.name: self._array(t, given[t.name]) for t in self.tensors}
        lengths = {len(a) for a in found.values() if a.ndim}
        if len(lengths) > 1:
            refuse("The tensors have unequal numbers of rows.", "Give each the same first dimension.")
        return found

    def _array(self, tensor: Tensor, value: Any) -> Any:
        np = self._np
        wanted = np.dtype(tensor.dtype if tensor.dtype != "str" else "O")
        if not isinstance(value, list):
            raise BadInput(f"{_name(tensor)} must be nested lists, not {kind_of(value)}.")
        if not value:
            refuse("There are no rows to predict.", "Send at least one row.")
        try:
            raw = np.array(value)
        except (ValueError, OverflowError, RecursionError):
            refuse(f"{_name(tensor)}: the lists have unequal lengths, or are too deep.", _shape_hint(tensor))
        if wanted.kind not in "OUSM":
            raw = self._numeric(tensor, raw, value, wanted)
        self._check_shape(tensor, raw)
        return raw if raw.dtype == wanted else raw.astype(wanted)

    def _numeric(self, tensor: Tensor, raw: Any, value: Any, wanted: Any) -> Any:
        np = self._np
        if raw.dtype.kind in "OUS" or (raw.dtype.kind == "b" and wanted.kind != "b") or _has_bool(value):
            place, got = _first_odd(value, nulls=wanted.kind != "f", booleans=wanted.kind != "b")
            if place is not None:
                where = "".join(f"[{i}]" for i in place)
                raise Unprocessable(
                    f"{_name(tensor)}{where}: expected {tensor.dtype}, got {got}.",
                    row=place[0], place=place, expected=tensor.dtype, got=got,
                )  # fmt: skip
            try:
                raw = np.array(value, dtype="float64")
            except (TypeError, ValueError, OverflowError):
                refuse(f"{_name(tensor)}: a number in it is too large, or its lists are uneven.", _shape_hint(tensor))
        if wanted.kind in "iu" and raw.size:
            limits = np.iinfo(wanted)
            if (
                (raw.dtype.kind == "f" and (raw != np.trunc(raw)).any())
                or raw.min() < limits.min
                or raw.max() > limits.max
            ):
                place = [
                    int(i) for i in np.argwhere((raw != np.trunc(raw)) | (raw < limits.min) | (raw > limits.max))[0]
                ]
                where = "".join(f"[{i}]" for i in place)
                refuse(
                    f"{_name(tensor)}{where}: expected a whole number that fits {tensor.dtype}.",
                    row=place[0],
                    place=place,
                )
        if wanted.kind == "b" and raw.dtype.kind != "b":
            refuse(f"{_name(tensor)}: expected true or false, got numbers.", expected=tensor.dtype)
        if wanted.kind == "f" and raw.dtype.kind == "f" and np.isinf(raw).any():
            place = [int(i) for i in np.argwhere(np.isinf(raw))[0]]
            refuse(
                f"{_name(tensor)}{''.join(f'[{i}]' for i in place)}: infinity or a number that is too large.",
                row=place[0],
            )
        return raw

    def _check_shape(self, tensor: Tensor, raw: Any) -> None:
        wanted = tensor.shape
        if len(wanted) == raw.ndim and all(w in (-1, n) for w, n in zip(wanted, raw.shape, strict=True)):
            return
        got = "(" + ", ".join(str(n) for n in raw.shape) + ")"
        refuse(
            f"{_name(tensor)} has the shape {got}, the model takes {_shape(tensor)}.",
            _shape_hint(tensor),
            expected=list(wanted),
        )


def _name(tensor: Tensor) -> str:
    return "inputs" if tensor.name is None else f"inputs.{tensor.name}"


def _shape(tensor: Tensor) -> str:
    return "(" + ", ".join("any" if n < 0 else str(n) for n in tensor.shape) + ")"


def _shape_hint(tensor: Tensor) -> str:
    return f"Send nested lists of the shape {_shape(tensor)}."


def _has_bool(value: Any) -> bool:
    """True where a boolean hides among numbers, which numpy would silently turn into 0 or 1."""
    stack = [value]
    while stack:
        item = stack.pop()
        if item and isinstance(item[0], list):
            stack.extend(i for i in item if isinstance(i, list))
        elif bool in set(map(type, item)):
            return True
    return False


def _first_odd(value: Any, *, nulls: bool, booleans: bool) -> tuple[list[int] | None, str]:
    """Where the first value stands that is no number, and what it is. Walks without recursion."""
    stack: list[tuple[list[int], Any]] = [([], value)]
    while stack:
        place, item = stack.pop()
        if isinstance(item, list):
            stack.extend(([*place, i], v) for i, v in reversed(list(enumerate(item))))
        elif isinstance(item, bool):
            if booleans:
                return place, kind_of(item)
        elif item is None:
            if nulls:
                return place, "null"
        elif not isinstance(item, int | float):
            return place, kind_of(item)
    return None, ""
