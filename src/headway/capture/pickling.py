"""Pickles of models: what they need to be read, classes of the script by value, local modules as files to bring."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from headway.capture.session import Session

__all__ = ["Pickled", "TooLarge", "pickled"]

SIZE_LIMIT = 1024 * 1024 * 1024


class TooLarge(Exception):
    """Raised while pickling more than SIZE_LIMIT bytes."""

    def __str__(self) -> str:
        return "it is larger than 1 GB"


@dataclass
class Pickled:
    """A model that can be pickled. `modules`: top modules that reading it imports; `code`: the user's own, as files."""

    model: Any
    modules: set[str]
    by_value: bool
    code: tuple[tuple[str, Path], ...]

    def dump(self, path: Path) -> None:
        with path.open("wb") as stream:
            target = self.limited(stream)
            if self.by_value:
                model = _Nested(self.model) if "skorch" in self.modules else self.model
                _cloudpickle().dump(model, target, protocol=5)
            else:
                pickle.dump(self.model, target, protocol=5)

    def library(self) -> Any:
        """What `torch.save` wants as its `pickle_module`."""
        if not self.by_value:
            return pickle
        cloudpickle = _cloudpickle()
        made: Any = ModuleType("cloudpickle")  # whose own Pickler is the plain one, by mistake
        made.Pickler, made.Unpickler = cloudpickle.CloudPickler, pickle.Unpickler
        made.dump, made.load = cloudpickle.dump, pickle.load
        return made

    @staticmethod
    def limited(stream: BinaryIO) -> Any:
        return _Limited(stream)


def pickled(
    model: Any, session: Session, *, arrays_apart: Callable[[Any], bool] | None = None, by_value: bool = False
) -> Pickled:
    """Looks at what a pickle of `model` would refer to. `arrays_apart(value)`: bulk data that needs no look.

    Raises TooLarge, and what the model's own code raises.
    """
    by_value = by_value or type(model).__module__ == "__main__"
    try:
        modules = _modules_of(model, arrays_apart)
    except TooLarge:
        raise
    except Exception:  # a lambda or a local function: only by value
        modules, by_value = {type(model).__module__, "numpy"}, True
    by_value = by_value or "__main__" in modules
    if by_value:
        modules |= _modules_of_main(list(model.values()) if type(model) is dict else [type(model)])
    code, imported = _local_code(modules, session)
    roots = {m.split(".")[0] for m in modules | imported if m not in ("__main__", "builtins")}
    if by_value:
        roots.add(str(_cloudpickle().__name__).split(".")[0])
    own = {n.split("/")[0].removesuffix(".py") for n, _ in code}
    return Pickled(model, roots - own, by_value, tuple(code))


def _modules_of_main(start: list[Any]) -> set[str]:
    """The modules that these classes and functions of the script speak of, and what of the script they use in turn."""
    main = vars(sys.modules["__main__"])
    found: set[str] = set()
    seen: set[int] = set()
    waiting = list(start)
    while waiting:
        value = waiting.pop()
        module = value.__name__ if type(value) is ModuleType else getattr(value, "__module__", None)
        if id(value) in seen or not isinstance(module, str):
            continue
        seen.add(id(value))
        found.add(module)
        if module == "__main__":
            inner = list(vars(value).values()) if isinstance(value, type) else [value]
            functions = [f for v in inner if type(f := getattr(v, "__func__", v)) is FunctionType]
            waiting += [main[n] for f in functions for n in f.__code__.co_names if n in main]
            waiting += [b for b in value.__mro__[1:] if b is not object] if isinstance(value, type) else []
    return found - {"__main__", "builtins"}


def _local_code(modules: set[str], session: Session) -> tuple[list[tuple[str, Path]], set[str]]:
    """(the user's own modules among these and those that they import, as files; the modules that their code imports)."""
    files: dict[str, Path] = {}
    imported: set[str] = set()
    waiting = sorted(modules - {"__main__"})
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if not isinstance(file, str) or not session.sites.is_user(file):
            continue
        for relative, path in _with_packages(name, Path(file)):
            if relative not in files:
                files[relative] = path
                names = _imports(path, relative)
                imported |= names
                waiting += sorted(names)
    return sorted(files.items()), {m for m in imported if m in sys.modules}


def _imports(path: Path, relative: str) -> set[str]:
    """The modules that a file imports, wherever it does."""
    import ast

    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    package = relative.split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names if f"{base}.{alias.name}" in sys.modules)
    return found - {""}


def _cloudpickle() -> Any:
    """The library that pickles classes by value, or the copy that joblib carries. Raises ModuleNotFoundError."""
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:
        from joblib.externals import cloudpickle  # type: ignore[import-untyped]
    return cloudpickle


class _Nested:
    """A model that pickles a part of itself into bytes, by reference, as skorch does: its classes go along by value.

    What it pickles as, when read, puts those classes where the bytes look for them, and gives the model itself.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __reduce__(self) -> tuple[Any, ...]:
        main = vars(sys.modules["__main__"])
        classes = {n: v for n, v in main.items() if isinstance(v, type) and v.__module__ == "__main__"}
        restore = FunctionType(_restore.__code__, {"__builtins__": __builtins__, "__name__": "__main__"}, "restore")
        restore.__module__ = "__main__"  # so that it goes by value, too
        return restore, (pickle.dumps(self._model, protocol=5), classes)


def _restore(data: bytes, classes: dict[str, type]) -> Any:
    import pickle
    import sys

    main = sys.modules["__main__"]
    for name, kind in classes.items():
        if not hasattr(main, name):
            setattr(main, name, kind)
    return pickle.loads(data)  # noqa: S301


class _Limited:
    """A file that refuses more than SIZE_LIMIT bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._left = stream, SIZE_LIMIT

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise TooLarge
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


class _Globals:
    """Takes the stream of a pickler, and keeps nothing of it but its size."""

    def __init__(self) -> None:
        self._size = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._size += size
        if self._size > SIZE_LIMIT:
            raise TooLarge
        return size


def _modules_of(model: Any, arrays_apart: Callable[[Any], bool] | None) -> set[str]:
    """The modules whose classes and functions a pickle of `model` refers to."""
    found: set[str] = set()
    seen: set[type] = set()

    def note(kind: type) -> None:
        """A class is no use without those it is made of: xgboost's estimators are scikit-learn's."""
        if kind not in seen:
            seen.add(kind)
            found.update(m for base in kind.__mro__ if isinstance(m := base.__module__, str) and m != "builtins")

    class Spy(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type):
                note(value)
            elif callable(value) and isinstance(module := getattr(value, "__module__", None), str):
                found.add(module)
            else:
                note(type(value))
            return NotImplemented

        def persistent_id(self, value: Any) -> Any:
            note(type(value))
            return "apart" if arrays_apart is not None and arrays_apart(value) else None

    Spy(_Globals(), protocol=5).dump(model)
    return found


def _with_packages(name: str, file: Path) -> list[tuple[str, Path]]:
    """A module's file, and the `__init__.py` of the packages around it, at their places."""
    parts = name.split(".")
    relative = "/".join(parts) + ("/__init__.py" if file.name == "__init__.py" else ".py")
    found = [(relative, file)]
    for depth in range(1, len(parts)):
        init = getattr(sys.modules.get(".".join(parts[:depth])), "__file__", None)
        if isinstance(init, str):
            found.append(("/".join(parts[:depth]) + "/__init__.py", Path(init)))
    return found
