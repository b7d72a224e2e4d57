"""Parameters of notebooks and scripts, found in their source without running it, and values checked against them. Pure.

A notebook's are the assignments in the cell tagged `parameters`; a script's are its argparse arguments. What can't be read
from the source (a default that is computed) is left as the code has it.
"""

from __future__ import annotations

import ast
import io
import json
import keyword
import math
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headway.errors import Unprocessable

TYPES = {"int": int, "float": float, "bool": bool, "str": str, "list": list, "dict": dict}
_LIMIT = 100_000


@dataclass(frozen=True)
class Parameter:
    """One parameter. `type` is a key of TYPES or "" for any; `flag` how a script takes it (`--lr`, empty: by position)."""

    name: str
    type: str = ""
    default: Any = None
    required: bool = False
    help: str = ""
    choices: tuple[Any, ...] = ()
    flag: str = ""
    negative: str = ""
    many: bool = False


@dataclass(frozen=True)
class Found:
    """What a source has; `complete` if no other parameter can be given."""

    parameters: tuple[Parameter, ...] = ()
    complete: bool = False
    names: frozenset[str] = field(default_factory=frozenset)

    def by_name(self, name: str) -> Parameter | None:
        """The parameter, whether asked for as `learning_rate`, `learning-rate` or `--learning-rate`."""
        wanted = name.lstrip("-").replace("-", "_")
        return next((p for p in self.parameters if p.name == wanted), None)


def of_cell(source: str) -> Found:
    """Those of a parameters cell: `name = literal` and `name: type = literal`, with the comment behind as help."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return Found()
    notes = _comments(source)
    found: dict[str, Parameter] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = _assigned(node.targets[0].id, node.value, None, notes.get(node.lineno, ""))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = _assigned(node.target.id, node.value, node.annotation, notes.get(node.lineno, ""))
    return Found(tuple(p for p in found.values() if p.type != "code"), True)


def _assigned(name: str, value: ast.expr | None, annotation: ast.expr | None, note: str) -> Parameter:
    kind = _annotated(annotation)
    choices: tuple[Any, ...] = ()
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).endswith("Literal"):
        options = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        choices = tuple(option.value for option in options if isinstance(option, ast.Constant))
        kind = type(choices[0]).__name__ if choices else ""
    if value is None:
        return Parameter(name, kind, required=True, help=note, choices=choices)
    try:
        default = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return Parameter(name, "code")
    guessed = type(default).__name__
    return Parameter(name, kind or (guessed if guessed in TYPES else ""), default, help=note, choices=choices)


def _annotated(annotation: ast.expr | None) -> str:
    text = ast.unparse(annotation).split("[")[0].rsplit(".", 1)[-1] if annotation is not None else ""
    return text if text in TYPES else ""


def _comments(source: str) -> dict[int, str]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return {}
    return {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}


def of_script(source: str) -> Found:
    """Those of a script: its `add_argument` calls."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return Found()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    found: list[Parameter] = []
    complete = any(call.func.attr == "parse_args" for call in calls if isinstance(call.func, ast.Attribute))
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in ("parse_known_args", "add_subparsers"):
            complete = False
        elif call.func.attr == "add_argument":
            parameter = _argument(call)
            complete = complete and parameter is not None
            if parameter is not None and all(parameter.name != other.name for other in found):
                found.append(parameter)
    return Found(tuple(found), complete and bool(found))


