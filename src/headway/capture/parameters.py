"""Parameters out of facts and source: what a fit was given, what the command line said, what the code fixes in literals."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from headway.capture.lexicon import is_metric_name, loop_parameter
from headway.capture.program import CELLS, MODULE, Definition, Place, Program, call_name, is_constant

__all__ = ["Parameters"]

# Which witness is trusted most for a value.
TRUST = ("fit", "arguments", "command line", "search", "validate", "call", "names", "source", "default")
_CALLS_IGNORED = frozenset(
    [
        "print",
        "open",
        "format",
        "plot",
        "scatter",
        "hist",
        "imshow",
        "title",
        "xlabel",
        "ylabel",
        "legend",
        "figure",
        "subplots",
        "subplot",
        "savefig",
        "show",
        "text",
        "annotate",
        "grid",
        "axvline",
        "axhline",
        "fill_between",
        "bar",
        "barh",
        "errorbar",
        "set",
        "tight_layout",
        "plot_surface",
        "contour",
        "contourf",
        "colorbar",
        "set_title",
        "set_xlabel",
        "set_ylabel",
        "set_xlim",
        "set_ylim",
        "axis",
        "xlim",
        "ylim",
        "xticks",
        "yticks",
        "suptitle",
        "add_subplot",
        "view_init",
        "getLogger",
        "basicConfig",
        "info",
        "debug",
        "warning",
        "error",
        "add_argument",
        "ArgumentParser",
        "read_csv",
        "DataFrame",
        "Series",
        "join",
        "split",
        "replace",
        "strip",
        "array",
        "zeros",
        "ones",
        "linspace",
        "arange",
        "logspace",
        "reshape",
        "transpose",
        "concatenate",
        "hstack",
        "vstack",
        "stack",
        "astype",
        "drop",
        "dropna",
        "fillna",
        "groupby",
        "merge",
        "apply",
        "map",
        "sort_values",
        "head",
        "tail",
        "display",
        "insert",
        "append",
        "extend",
        "isinstance",
        "range",
        "enumerate",
        "zip",
        "len",
        "getattr",
        "setattr",
        "round",
        "sum",
        "mean",
        "std",
        "var",
        "min",
        "max",
        "argmax",
        "argmin",
        "sorted",
        "list",
        "dict",
        "set_printoptions",
        "simplefilter",
        "filterwarnings",
        "set_option",
        "use",
        "cla",
        "pause",
        "clf",
        "close",
        "draw",
        "quiver",
        "table",
        "meshgrid",
        "sqrt",
        "exp",
        "log",
        "dot",
        "view",
        "unsqueeze",
        "squeeze",
        "permute",
        "to",
        "sleep",
        "seek",
        "join",
        "randint",
        "choice",
        "normal",
        "randn",
        "rand",
        "uniform",
        "item",
        "float",
        "int",
        "str",
        "set_style",
        "despine",
        "heatmap",
        "pairplot",
        "countplot",
        "distplot",
        "lineplot",
        "kdeplot",
        "regplot",
        "boxplot",
        "violinplot",
        "catplot",
        "field",
        "dataclass",
        "namedtuple",
        "Figure",
        "Axes",
        "from_estimator",
        "minorticks_on",
        "tick_params",
        "set_params",
        "get_params",
        "sum",
        "cumsum",
        "clip",
        "where",
        "isnan",
        "predict",
        "predict_proba",
        "score",
    ]
)


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
        self.known: set[str] = set()  # names that a fitted object takes
        self._tried: dict[tuple[Any, str], dict[str, list[Any]]] = {}
        self._sites: dict[tuple[Any, str], tuple[str, int]] = {}

    def add(self, name: str, value: Any, source: str, file: str = "", line: int = 0, owner: str = "") -> None:
        """One sighting. `owner` (a class or function) qualifies the name where two values compete for it."""
        name = re.sub(r"[^A-Za-z0-9_.\- /]+", "_", str(name)).strip("_ ") or "value"
        if value is None or (isinstance(value, (list, dict)) and len(str(value)) > 500):
            return
        witness = {"source": source, "file": file, "line": line}
        for key in (name, f"{owner}.{name}" if owner else name, *(f"{name}_{n}" for n in range(2, 9))):
            known = self.found.get(key)
            if known is None:
                self.found[key] = Parameter(key, value, [witness])
                return
            if known.value == value and type(known.value) in (type(value), int, float):
                if len(known.witnesses) < 5 and witness not in known.witnesses:
                    known.witnesses.append(witness)
                return

    # -- facts

    def fit(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        """One fit. Of many at one line, what varies becomes the list of the values that were tried."""
        file, line = str(site.get("file", "")), int((site.get("at") or [0])[0])
        owner = str(fact.get("inner") or fact["cls"])
        tried = self._tried.setdefault((fact.get("s"), owner), {})
        self.known |= {n.rsplit("__", 1)[-1] for n in (*(fact.get("params") or {}), *(fact.get("defaults") or {}))}
        for name, value in (fact.get("params") or {}).items():
            values = tried.setdefault(name, [])
            if value not in values and len(values) < 50:
                values.append(value)
        self._sites[(fact.get("s"), owner)] = (file, line)
        for name, value in ((fact.get("search") or {}).get("best_params") or {}).items():
            self.add(f"best_{name.rsplit('__', 1)[-1]}", value, "search", file, line, owner=str(fact["cls"]))
        for name, value in {**(fact.get("options") or {})}.items():
            if name not in ("verbose", "n_jobs"):
                self.add(
                    name, value, "validate" if fact["k"] == "validate" else "call", file, line, owner=str(fact["cls"])
                )

    def tried(self) -> None:
        """The parameters of all fits, once they are known."""
        for (site, owner), params in self._tried.items():
            file, line = self._sites[site, owner]
            for name, values in params.items():
                short = name.rsplit("__", 1)[-1]
                if len(values) <= 3:
                    for value in values:
                        self.add(short, value, "fit", file, line, owner=owner)
                else:
                    self.add(f"{short}_tried", values, "fit", file, line, owner=owner)

    def arguments(self, fact: dict[str, Any], site: dict[str, Any]) -> None:
        for name, value in (fact.get("values") or {}).items():
            if fact.get("late") and name in self.found:
                self.found[name].value = value
            else:
                self.add(name, value, "arguments", str(site.get("file", "")), int((site.get("at") or [0])[0]))

    def command_line(self, argv: list[str]) -> None:
        """`--trainer.max_iters=120`, `lr=0.1`: options in the usual forms, where no parser was seen."""
        script = next((i for i, w in enumerate(argv) if w.endswith(".py") or w == "-m"), len(argv))
        for word in argv[script + 1 :]:
            match = re.match(r"^(?:--?)?([A-Za-z][\w.-]*)=(.+)$", word, re.DOTALL)
            if match:
                self.add(match[1], literal(match[2]), "command line")

    # -- source

    def from_source(self, names: dict[tuple[str, str], dict[str, Any]], ran: set[str]) -> None:
        """Constants that names hold, loops' lengths, and literals in calls, of the code that ran.

        `names`: for each (module, function) what its names held at the end; `ran`: functions known to have run.
        """
        self._constants(names)
        for source in self.program.sources.values():
            for node in ast.walk(source.tree):
                place = self.program.place(node)
                if place.function == MODULE or self._may_have_run(place.function, ran):
                    self._dictionary(source.file, node)
                    self._update_rule(source.file, node)
                    self._setting(source.file, node)
        for source, call in self.program.calls():
            place = self.program.place(call)
            if place.function == MODULE or self._may_have_run(place.function, ran):
                self._call(source.file, call, place, names)
        for (_, _, _), definitions in self.program.definitions.items():
            for definition in definitions:
                if definition.kind == "loop" and isinstance(definition.node, (ast.For, ast.AsyncFor)):
                    if definition.place.function == MODULE or self._may_have_run(definition.place.function, ran):
                        self._loop(definition, names)

    def _dictionary(self, file: str, node: ast.AST) -> None:
        """`{"solver": "sgd", "momentum": 0.9}`: literals under keys that a fitted object takes, or in a dict called so."""
        if not isinstance(node, ast.Dict):
            return
        parent = self.program.parents.get(node)
        target = parent.targets[0] if isinstance(parent, ast.Assign) else None
        named = isinstance(target, ast.Name) and bool(
            re.search(r"param|config|cfg|setting|option|hyper|arg", target.id, re.I)
        )
        keys = [k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
        if not (set(keys) & self.known or (named and not any(w in target.id.lower() for w in ("plot", "fig")))):  # type: ignore[union-attr]
            return
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and (named or key.value in self.known):
                if is_constant(value) and _worth(found := _value(value)) and not isinstance(found, list):
                    self.add(key.value, found, "source", file, node.lineno)

    def _update_rule(self, file: str, node: ast.AST) -> None:
        """`w -= 0.01 * grad`: the number that a gradient is multiplied by is the learning rate."""
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
            return
        for number, other in ((node.left, node.right), (node.right, node.left)):
            words = " ".join(
                n.id if isinstance(n, ast.Name) else n.attr
                for n in ast.walk(other)
                if isinstance(n, (ast.Name, ast.Attribute))
            )
            if is_constant(number) and re.search(r"grad|delta|\bd[wb]\b|\bd_\w+", words):
                value = _value(number)
                if isinstance(value, (int, float)) and 0 < abs(value) < 1 and self._steps(node):
                    self.add("learning_rate", abs(value), "source", file, node.lineno)

    def _steps(self, node: ast.AST) -> bool:
        """Whether an expression changes something in place in a loop: `w = w - ...`, `w -= ...`, `w.add_(...)`."""
        statement = self.program.statement(node)
        if isinstance(statement, ast.AugAssign):
            return isinstance(statement.op, (ast.Sub, ast.Add))
        if isinstance(statement, ast.Assign):
            names = {ast.unparse(t) for t in statement.targets}
            return any(
                ast.unparse(n) in names
                for n in ast.walk(statement.value)
                if isinstance(n, (ast.Name, ast.Attribute, ast.Subscript))
            )
        return (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Call)
            and call_name(statement.value).endswith("_")
        )

    def _setting(self, file: str, node: ast.AST) -> None:
        """`config.learning_rate = 5e-4`: a literal set on an object that is called a configuration."""
        if (
            isinstance(node, ast.Assign)
            and len(node.targets) == 1
            and isinstance(target := node.targets[0], ast.Attribute)
        ):
            owner = ast.unparse(target.value)
            if re.search(
                r"^(C|cfg|conf|hp|hps|opts?|args|FLAGS)(\.|$)|config|cfg|param|setting|option|hyper", owner
            ) and is_constant(node.value):
                value = _value(node.value)
                if _worth(value) and not isinstance(value, list):
                    self.add(target.attr, value, "source", file, node.lineno, owner=owner)

    def _may_have_run(self, function: str, ran: set[str]) -> bool:
        """Functions whose run nothing proves are taken as run when something calls them by name."""
        if function in ran:
            return True
        last = function.rsplit(".", 1)[-1]
        if last.startswith("__") or "." in function:
            owner = function.split(".")[0]
            return owner in self._called() or last in self._called()
        return last in self._called()

    def _called(self) -> set[str]:
        known: set[str] | None = self.__dict__.get("_called_names")
        if known is None:
            known = {call_name(c) for _, c in self.program.calls()}
            known |= {
                n.id
                for s in self.program.sources.values()
                for c in s.calls.values()
                for a in c.args
                for n in [a]
                if isinstance(n, ast.Name)
            }
            self.__dict__["_called_names"] = known
        return known

    def _constants(self, names: dict[tuple[str, str], dict[str, Any]]) -> None:
        reads = self._reads()
        for (module, function, name), definitions in self.program.definitions.items():
            bound = [d for d in definitions if d.kind == "assign"]
            if not bound or len(bound) > 6 or name.startswith("_") or not all(self._fixed(d) for d in bound):
                continue
            if any(d.kind in ("loop", "append", "augmented") for d in definitions) or name not in reads:
                continue
            if is_metric_name(name) and not re.search(
                r"fn|func|criterion|metric|type|name|weight|alpha|scale", name, re.I
            ):
                continue
            if not self._relevant(module, function, bound):
                continue
            told = names.get((module, function), {}).get(name, {})
            value = told.get("v", _value(bound[-1].value))
            if _worth(value):
                self.add(
                    name,
                    value,
                    "names" if told else "source",
                    self._file(bound[-1]),
                    bound[-1].place.order[1],
                    owner=function,
                )

    def _relevant(self, module: str, function: str, bound: list[Definition]) -> bool:
        if function == MODULE:
            # The settings of a module that the program imports are its own; those of the script, the cells and config files count.
            return True
        return (
            self._may_have_run(function, set()) and not isinstance(bound[0].value, ast.Constant | ast.List)
        ) or isinstance(getattr(bound[0].value, "value", None), (int, float, str))

    def _fixed(self, definition: Definition) -> bool:
        """A literal, or arithmetic of literals and other constants."""
        node = definition.value
        if is_constant(node):
            return True
        if isinstance(node, ast.BinOp):
            return all(self._fixed_part(p, definition.place) for p in (node.left, node.right))
        return False

    def _fixed_part(self, node: ast.expr, place: Place) -> bool:
        if isinstance(node, ast.Name):
            inner = self.program.definition(node.id, place)
            return inner is not None and inner.kind == "assign" and is_constant(inner.value)
        return is_constant(node)

    def _reads(self) -> set[str]:
        return {
            n.id
            for source in self.program.sources.values()
            for n in ast.walk(source.tree)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }

    def _file(self, definition: Definition) -> str:
        module = definition.place.module
        if module != CELLS:
            return module
        return next((s.file for s in self.program.sources.values() if s.index == definition.place.order[0]), module)

    def _call(self, file: str, call: ast.Call, place: Place, names: dict[tuple[str, str], dict[str, Any]]) -> None:
        name = call_name(call)
        ours = isinstance(call.func, ast.Name) and name in self.program.functions
        if not ours and (
            name in _CALLS_IGNORED or name.startswith(("set_", "get_", "add_", "plt", "plot", "assert")) or _draws(call)
        ):
            return
        if name[:1].isupper() and any(isinstance(a, ast.Call) and call_name(a) == "parameters" for a in call.args):
            self.add("optimizer", name, "source", file, call.lineno)
        for keyword in call.keywords:
            if keyword.arg and (value := self._literal(keyword.value, place, names)) is not ...:
                if keyword.arg not in (
                    "verbose",
                    "label",
                    "color",
                    "c",
                    "figsize",
                    "size",
                    "file",
                    "end",
                    "sep",
                    "dtype",
                    "axis",
                    "inplace",
                    "title",
                ):
                    self.add(keyword.arg, value, "source", file, call.lineno, owner=name)
        self._positional(file, call, place, names)
        if "seed" in name.lower() and call.args and (value := self._literal(call.args[0], place, names)) is not ...:
            self.add("seed", value, "source", file, call.lineno)

    def _positional(
        self, file: str, call: ast.Call, place: Place, names: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        """Literals given by position, under the names that the user's own signature, or the class, gives them."""
        name = call_name(call)
        function = self.program.constructor(call)
        if function is not None:
            for parameter, node in zip(function.parameters(), call.args, strict=False):
                if is_constant(node) and _worth(value := _value(node)):
                    self.add(parameter, value, "source", file, call.lineno, owner=name)
            given = {k.arg for k in call.keywords} | set(function.parameters()[: len(call.args)])
            for parameter, node in function.defaults().items():
                if parameter not in given and is_constant(node) and _worth(value := _value(node)):
                    self.add(parameter, value, "default", file, function.node.lineno, owner=name)
        elif name[:1].isupper() and len(call.args) == 1 and is_constant(call.args[0]):
            value = _value(call.args[0])
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.add(name.lower(), value, "source", file, call.lineno)
        elif name[:1].isupper() and call.args and all(is_constant(a) for a in call.args) and len(call.args) <= 6:
            self.add(name, [_value(a) for a in call.args], "source", file, call.lineno)

    def _literal(self, node: ast.expr, place: Place, names: dict[tuple[str, str], dict[str, Any]]) -> Any:
        if is_constant(node):
            value = _value(node)
            return value if _worth(value) else ...
        if isinstance(node, ast.Name):
            definition = self.program.definition(node.id, place)
            if definition is not None and definition.kind == "assign" and is_constant(definition.value):
                value = _value(definition.value)
                return value if _worth(value) else ...
        if isinstance(node, ast.Call) and not node.args and call_name(node)[:1].isupper():
            return call_name(node)  # family=sm.families.Binomial()
        return ...

    def _loop(self, definition: Definition, names: dict[tuple[str, str], dict[str, Any]]) -> None:
        node = definition.value
        if isinstance(node, ast.Call) and call_name(node) in ("tqdm", "track", "enumerate", "trange") and node.args:
            inner = node.args[0]
            node = inner if isinstance(inner, ast.Call) else node
        if not (
            isinstance(node, ast.Call) and call_name(node) in ("range", "trange", "xrange", "arange") and node.args
        ):
            return
        loop = definition.node
        if not isinstance(loop, (ast.For, ast.AsyncFor)) or not _learns(loop):
            return
        end = node.args[1] if len(node.args) > 1 else node.args[0]
        value = _value(end) if is_constant(end) else ...
        if isinstance(end, ast.BinOp) and isinstance(end.right, ast.Constant) and isinstance(end.op, ast.Add):
            value = _value(end.left) if is_constant(end.left) else ...
        if isinstance(value, int) and len(node.args) > 1 and is_constant(node.args[0]):
            start = _value(node.args[0])
            value = value - start if isinstance(start, int) else value
        if isinstance(value, int) and value > 1:
            name = loop_parameter(definition.name)
            self.add(
                name,
                value,
                "source",
                self._file(definition),
                definition.place.order[1],
                owner=definition.place.function,
            )


