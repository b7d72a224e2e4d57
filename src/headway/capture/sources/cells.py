"""Cells of a notebook: their order and text, what the last expression gave, and what the names held after each."""

from __future__ import annotations

import functools
import os
import sys
import time

from headway.capture.guard import hide, strip
from headway.capture.sites import mutes
from headway.capture.strip import Strips
from headway.capture.values import snapshot

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from headway.capture.session import Session

__all__ = ["install"]

FIGURES = 60
FIGURE_LIMIT = 8_000_000


def install(session: Session) -> None:
    session.hooks["IPython.core.interactiveshell"] = functools.partial(_hook_shell, session)


def _hook_shell(session: Session, module: ModuleType) -> None:
    shell: Any = module.InteractiveShell
    source = session.source("cells")
    watch = Watch(session)
    begin = shell.init_events

    def init_events(self: Any) -> Any:
        result = begin(self)
        try:
            self.events.register("pre_run_cell", watch.before)
            self.events.register("post_run_cell", watch.after)
            watch.shell = self
        except Exception as error:
            source.failed(error)
        return result

    functools.update_wrapper(init_events, begin)
    shell.init_events = hide(init_events)
    explain = shell._get_exc_info

    def _get_exc_info(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = explain(self, *args, **kwargs)
        try:
            strip(found[1])
        except Exception as error:
            source.failed(error)
        return found

    functools.update_wrapper(_get_exc_info, explain)
    shell._get_exc_info = hide(_get_exc_info)


class Watch:
    """What is called before and after each cell."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.shell: Any = None
        self._source = session.source("cells")
        self._muted = False
        self._figures = 0
        self._watching_display = False
        self._plain = False
        self._strips = Strips(session) if Strips.wanted() else None
        session.strips = self._strips

    def before(self, info: Any = None) -> None:
        try:
            raw = str(getattr(info, "raw_cell", "") or "")
            tags = self._tags()
            self._muted = mutes(raw.split("\n", 1)[0]) or "no-capture" in tags
            self._plain = self._muted or "no-strip" in tags or raw.lstrip().startswith("%%capture")
            if self._strips is not None:
                self._strips.begin()
            self.session.sites.cell = {"cell": self.shell.execution_count, "muted": self._muted}
            if not self._watching_display:
                self._watch_display()
        except Exception as error:
            self._source.failed(error)

    def after(self, result: Any = None) -> None:
        started = time.thread_time_ns()
        try:
            self._after(result)
        except Exception as error:
            self._source.failed(error)
        finally:
            self._source.spend(time.thread_time_ns() - started)

    def _after(self, result: Any) -> None:
        session, info = self.session, result.info
        raw = str(info.raw_cell or "")
        number = result.execution_count
        if not raw.strip() or not getattr(info, "store_history", True):
            return
        if self._muted:
            session.fact("cell", n=number, muted=True)
            session.forget_main_names()
            return
        file = self._file_name(raw, number)
        if file is not None:
            session.sites.file(file)
        shown = snapshot(result.result) if result.result is not None else ...
        session.fact(
            "cell",
            n=number,
            file=file,
            text=raw[:100_000],
            ok=bool(result.success),
            **({} if shown is ... else {"shown": shown}),
        )
        if self._strips is not None and not self._plain and getattr(self.shell, "kernel", None) is not None:
            self._show(self._strips, number)
        session.main_names(cell=number)
        session.models.save()

    def _show(self, strips: Strips, number: int) -> None:
        """The strip under the cell, as a message of its own."""
        parent = self.shell.kernel.get_parent("shell")
        metadata = parent.get("metadata") or {} if isinstance(parent, dict) else {}
        shown = strips.end(str(metadata.get("cellId") or "kernel"))
        if shown is not None:
            self.shell.display_pub.publish(shown, {"headway": {"strip": number}})

    def _file_name(self, raw: str, number: int) -> str | None:
        compiler = self.shell.compile
        code = self.shell.transform_cell(raw)
        name = compiler.get_code_name(raw, code, number)
        return str(name) if name else None

    def _tags(self) -> list[str]:
        kernel = getattr(self.shell, "kernel", None)
        if kernel is None:
            return []
        parent = kernel.get_parent("shell")
        metadata = parent.get("metadata") or {} if isinstance(parent, dict) else {}
        return [str(t) for t in metadata.get("tags") or ()]

    def _watch_display(self) -> None:
        """Images that a cell displays are kept as they were sent: nothing is drawn twice."""
        self._watching_display = True
        publisher = self.shell.display_pub
        original = publisher.publish

        def publish(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            try:
                self._displayed(args[0] if args else kwargs.get("data"))
            except Exception as error:
                self._source.failed(error)
            return result

        publisher.publish = hide(publish)

    def _displayed(self, data: Any) -> None:
        image = data.get("image/png") if isinstance(data, dict) and not self._muted else None
        if image is None or self._figures >= FIGURES or len(image) > FIGURE_LIMIT:
            return
        self._figures += 1
        folder = f"{self.session.spool.folder}/figures"
        os.makedirs(folder, exist_ok=True)
        import base64

        path = f"{folder}/{os.getpid()}-{self._figures:02d}.png"
        with open(path, "wb") as stream:
            stream.write(image if isinstance(image, bytes) else base64.b64decode(image))
        frame = self.session.sites.caller(sys._getframe(2), limit=40)
        site = self.session.sites.at(frame) if frame is not None else None
        session_cell = self.shell.execution_count
        self.session.fact(
            "figure",
            path=path,
            how="display",
            cell=session_cell,
            name=f"figure-{self._figures:02d}",
            **({} if site is None else {"s": site.id}),
        )
