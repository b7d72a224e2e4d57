"""The values in a printed line, each with the expression it came from and the words around it.

Pure: from a call's AST and its recorded arguments. The text of f-strings, `%`, `.format` and `+` is taken apart by the
literals between the values.
"""

from __future__ import annotations

import ast
import re
import string
from dataclasses import dataclass
from typing import Any

from headway.capture.program import call_name

__all__ = ["Slot", "number", "slots"]

_PERCENT = re.compile(r"%(?:\((?P<key>\w+)\))?[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?[hlL]?(?P<kind>[diouxXeEfFgGcrsa%])")
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ALONE = re.compile(
    rf"\s*(?:tensor\(|np\.float\d*\(|np\.int\d*\(|\[+)?\s*({_NUMBER}|[-+]?(?:nan|inf|NaN))\s*(%?)[\])]*"
)
_CLAUSE = re.compile(r"[,;|\n\t()\[\]{}]|\s-+\s|\s{3,}|--+|==+")


@dataclass
class Slot:
    """One value in a printed line: its expression, its value (None: not a number), and the words before and after."""

    node: ast.expr
    value: Any
    before: str
    after: str
    text: str = ""  # a value that is no number, as it is shown


@dataclass
class _Part:
    text: str | None
    node: ast.expr | None = None


def slots(call: ast.Call, values: list[Any], names: dict[str, Any]) -> list[Slot]:
    """The values of one `print(...)`: `values` are the recorded arguments, `names` what the names in it held."""
    found: list[Slot] = []
    label = ""
    for node, value in zip(call.args, values, strict=False):
        if isinstance(node, ast.Starred):
            break
        parts = _flatten(node)
        if parts is None:
            plain = value if not isinstance(value, str) else number(value)
            if isinstance(value, dict):
                plain = value.get("d", value)
            found.append(
                Slot(node, plain, label, "", value.strip() if isinstance(value, str) and plain is None else "")
            )
            label = ""
        elif all(p.node is None for p in parts):
            text = "".join(p.text or "" for p in parts)
            _follow(found, text)
            label = text
        else:
            inner = _from_text(parts, value if isinstance(value, str) else "", label)
            found += inner
            label = parts[-1].text or ""
    for slot in found:
        if isinstance(slot.node, ast.Name) and _is_number(names.get(slot.node.id)):
            slot.value = names[slot.node.id]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _follow(found: list[Slot], text: str) -> None:
    if found and not found[-1].after:
        found[-1].after = text


def _from_text(parts: list[_Part], text: str, label: str) -> list[Slot]:
    pattern = "".join(r"(\s*\S.*?|)" if p.node is not None else re.escape(p.text or "") for p in parts)
    match = re.fullmatch(pattern, text, re.DOTALL) if len(parts) < 60 else None
    found: list[Slot] = []
    group, before = 0, label
    for position, part in enumerate(parts):
        if part.node is None:
            before = part.text or ""
            continue
        group += 1
        rest = parts[position + 1].text if position + 1 < len(parts) else ""
        value = number(match[group]) if match else None
        found.append(
            Slot(part.node, value, before, rest or "", match[group].strip() if match and value is None else "")
        )
        before = ""
    return found


def number(text: str) -> float | int | None:
    """A text that is one number (`0.93`, `93 %`, `tensor(0.93)`) as that number; None for anything else."""
    match = _ALONE.match(text)
    if match is None or (match.end() != len(text.rstrip()) and not text.lstrip().startswith("tensor(")):
        return None
    value = float(match[1])
    if match[2]:
        return value / 100
    return int(match[1]) if re.fullmatch(r"[-+]?\d+", match[1]) else value


def clause(text: str, *, last: bool) -> str:
    """The part of a label next to its value: `"epoch done, test loss: "` -> `test loss`."""
    plain = re.sub(r"\([^()]*\)", " ", text)  # "accuracy (overall): "
    parts = [p.strip(" :=>*#.'\"-") for p in _CLAUSE.split(plain if re.search("[A-Za-z]", plain) else text)]
    parts = [p for p in parts if re.search("[A-Za-z]", p)]
    return "" if not parts else parts[-1] if last else parts[0]


def _flatten(node: ast.expr) -> list[_Part] | None:
    """A string-building expression as literals and values; None where it builds no string."""
    match node:
        case ast.Constant(value=str(text)):
            return [_Part(text)]
        case ast.JoinedStr():
            return [_Part(str(v.value)) if isinstance(v, ast.Constant) else _Part(None, _inner(v)) for v in node.values]
        case ast.BinOp(op=ast.Add()):
            left, right = _flatten(node.left), _flatten(node.right)
            if left is None and right is None:
                return None
            return (left or [_Part(None, node.left)]) + (right or [_Part(None, node.right)])
        case ast.BinOp(op=ast.Mod()):
            return _percent(node)
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(template)), attr="format")):
            return _format(template, node)
        case ast.Call() if call_name(node) == "str" and node.args:
            return [_Part(None, node.args[0])]
    return None


def _inner(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.FormattedValue) else node


def _percent(node: ast.BinOp) -> list[_Part] | None:
    base = _flatten(node.left)
    if base is None or any(p.node is not None for p in base):
        return None
    template = "".join(p.text or "" for p in base)
    values = list(node.right.elts) if isinstance(node.right, ast.Tuple) else [node.right]
    named = {}
    if isinstance(node.right, ast.Dict):
        named = {
            k.value: v for k, v in zip(node.right.keys, node.right.values, strict=True) if isinstance(k, ast.Constant)
        }
    found: list[_Part] = []
    end = 0
    for match in _PERCENT.finditer(template):
        found.append(_Part(template[end : match.start()]))
        end = match.end()
        if match["kind"] == "%":
            found.append(_Part("%"))
        elif match["key"]:
            if match["key"] not in named:
                return None
            found.append(_Part(None, named[match["key"]]))
        elif values:
            found.append(_Part(None, values.pop(0)))
        else:
            return None
    found.append(_Part(template[end:]))
    return _joined(found)


def _format(template: str, node: ast.Call) -> list[_Part] | None:
    named = {k.arg: k.value for k in node.keywords if k.arg}
    found: list[_Part] = []
    automatic = 0
    try:
        for text, name, _, _ in string.Formatter().parse(template):
            found.append(_Part(text))
            if name is None:
                continue
            root = re.split(r"[.\[]", name)[0]
            if root == "":
                root, automatic = str(automatic), automatic + 1
            value = node.args[int(root)] if root.isdigit() and int(root) < len(node.args) else named.get(root)
            if value is None or isinstance(value, ast.Starred):
                return None
            found.append(_Part(None, value))
    except ValueError:
        return None
    return _joined(found)


def _joined(parts: list[_Part]) -> list[_Part]:
    """Neighbouring literals as one."""
    found: list[_Part] = []
    for part in parts:
        if part.node is None and found and found[-1].node is None:
            found[-1] = _Part((found[-1].text or "") + (part.text or ""))
        else:
            found.append(part)
    return found
