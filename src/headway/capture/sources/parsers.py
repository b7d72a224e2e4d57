"""Configuration by other means than argparse: click, typer, fire, absl, hydra, OmegaConf, jsonargparse, and files of settings.

Each library hands the user's code its values at one place; there they are copied. OmegaConf's objects are looked at again at
the first fit, as the code may have changed them.
"""

from __future__ import annotations

import os

from headway.capture.guard import wrap
from headway.capture.values import parameter

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["flat", "install"]

LIMIT = 300
DEPTH = 5
_WORDS = (
    "config",
    "conf",
    "cfg",
    "param",
    "setting",
    "option",
    "arg",
    "hyper",
    "hparam",
    "experiment",
    "train",
    "default",
)

_LOGGING = {"version", "handlers"}  # a configuration of `logging`


def install(session: Session) -> None:
    parsers = _Parsers(session)
    session.hooks["click.core"] = session.hooks["typer._click.core"] = parsers.hook_click
    session.hooks["fire.core"] = parsers.hook_fire
    session.hooks["absl.flags._flagvalues"] = parsers.hook_absl
    session.hooks["hydra.core.utils"] = parsers.hook_hydra
    session.hooks["omegaconf.omegaconf"] = parsers.hook_omegaconf
    session.hooks["jsonargparse._core"] = parsers.hook_jsonargparse
    for module, names in (
        ("yaml", ("load", "safe_load", "full_load")),
        ("tomllib", ("load", "loads")),
        ("json", ("load",)),
    ):
        session.hooks[module] = parsers.hook_files(names)
    session.models.before_first.append(parsers.look_again)
    session.at_end.append(parsers.look_again)