def _argument(call: ast.Call) -> Parameter | None:
    flags = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if not flags or len(flags) != len(call.args):
        return None
    options = {word.arg: word.value for word in call.keywords if word.arg}
    flag = next((f for f in flags if f.startswith("--")), next((f for f in flags if f.startswith("-")), ""))
    name = str(_literal(options.get("dest")) or (flag or flags[0]).lstrip("-")).replace("-", "_")
    action = ast.unparse(options["action"]).strip("'\"") if "action" in options else ""
    if action in ("version", "help"):
        return Parameter(name, "code", flag=flag)
    text = " ".join(str(_literal(options.get("help")) or "").split()).replace("%%", "%")
    if action in ("store_true", "store_false") or action.endswith("BooleanOptionalAction"):
        default = _literal(options.get("default"))
        negative = f"--no-{flag.lstrip('-')}" if action.endswith("BooleanOptionalAction") else ""
        if action == "store_false":
            return Parameter(name, "bool", default is not False, help=text, negative=flag)
        return Parameter(name, "bool", bool(default), help=text, flag=flag, negative=negative)
    kind = ast.unparse(options["type"]) if "type" in options else ("str" if "default" not in options else "")
    default = _literal(options.get("default"))
    many = "nargs" in options and _literal(options["nargs"]) not in ("?", None) and _literal(options["nargs"]) != 1
    choices = _literal(options.get("choices"))
    required = bool(_literal(options.get("required"))) or (
        not flag and _literal(options.get("nargs")) not in ("?", "*")
    )
    guessed = kind if kind in TYPES else type(default).__name__ if type(default).__name__ in TYPES else "str"
    return Parameter(name, guessed, default, required, text, tuple(choices) if isinstance(choices, (list, tuple)) else (), flag,
                     many=bool(many) or action == "append")  # fmt: skip


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def typed(given: Mapping[str, Any], found: Found, *, identifiers: bool) -> dict[str, Any]:
    """The values given, as their types. Texts (from a form, `-p lr=0.1`) are read as the parameter's type, or as the literal
    they look like. Raises `Unprocessable` that names each field at fault."""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for raw_name, raw in given.items():
        known = found.by_name(str(raw_name))
        name = (
            known.name
            if known
            else str(raw_name).lstrip("-").replace("-", "_")
            if identifiers
            else str(raw_name).lstrip("-")
        )
        if not name.replace("-", "_").isidentifier() or keyword.iskeyword(name) or len(name) > 100:
            wrong[str(raw_name)[:100]] = "is not a name that a parameter can have"
        elif known is None and found.complete:
            names = ", ".join(p.name for p in found.parameters) or "none"
            wrong[name] = f"is not a parameter here; there are: {names}"
        else:
            try:
                values[name] = _value(raw, known)
            except ValueError as error:
                wrong[name] = str(error)
    for parameter in found.parameters:
        if parameter.required and parameter.name not in values and parameter.name not in wrong:
            wrong[parameter.name] = "is needed and has no default"
    if wrong:
        first, why = next(iter(wrong.items()))
        raise Unprocessable(f"Parameter '{first}' {why}.", hint="Nothing was started.", field=first, fields=wrong)
    return values


def _value(raw: Any, parameter: Parameter | None) -> Any:
    kind = parameter.type if parameter else ""
    many = bool(parameter and parameter.many)
    value = _read(raw, kind, many) if isinstance(raw, str) else raw
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    if len(json.dumps(value, default=str)) > _LIMIT:
        raise ValueError(f"is longer than {_LIMIT} characters")
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind and not many and value is not None and not _fits(value, kind):
        raise ValueError(f"must be {_words(kind)}, got {str(raw)[:80]!r}")
    if parameter and parameter.choices and not many and value not in parameter.choices:
        raise ValueError(f"must be one of {', '.join(map(str, parameter.choices))}, got {str(raw)[:80]!r}")
    return value


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    return isinstance(value, TYPES[kind]) or (kind == "list" and isinstance(value, tuple))


def _read(text: str, kind: str, many: bool) -> Any:
    if many:
        return [_read(word, kind if kind != "list" else "", False) for word in text.replace(",", " ").split()]
    if kind == "str":
        return text
    if kind == "bool":
        known = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        return known.get(text.strip().lower(), text)
    if kind in ("int", "float"):
        try:
            return int(text.replace("_", "")) if kind == "int" else float(text)
        except ValueError:
            raise ValueError(f"must be {_words(kind)}, got {text[:80]!r}") from None
    if text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (int, float, str, list, dict, tuple, type(None))) else text


def _words(kind: str) -> str:
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list [...]",
            "dict": "a dictionary {...}"}[kind]  # fmt: skip


def injected(values: Mapping[str, Any]) -> str:
    """The source of the cell that sets the values: reprs, so no value can be code."""
    return "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in values.items())


def arguments(values: Mapping[str, Any], found: Found) -> list[str]:
    """A script's arguments for the values."""
    named: list[str] = []
    placed: list[str] = []
    order = {parameter.name: at for at, parameter in enumerate(found.parameters)}
    for name, value in sorted(values.items(), key=lambda item: order.get(item[0], len(order))):
        parameter = found.by_name(name) or Parameter(name, flag=f"--{name}")
        if isinstance(value, bool) and (parameter.type in ("bool", "")):
            named += [flag] if (flag := parameter.flag if value else parameter.negative) else []
        elif not parameter.flag and not parameter.negative:
            placed += _words_of(value)
        elif value is not None:
            words = _words_of(value)
            one = len(words) == 1 and words[0].startswith("-")  # a negative number must not look like an option
            named += [f"{parameter.flag}={words[0]}"] if one else [parameter.flag, *words]
    return named + placed


def _words_of(value: Any) -> list[str]:
    items: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    return [
        item if isinstance(item, str) else json.dumps(item) if isinstance(item, dict) else str(item) for item in items
    ]


def shown(parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    """For JSON: each parameter's name, type, default, help, choices, and whether it must be given."""
    return [
        {
            "name": p.name,
            "type": p.type,
            "default": p.default,
            "required": p.required,
            "help": p.help,
            "choices": list(p.choices),
        }
        for p in parameters
        if p.type != "code"
    ]
