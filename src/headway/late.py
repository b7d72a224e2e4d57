"""Libraries that an idle server does not need: imported when somebody first asks them for something.

`libraries()` puts placeholders where `import numpy` finds them, before anything imports it; modules are written as ever. It holds
for `import x` and `x.name`, not for `from x import name`, nor for names that are used while a module is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

LIBRARIES = ("numpy", "httpcore", "nh3", "markdown_it", "yaml")
_lock = threading.Lock()


class _Late(ModuleType):
    """Stands for a module until an attribute is asked for; then it has all of the module's."""

    def __getattr__(self, name: str) -> Any:
        # Not while holding the lock: the import system has locks of its own, and knows when two threads wait for each other.
        with _lock:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        self.__dict__.update(vars(module))
        return getattr(module, name)


def libraries(names: tuple[str, ...] = LIBRARIES) -> None:
    """Import these late. What is imported already stays as it is; what is not installed is missed when it is imported."""
    for name in names:
        if name not in sys.modules and (spec := importlib.util.find_spec(name)) is not None:
            sys.modules[name] = _Late(name)
            sys.modules[name].__spec__ = spec  # who asks only whether it is there needs no more