class _Parsers:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.source = session.source("config")
        self._live: list[tuple[Any, dict[str, Any]]] = []

    def tell(self, values: dict[str, Any], frame: FrameType | None = None, *, late: bool = False) -> None:
        """Settings as a fact, with the line of the user's code that asked for them."""
        shown = {k: v for k, v in values.items() if v is not None}
        if not shown:
            return
        caller = self.session.sites.caller(frame, limit=40) if frame is not None else None
        site = self.session.sites.at(caller) if caller is not None else None
        where = {} if site is None else {"s": site.id}
        self.session.fact("args", values=_hidden(shown), **where, **({"late": True} if late else {}))

    def look_again(self) -> None:
        """Objects that the code may have changed since."""
        for config, before in self._live:
            now = _of_omegaconf(config)
            changed = {k: v for k, v in now.items() if before.get(k, ...) != v}
            if changed:
                self.tell(changed, late=True)
        self._live.clear()

    def hook_click(self, module: Any) -> None:
        """`Command.invoke` calls the user's function with what was parsed."""
        command: Any = module.Command

        def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            own = args[0]
            context: Any = args[1] if len(args) > 1 else kwargs.get("ctx")
            if self._is_users(getattr(own, "callback", None)) and isinstance(getattr(context, "params", None), dict):
                self.tell({str(k): parameter(v) for k, v in list(context.params.items())[:LIMIT]}, frame)
            return None

        command.invoke = wrap(command.invoke, self.source, enter, _nothing)

    def hook_fire(self, module: Any) -> None:
        """`_MakeParseFn(function, ...)` makes the parser of one function."""
        make: Any = module._MakeParseFn

        def parsed(function: Any, parse: Any) -> Any:
            def leave(token: Any, result: Any, error: BaseException | None) -> None:
                if error is None:
                    (given, named), *_ = result
                    called = getattr(function, "__init__", None) if isinstance(function, type) else function
                    code = getattr(called, "__code__", None)
                    names = code.co_varnames[: code.co_argcount] if code is not None else ()
                    names = names[1:] if names[:1] == ("self",) else names
                    values = dict(zip(names, given, strict=False)) | dict(named)
                    self.tell({str(k): parameter(v) for k, v in list(values.items())[:LIMIT]}, token)

            return wrap(parse, self.source, lambda frame, *_: frame, leave)

        def _MakeParseFn(fn: Any, metadata: Any) -> Any:
            parse = make(fn, metadata)
            return parsed(fn, parse) if self._is_users(fn) else parse

        module._MakeParseFn = _MakeParseFn

    def hook_absl(self, module: Any) -> None:
        """The flags that the user's own modules define, once they are parsed."""
        values: Any = module.FlagValues

        def leave(token: Any, result: Any, error: BaseException | None) -> None:
            if error is None:
                frame, flags = token
                defined = flags.flags_by_module_dict()
                own = [f for name, found in defined.items() if not name.startswith("absl") for f in found]
                self.tell({f.name: parameter(f.value) for f in own[:LIMIT]}, frame)

        values.__call__ = wrap(values.__call__, self.source, lambda frame, args, kwargs: (frame, args[0]), leave)

    def hook_hydra(self, module: Any) -> None:
        """`run_job(task_function, config, ...)` runs the user's function with the composed configuration."""

        def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            config = args[1] if len(args) > 1 else kwargs.get("config")
            values = {k: v for k, v in _of_omegaconf(config).items() if not k.startswith("hydra.")}
            self.tell(values, frame)
            self._live.append((config, values))

        module.run_job = wrap(module.run_job, self.source, enter, _nothing)

    def hook_omegaconf(self, module: Any) -> None:
        """What the user's code loads, merges and makes."""
        conf: Any = module.OmegaConf

        def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return frame if self.session.sites.is_user(frame.f_code.co_filename) else None

        def leave(token: Any, result: Any, error: BaseException | None) -> None:
            values = _of_omegaconf(result) if error is None else {}
            if values:
                self.tell(values, token, late=bool(self._live))
                self._live.append((result, values))
                del self._live[:-10]

        for name in ("load", "create", "merge", "from_cli", "structured"):
            made = conf.__dict__.get(name)
            if isinstance(made, staticmethod):
                setattr(conf, name, staticmethod(wrap(made.__func__, self.source, enter, leave)))

    def hook_jsonargparse(self, module: Any) -> None:
        parser: Any = module.ArgumentParser

        def leave(token: Any, result: Any, error: BaseException | None) -> None:
            if error is None and callable(getattr(result, "as_dict", None)):
                self.tell(flat(result.as_dict()), token)

        parser.parse_args = wrap(parser.parse_args, self.source, lambda frame, *_: frame, leave)

    def hook_files(self, names: tuple[str, ...]) -> Callable[[Any], None]:
        """Readers of settings: called by user code on a file that is one of settings by its kind or its name."""

        def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not args or not self.session.sites.is_user(frame.f_code.co_filename):
                return None
            name = os.path.basename(str(getattr(args[0], "name", ""))).lower()
            known = name.endswith((".yaml", ".yml", ".toml")) or any(word in name for word in _WORDS)
            return frame if known else None

        def leave(token: Any, result: Any, error: BaseException | None) -> None:
            held = isinstance(result, dict) and type(result).__module__ in ("builtins", "collections")
            values = flat(result) if error is None and held and not result.keys() >= _LOGGING else {}
            if values and len(values) <= LIMIT:
                self.tell(values, token)

        def hook(module: Any) -> None:
            for name in names:
                original = module.__dict__.get(name)
                if original is not None:
                    setattr(module, name, wrap(original, self.source, enter, leave))

        return hook

    def _is_users(self, function: Any) -> bool:
        """Whether a function, or what a decorator put a wrapper around, was written by the user."""
        for _ in range(8):
            if isinstance(function, type):
                function = getattr(function, "__init__", None)
            code = getattr(function, "__code__", None)
            if code is not None and self.session.sites.is_user(code.co_filename):
                return True
            function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
            if function is None:
                return False
        return False


def flat(value: Any, prefix: str = "", depth: int = DEPTH) -> dict[str, Any]:
    """Nested dicts as one: `{"model.layers": 3}`. Lists are values."""
    found: dict[str, Any] = {}
    for key, item in list(value.items())[: LIMIT + 1]:
        name = f"{prefix}{key}"
        if isinstance(item, dict) and depth:
            found |= flat(item, f"{name}.", depth - 1)
        else:
            found[name] = parameter(item)
    return found


def _of_omegaconf(config: Any) -> dict[str, Any]:
    """A configuration as it stands; interpolations are left out: to resolve them could run the user's code."""
    import sys

    conf = getattr(sys.modules.get("omegaconf"), "OmegaConf", None)
    if conf is None or not conf.is_dict(config):
        return {}
    plain = flat(conf.to_container(config, resolve=False, throw_on_missing=False))
    return {k: v for k, v in plain.items() if not (isinstance(v, str) and ("${" in v or v == "???"))}


def _hidden(values: dict[str, Any]) -> dict[str, Any]:
    from headway.capture.redact import HIDDEN, secret_name

    return {
        k: HIDDEN if isinstance(v, str) and v and secret_name(k.rsplit(".", 1)[-1]) else v for k, v in values.items()
    }


def _nothing(token: Any, result: Any, error: BaseException | None) -> None:
    """Nothing is left to do."""
