"""One finder on `sys.meta_path`: sets a library's hooks right after the library's own import.

It imports nothing itself, and leaves no trace on modules that have no hook.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Hook = Callable[[ModuleType], None]

__all__ = ["Finder"]


class Finder:
    """Wraps `loader.exec_module` of the modules that have hooks."""

    def __init__(
        self, hooks: dict[str, Hook], failed: Callable[[str, BaseException], None], waiting: dict[str, Any] | None = None,
        wake: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._hooks = hooks
        self._waiting = waiting if waiting is not None else {}
        self._wake = wake
        self._failed = failed
        self._busy: set[str] = set()

    def install(self) -> None:
        sys.meta_path.insert(0, self)
        for name in [n for n in self._waiting if n in sys.modules]:
            self._rouse(name)
        for name in list(self._hooks):
            module = sys.modules.get(name)
            if module is not None:
                self._run(name, module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self._waiting:
            self._rouse(name)
        if name not in self._hooks or name in self._busy:
            return None
        self._busy.add(name)
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self._busy.discard(name)
        loader = spec.loader if spec is not None else None
        if loader is None or not hasattr(loader, "exec_module"):
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            # The instance's attribute goes first, so that the loader is as it was for whoever looks at it later.
            try:
                del loader.exec_module
            except AttributeError:
                pass
            execute(module)
            self._run(name, module)

        try:
            loader.exec_module = exec_module  # type: ignore[method-assign]
        except (AttributeError, TypeError):
            pass
        return spec

    def _rouse(self, name: str) -> None:
        """Lets the sources that wait for a package set their hooks, before it is imported."""
        if self._wake is not None:
            try:
                self._wake(name)
            except Exception as error:
                self._failed(name, error)

    def _ask_others(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            if finder is self:
                continue
            find: Any = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                return spec
        return None

    def _run(self, name: str, module: ModuleType) -> None:
        hook = self._hooks.pop(name, None)
        if hook is not None:
            try:
                hook(module)
            except Exception as error:
                self._failed(name, error)
