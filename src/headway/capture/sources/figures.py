"""Figures: what `savefig` wrote, what `show` would have shown, and what a notebook displayed."""

from __future__ import annotations

import functools
import os
import sys
import time

from headway.capture.guard import wrap
from headway.capture.values import number_list

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import FrameType, ModuleType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

LIMIT = 30
_SUFFIXES = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")


def install(session: Session) -> None:
    session.hooks["matplotlib.figure"] = functools.partial(_hook_figure, session)
    session.hooks["matplotlib.pyplot"] = functools.partial(_hook_pyplot, session)


def _site(session: Session, frame: FrameType) -> Any:
    caller = session.sites.caller(frame, limit=12)
    return session.sites.at(caller) if caller is not None else None


def _hook_figure(session: Session, module: Any) -> None:
    figure = module.Figure
    source = session.source("figures")

    def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        site = _site(session, frame)
        name = args[1] if len(args) > 1 else kwargs.get("fname")
        if site is None or not isinstance(name, (str, os.PathLike)):
            return None
        return site, os.path.abspath(os.fspath(name))

    def leave(token: Any, result: Any, error: BaseException | None) -> None:
        site, path = token
        if error is None:
            path = path if path.lower().endswith(_SUFFIXES) else f"{path}.png"
            session.fact("figure", s=site.id, path=path, how="savefig")

    figure.headway_plain_savefig = figure.savefig
    figure.savefig = wrap(figure.savefig, source, enter, leave)


def _hook_pyplot(session: Session, module: ModuleType) -> None:
    """`show` in a script: the open figures, as they are, are drawn into the spool. A notebook's are seen as displayed."""
    source = session.source("show")
    drawn = [0]

    def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        site = _site(session, frame)
        if site is None or "IPython" in sys.modules or drawn[0] >= LIMIT:
            return None
        figures = [module.figure(n) for n in module.get_fignums()] if _headless(module) else []
        for figure in figures:
            if source.off:
                break
            started = time.thread_time_ns()
            drawn[0] += 1
            folder = f"{session.spool.folder}/figures"
            os.makedirs(folder, exist_ok=True)
            path = f"{folder}/{os.getpid()}-{drawn[0]:02d}.png"
            type(figure).headway_plain_savefig(figure, path, dpi=80)
            session.fact("figure", s=site.id, path=str(path), how="show")
            source.spend(time.thread_time_ns() - started)  # drawing is dear: the next one waits for this one's bill
        return None

    original = getattr(module, "show", None)
    if original is not None:
        module.show = wrap(original, source, enter, lambda *_: None)  # type: ignore[attr-defined]
    _hook_plot(session, module)


def _headless(module: Any) -> bool:
    return str(module.matplotlib.get_backend()).lower() in ("agg", "pdf", "svg", "ps", "cairo", "template")


def _hook_plot(session: Session, module: Any) -> None:
    """`plt.plot(losses)`: the numbers drawn are a series where their name says so; the reducer decides."""
    source = session.source("plot")

    def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not session.sites.is_user(frame.f_code.co_filename):
            return None
        site = session.sites.at(frame)
        if site is None or site.count > 50:
            return None
        drawn = [number_list(a) for a in args[:4]]
        label = kwargs.get("label")
        if any(drawn):
            session.fact("plot", s=site.id, v=drawn, label=label if isinstance(label, str) else None)
        return None

    for name in ("plot", "semilogy", "semilogx", "loglog"):
        original = getattr(module, name, None)
        if original is not None:
            setattr(module, name, wrap(original, source, enter, lambda *_: None))
