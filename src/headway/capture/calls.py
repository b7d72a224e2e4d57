"""Literals in the user's calls: options by keyword, positions by the user's own signatures, optimizers, seeds."""

from __future__ import annotations

import ast
import re
from typing import Any

from headway.capture.callers import Callers
from headway.capture.parameters import Parameters, value_of, worth
from headway.capture.program import Place, Program, call_name, is_constant

__all__ = ["CallLiterals", "draws"]

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
_OPTIONS_IGNORED = frozenset(
    [
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
        "dim",
        "keepdim",
        "keepdims",
    ]
)


class CallLiterals:
    """Adds what calls are given to the parameters."""

    def __init__(self, program: Program, parameters: Parameters, callers: Callers) -> None:
        self.program, self.callers = program, callers
        self.add = parameters.add

    def look(self, file: str, call: ast.Call, place: Place) -> None:
        name = call_name(call)
        if name.startswith(("load_", "fetch_", "read_")):
            return
        if name == "seed_everything" and call.args and (value := self._literal(call.args[0], place)) is not ...:
            self.add("seed", value, "source", file, call.lineno)
        ours = isinstance(call.func, ast.Name) and name in self.program.functions
        if not ours and (
            name in _CALLS_IGNORED or name.startswith(("set_", "get_", "add_", "plt", "plot", "assert")) or _aside(call)
        ):
            return
        if name[:1].isupper() and any(isinstance(a, ast.Call) and call_name(a) == "parameters" for a in call.args):
            self.add("optimizer", name, "source", file, call.lineno)
        known = self.program.constructor(call)
        for keyword in call.keywords:
            wanted = keyword.arg is not None and keyword.arg not in _OPTIONS_IGNORED
            if known is not None and keyword.arg and self.callers.tells(known, keyword.arg):
                continue
            if keyword.arg and wanted and (value := self._literal(keyword.value, place)) is not ...:
                self.add(keyword.arg, value, "source", file, call.lineno, owner=name)
        self._positional(file, call)
        if name in ("make", "make_vec") and call.args and (value := self._literal(call.args[0], place)) is not ...:
            self.add("env", value, "source", file, call.lineno)  # `gym.make("CartPole-v1")`
        first = call.args[0] if call.args else None
        if isinstance(first, ast.BinOp) and isinstance(first.op, ast.Add):  # `manual_seed(1337 + rank)`
            first = first.left
        if "seed" in name.lower() and first is not None and (value := self._literal(first, place)) is not ...:
            self.add("seed", value, "source", file, call.lineno)

    def _positional(self, file: str, call: ast.Call) -> None:
        """Literals given by position, under the names that the user's own signature, or the class, gives them."""
        name = call_name(call)
        function = self.program.constructor(call)
        if function is not None:
            for parameter, node in zip(function.parameters(), call.args, strict=False):
                if is_constant(node) and worth(value := value_of(node)) and not self.callers.tells(function, parameter):
                    self.add(parameter, value, "source", file, call.lineno, owner=name)
            given = {k.arg for k in call.keywords} | set(function.parameters()[: len(call.args)])
            for parameter, node in function.defaults().items():
                if parameter not in given and is_constant(node) and worth(value := value_of(node)):
                    self.add(parameter, value, "default", file, function.node.lineno, owner=name)
        elif name[:1].isupper() and len(call.args) == 1 and is_constant(call.args[0]):
            value = value_of(call.args[0])
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.add(name.lower(), value, "source", file, call.lineno)
        elif name[:1].isupper() and call.args and all(is_constant(a) for a in call.args) and len(call.args) <= 6:
            self.add(name, [value_of(a) for a in call.args], "source", file, call.lineno)

    def _literal(self, node: ast.expr, place: Place) -> Any:
        if is_constant(node):
            value = value_of(node)
            return value if worth(value) else ...
        if isinstance(node, ast.Name):
            definition = self.program.definition(node.id, place)
            if definition is not None and definition.kind == "assign" and is_constant(definition.value):
                value = value_of(definition.value)
                return value if worth(value) else ...
        if isinstance(node, ast.Call) and not node.args and call_name(node)[:1].isupper():
            return call_name(node)  # family=sm.families.Binomial()
        if isinstance(node, ast.Attribute) and re.match(r"[A-Z][A-Za-z0-9]*[a-z]", node.attr):
            return node.attr  # optimizer=torch.optim.Adadelta
        return ...


def root_name(call: ast.Call) -> str:
    """The name that a call hangs on: `plt` of `plt.gca().plot(...)`."""
    node: ast.AST = call.func
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) and node is not call.func else ""


def draws(call: ast.Call) -> bool:
    """A call on a plotting object: `plt.x(...)`, `ax.x(...)`, `fig.x(...)`, `sns.x(...)`."""
    return bool(re.match(r"^(plt|axs?|axes|fig\w*|sns|pylab|pl|ax_?\w*)$", root_name(call)))


def _aside(call: ast.Call) -> bool:
    """A call that draws, logs, or is about files and text."""
    return draws(call) or bool(re.match(r"^(os|sys|logging|logger|warnings|re|json|display)$", root_name(call)))
