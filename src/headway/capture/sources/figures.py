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
    from headway.capture.sites import Site

__all__ = ["install", "slug", "unused"]

LIMIT = 30
SIZE_LIMIT = 32 * 1024 * 1024
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
    """`show` in a script: the open figures are kept, and drawn beside the program. A notebook's are seen as displayed."""
    shown = Shown(session)

    def enter(frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        site = _site(session, frame)
        if site is None or "IPython" in sys.modules or not _headless(module):
            return None
        for manager in list(module._pylab_helpers.Gcf.figs.values()):
            if shown.source.off or len(shown.names) >= LIMIT:
                break
            started = time.thread_time_ns()
            shown.keep(manager.canvas.figure, site)
            shown.source.spend(time.thread_time_ns() - started)  # the next one waits for this one's bill
        return None

    original = getattr(module, "show", None)
    if original is not None:
        module.show = wrap(original, session.source("showing"), enter, lambda *_: None)  # type: ignore[attr-defined]
    _hook_plot(session, module)


class Shown:
    """The figures that a program showed. Open ones are shown again by each `show`: they are kept as they were at last."""

    def __init__(self, session: Session) -> None:
        self.session, self.source = session, session.source("show")
        self.names: dict[str, int] = {}  # -> the number of the figure so called

    def keep(self, figure: Any, site: Site) -> None:
        number, title = int(getattr(figure, "number", 0)), slug(_title(figure))
        bare = title.rstrip("-0123456789")
        name = next((n for n, of in self.names.items() if of == number and n.rstrip("-0123456789") == bare), "")
        first, name = not name, name or unused(title, self.names)
        self.names[name] = number
        folder = f"{self.session.spool.folder}/figures"
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/{os.getpid()}-{name}.png"
        data = _pickled(figure)
        if data is not None:
            with open(f"{path[:-4]}.figure", "wb") as stream:
                stream.write(data)
        elif first:  # what only this program knows how to draw is drawn here
            type(figure).headway_plain_savefig(figure, path, dpi=80)
        if first:
            self.session.fact("figure", s=site.id, path=path, how="show", name=name)


def _pickled(figure: Any) -> bytes | None:
    """A figure and the settings that it is drawn with; None where it can't be kept, or needs a module of the user's."""
    import pickle

    matplotlib = sys.modules["matplotlib"]
    settings = {k: v for k, v in dict.items(matplotlib.rcParams) if not k.startswith(("backend", "_"))}
    try:
        data = pickle.dumps((settings, figure), 5)
    except Exception:
        return None
    return data if len(data) <= SIZE_LIMIT and b"__main__" not in data else None


def _title(figure: Any) -> str:
    """What a reader would call a figure: its title, that of its first axes, what these show."""
    heading = getattr(figure, "_suptitle", None)
    texts = [heading.get_text()] if heading is not None else []
    axes = list(figure.axes)[:6]
    texts += [a.get_title() or a.get_title("left") for a in axes]
    texts += [f"{a.get_ylabel()} by {a.get_xlabel()}" for a in axes if a.get_xlabel() and a.get_ylabel()]
    texts += [a.get_ylabel() or a.get_xlabel() for a in axes] + [figure.get_label() or ""]
    return next((str(t) for t in texts if slug(str(t)) != "figure"), "")


def slug(title: str) -> str:
    """A title as a name that is the same in the next run: without the numbers that were measured."""
    words = "".join(c if c.isalnum() or c in ".-+" else " " for c in title.lower()).split()
    kept = [w.strip(".-+") for w in words if not ("." in w and _is_number(w.strip("+-")))]
    name = "-".join("".join(c if c.isalnum() else "-" for c in w) for w in kept if w)
    return name[:60].strip("-") or "figure"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def unused(name: str, names: Any) -> str:
    """`name`, or the first of `name-2`, `name-3`... that is not among `names`."""
    if name not in names:
        return name
    number = 2
    while f"{name}-{number}" in names:
        number += 1
    return f"{name}-{number}"


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
