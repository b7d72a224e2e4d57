"""What a person posted, checked field by field: every mistake is reported at once, beside the field that has it."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from headway.errors import Unprocessable


class Form:
    """Reads posted values and collects what is wrong with them.

    `values` is what came in, for showing the form again; `errors` is field -> message. A reader returns a usable value even where
    it noted an error, so that all fields are looked at before `check()` or `ok` is asked.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.errors: dict[str, str] = {}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Form":
        """A form over the posted values, e.g. `Form.of(await request.form())` or FastAPI's `Form()` parameters."""
        return cls(values)

    @property
    def ok(self) -> bool:
        return not self.errors

    def fail(self, name: str, message: str) -> None:
        """Note an error; the first of a field stays."""
        self.errors.setdefault(name, message)

    def check(self) -> None:
        """Raise Unprocessable naming all fields at fault, if there are any."""
        if self.errors:
            name, message = next(iter(self.errors.items()))
            raise Unprocessable(f"{name}: {message}", hint="Nothing was saved.", fields=dict(self.errors), field=name)

    def text(self, name: str, *, required: bool = False, limit: int = 1000, pattern: str = "", says: str = "") -> str:
        """Stripped text, at most `limit` characters; `says` is the message where `pattern` does not match all of it."""
        value = self._raw(name).strip()
        if required and not value:
            self.fail(name, "Please fill this in.")
        elif len(value) > limit:
            self.fail(name, f"At most {limit} characters; this has {len(value)}.")
            return value[:limit]
        elif value and "\0" in value:
            self.fail(name, "A null character can't be stored.")
        elif value and pattern and not re.fullmatch(pattern, value):
            self.fail(name, says or "This does not have the expected form.")
        return value

    def block(self, name: str, *, required: bool = False, limit: int = 100_000) -> str:
        """Text of several lines, with `\\n` ends and its inner space untouched."""
        value = self._raw(name).replace("\r\n", "\n")
        if required and not value.strip():
            self.fail(name, "Please fill this in.")
        if len(value) > limit:
            self.fail(name, f"At most {limit:,} characters; this has {len(value):,}.")
        return value[:limit]

    def integer(
        self, name: str, *, default: int | None = None, least: int | None = None, most: int | None = None
    ) -> int | None:
        """A whole number; an empty field is `default`."""
        value = self._raw(name).strip().replace("_", "")
        if not value:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
            self.fail(name, f"A whole number is needed, e.g. {default if default is not None else 10}.")
            return default
        return int(self._within(name, int(value), least, most))

    def number(
        self, name: str, *, default: float | None = None, least: float | None = None, most: float | None = None
    ) -> float | None:
        """A finite number; an empty field is `default`."""
        value = self._raw(name).strip()
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(name, "A number is needed, e.g. 0.5.")
            return default
        return self._within(name, number, least, most)

    def choice(self, name: str, options: Iterable[str], *, default: str = "") -> str:
        """One of `options`; an empty field is `default`."""
        allowed = list(options)
        value = self._raw(name).strip() or default
        if value not in allowed:
            self.fail(
                name, f"One of {', '.join(allowed[:12])} is needed." if allowed else "There is nothing to choose from."
            )
            return default
        return value

    def flag(self, name: str) -> bool:
        """A checkbox or a switch."""
        return self._raw(name).strip().lower() in ("on", "true", "1", "yes")

    def _raw(self, name: str) -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else "" if value is None or hasattr(value, "filename") else str(value)

    def _within(self, name: str, number: float, least: float | None, most: float | None) -> float:
        if least is not None and number < least:
            self.fail(name, f"At least {least:g}.")
        if most is not None and number > most:
            self.fail(name, f"At most {most:g}.")
        return number