def _learns(loop: ast.For | ast.AsyncFor) -> bool:
    """Whether a loop's body does more than draw or print: it updates, fits, or collects something."""
    for node in ast.walk(loop):
        if isinstance(node, (ast.AugAssign, ast.Assign)):
            return True
        if isinstance(node, (ast.Name, ast.Attribute)) and is_metric_name(
            node.id if isinstance(node, ast.Name) else node.attr
        ):
            return True
        if isinstance(node, ast.Call) and call_name(node) in (
            "fit",
            "step",
            "train",
            "backward",
            "partial_fit",
            "append",
            "update",
        ):
            return True
    return False


def _draws(call: ast.Call) -> bool:
    """A call on a plotting object: `plt.x(...)`, `ax.x(...)`, `fig.x(...)`, `sns.x(...)`."""
    node: ast.AST = call.func
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and bool(
        re.match(
            r"^(plt|axs?|axes|fig\w*|sns|pylab|pl|os|sys|logging|logger|warnings|re|json|ax_?\w*|display)$", node.id
        )
    )


def _value(node: ast.AST | None) -> Any:
    try:
        value = ast.literal_eval(node) if node is not None else None  # type: ignore[arg-type]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _arithmetic(node)
    return list(value) if isinstance(value, (tuple, set)) else value


def _arithmetic(node: ast.AST | None) -> Any:
    """`2 ** 8`, `60 * 24`: small arithmetic of numbers."""
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
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


def _worth(value: Any) -> bool:
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


def literal(text: str) -> Any:
    """A word of the command line as the value it spells."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (int, float, str, bool, list, tuple)) else text
