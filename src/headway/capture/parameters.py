"""Parameters out of facts and source: what a fit was given, what the command line said, what the code fixes in literals."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from headway.capture.program import Program

__all__ = ["Parameters", "value_of", "worth"]

# Which witness is trusted most for a value.
TRUST = ("fit", "arguments", "command line", "search", "validate", "call", "names", "source", "default")


@dataclass
class Parameter:
    """One named value, and who says so."""

    name: str
    value: Any
    witnesses: list[dict[str, Any]] = field(default_factory=list)


class Parameters:
    """Collects parameters; the same name with another value keeps both, the later under a name that says whose."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.found: dict[str, Parameter] = {}
        self._by_name: dict[str, list[Parameter]] = {}
        self.known: set[str] = set()  # names that a fitted object takes
        self._tried: dict[tuple[Any, str], dict[str, list[Any]]] = {}
        self._sites: dict[tuple[Any, str], tuple[str, int, str]] = {}

    def add(self, name: str, value: Any, source: str, file: str = "", line: int = 0, owner: str = "") -> None:
        """One sighting. `owner` (a class or function) qualifies the name where two values compete for it."""
        name = re.sub(r"[^A-Za-z0-9_.\- /]+", "_", str(name)).strip("_ ") or "value"
        if value is None or (isinstance(value, (list, dict)) and len(str(value)) > 500):
            return
        witness = {"source": source, "file": file, "line": line}
        for known in self._by_name.get(name, ()):
            if known.value == value and (
                type(known.value) is type(value) or {type(known.value), type(value)} == {int, float}
            ):
                if len(known.witnesses) < 5 and witness not in known.witnesses:
                    known.witnesses.append(witness)
                return
        for key in (name, f"{owner}.{name}" if owner else name, *(f"{name}_{n}" for n in range(2, 9))):
            if key not in self.found:
                made = self.found[key] = Parameter(key, value, [witness])
                self._by_name.setdefault(name, []).append(made)
                return

    # -- facts

    def fit(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        """One fit. Of many at one line, what varies becomes the list of the values that were tried."""
        file, line = str(site.get("file", "")), int((site.get("at") or [0])[0])
        owner = str(fact["cls"])
        tried = self._tried.setdefault((fact.get("s"), owner), {})
        self.known |= {n.rsplit("__", 1)[-1] for n in (*(fact.get("params") or {}), *(fact.get("defaults") or {}))}
        self._try(tried, fact.get("params") or {}, fact.get("defaults") or {})
        self._sites[(fact.get("s"), owner)] = (file, line, "fit")
        for name, value in ((fact.get("search") or {}).get("best_params") or {}).items():
            self.add(f"best_{name.rsplit('__', 1)[-1]}", value, "search", file, line, owner=str(fact["cls"]))
        for name, value in {**(fact.get("options") or {})}.items():
            if name not in ("verbose", "n_jobs"):
                self.add(
                    name, value, "validate" if fact["k"] == "validate" else "call", file, line, owner=str(fact["cls"])
                )

    def call(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        """One call whose settings count, such as a split; of many at one line, what varies becomes a list, too."""
        key = (fact.get("s"), str(fact["fn"]))
        self._sites[key] = (str(site.get("file", "")), int((site.get("at") or [0])[0]), "call")
        self._try(self._tried.setdefault(key, {}), fact.get("params") or {}, {})

    def _try(self, tried: dict[str, list[Any]], params: dict[str, Any], defaults: dict[str, Any]) -> None:
        for name in [*params, *(n for n in tried if n in defaults and n not in params)]:
            values = tried.setdefault(name, [])
            value = params[name] if name in params else defaults[name]
            if value not in values and len(values) < 50:
                values.append(value)

    def tried(self) -> None:
        """The parameters of all fits, once they are known."""
        for (site, owner), params in self._tried.items():
            file, line, source = self._sites[site, owner]
            for name, values in params.items():
                short = name.rsplit("__", 1)[-1]
                if len(values) <= 3:
                    for value in values:
                        self.add(short, value, source, file, line, owner=owner)
                else:
                    self.add(f"{short}_tried", values, source, file, line, owner=owner)

    def arguments(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        for name, value in (fact.get("values") or {}).items():
            if fact.get("late") and name in self.found:
                self.found[name].value = value
            else:
                self.add(name, value, "arguments", str(site.get("file", "")), int((site.get("at") or [0])[0]))

    def command_line(self, argv: list[str]) -> None:
        """`--trainer.max_iters=120`, `lr=0.1`: options in the usual forms, where no parser was seen."""
        if any("ipykernel" in w or "colab_kernel" in w for w in argv[:4]):
            return  # how a notebook's kernel was started is not the user's choice
        script = next((i for i, w in enumerate(argv) if w.endswith(".py") or w == "-m"), len(argv))
        for word in argv[script + 1 :]:
            match = re.match(r"^(?:--?)?([A-Za-z][\w.-]*)=(.+)$", word, re.DOTALL)
            if match:
                self.add(match[1], literal(match[2]), "command line")


def literal(text: str) -> Any:
    """A word of the command line as the value it spells."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (int, float, str, bool, list, tuple)) else text


def value_of(node: ast.AST | None) -> Any:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _arithmetic(node)
    return list(value) if isinstance(value, (tuple, set)) else value


def _arithmetic(node: ast.AST | None) -> Any:
    """`2 ** 8`, `60 * 24`: small arithmetic of numbers."""
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left), value_of(node.right)
        if isinstance(left, (int, float)) and isinstance(right, (int, float)) and abs(left) < 1e9 and abs(right) < 64:
            match node.op:
                case ast.Add():
                    return left + right
                case ast.Sub():
                    return left - right
                case ast.Mult():
                    return left * right
                case ast.Div():
                    return left / right if right else None
                case ast.Pow():
                    return left**right if abs(right) < 32 and abs(left) < 1e4 else None
    return None


def worth(value: Any) -> bool:
    """Numbers, switches, short words, and short lists of them; no prose, no paths with spaces, no None."""
    if isinstance(value, (bool, int, float)):
        return True
    if isinstance(value, str):
        return (
            0 < len(value) <= 80 and "\n" not in value and value.count(" ") <= 3 and not value.startswith(("http", "/"))
        )
    if isinstance(value, (list, tuple)):
        return 0 < len(value) <= 12 and all(isinstance(v, (bool, int, float, str)) for v in value)
    return False
