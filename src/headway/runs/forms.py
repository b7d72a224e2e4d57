"""The form of a new run: fields for the parameters that a source has, and what was posted read back as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway.runs.launch import RunLimits
from headway.runs.parameters import Found, Parameter
from headway.web.forms import Form

PREFIX = "param-"
CRONS = (
    ("0 * * * *", "Every hour"),
    ("0 7 * * *", "Every day at 7:00"),
    ("0 7 * * 1-5", "Working days at 7:00"),
    ("0 7 * * 1", "Every Monday at 7:00"),
    ("0 7 1 * *", "On the first of the month at 7:00"),
    ("", "At other times: write them below"),
)


@dataclass(frozen=True)
class Field:
    """One parameter as the kit's `field` macro takes it."""

    name: str
    label: str
    kind: str
    value: Any
    help: str
    required: bool
    options: tuple[tuple[str, str], ...] = ()
    step: str = ""


def fields(found: Found, posted: Mapping[str, Any] | None = None) -> list[Field]:
    """A field for each parameter, with what was posted or its default."""
    return [_field(p, posted) for p in found.parameters if p.type != "code"]


def _field(parameter: Parameter, posted: Mapping[str, Any] | None) -> Field:
    name = PREFIX + parameter.name
    value = _text(parameter) if posted is None else posted.get(name, "")
    note = parameter.help
    if parameter.type == "bool" and not parameter.choices:
        on = bool(parameter.default) if posted is None else name in posted
        return Field(name, parameter.name, "switch", on, note, False)
    if parameter.choices:
        options = tuple((str(choice), str(choice)) for choice in parameter.choices)
        blank = () if parameter.required or parameter.default is not None else (("", "as the code has it"),)
        return Field(name, parameter.name, "select", value, note, parameter.required, blank + options)
    kind = "number" if parameter.type in ("int", "float") and not parameter.many else "text"
    step = "1" if parameter.type == "int" else "any" if kind == "number" else ""
    if parameter.many:
        note = f"{note} Several values, with spaces between.".strip()
    return Field(name, parameter.name, kind, value, note, parameter.required, step=step)


def _text(parameter: Parameter) -> str:
    if parameter.default is None:
        return ""
    if parameter.many and isinstance(parameter.default, (list, tuple)):
        return " ".join(map(str, parameter.default))
    return parameter.default if isinstance(parameter.default, str) else repr(parameter.default)


def values(found: Found, posted: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """What was posted, as values to submit: what stands at its default, or was left empty, is left to the code."""
    given: dict[str, Any] = {}
    for parameter in found.parameters:
        name = PREFIX + parameter.name
        if parameter.type == "code":
            continue
        if parameter.type == "bool" and not parameter.choices:
            if (name in posted) != bool(parameter.default):
                given[parameter.name] = name in posted
            continue
        text = str(posted.get(name, ""))
        if text != _text(parameter) and (text or (parameter.type == "str" and parameter.default)):
            given[parameter.name] = text
    for number, line in enumerate(str(posted.get("more", "")).splitlines(), 1):
        key, equals, value = line.partition("=")
        if line.strip() and not line.lstrip().startswith("#"):
            if not equals:
                form.fail("more", f"Line {number} has no '='. Write one name = value a line.")
            given[key.strip()] = value.strip()
    return given


def again(found: Found, given: Mapping[str, Any], limits: RunLimits) -> dict[str, str]:
    """An earlier run's parameters and limits, as if they had just been posted."""
    posted: dict[str, str] = {}
    for parameter in found.parameters:
        name, value = PREFIX + parameter.name, given.get(parameter.name, parameter.default)
        if parameter.type == "bool" and not parameter.choices:
            posted |= {name: "on"} if value in (True, "True", "true", "1") else {}
        elif parameter.name not in given:
            posted[name] = _text(parameter)
        else:
            posted[name] = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    known = {parameter.name for parameter in found.parameters if parameter.type != "code"}
    posted["more"] = "\n".join(f"{name} = {value}" for name, value in given.items() if name not in known)
    seconds = {"timeout_min": limits.timeout_s, "cell_timeout_min": limits.cell_timeout_s}
    posted |= {name: f"{value / 60:g}" for name, value in seconds.items() if value}
    return posted | ({"memory_mb": str(limits.memory_mb)} if limits.memory_mb else {})


def limits(form: Form) -> RunLimits:
    """The limits posted: minutes and MiB."""
    minutes = form.number("timeout_min", least=1 / 60, most=1e6)
    cell = form.number("cell_timeout_min", least=1 / 60, most=1e6)
    memory = form.integer("memory_mb", least=32, most=100_000_000)
    return RunLimits(memory, minutes and minutes * 60, None, cell and cell * 60)
