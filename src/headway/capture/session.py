"""The capture of one process: what is switched on, where facts go, and what happens when it forks or ends."""

from __future__ import annotations

import atexit
import os
import sys
import time

from headway.capture.finder import Finder
from headway.capture.guard import Source, hide, strip
from headway.capture.namespace import look
from headway.capture.pace import Pace
from headway.capture.sites import Sites
from headway.capture.spool import Spool
from headway.capture.values import held

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType
    from typing import Any

    from headway.capture.finder import Hook
    from headway.capture.kept import Kept
    from headway.capture.models import Models
    from headway.capture.sites import Site
    from headway.capture.strip import Strips

__all__ = ["Session", "start"]


class Session:
    """One process's capture."""

    def __init__(self, folder: str) -> None:
        self.spool = Spool(folder)
        self.pace = Pace()
        self.sites = Sites(self.spool)
        self.sources: dict[str, Source] = {}
        self.at_end: list[Callable[[], None]] = []
        self.at_cell_end: list[Callable[[], None]] = []  # and at the program's
        self.on_audit: dict[
            str, Callable[..., None]
        ] = {}  # by the event's name; sources/opened.py has the one audit hook
        self.hooks: dict[str, Hook] = {}
        self.waiting: dict[str, list[str]] = {}  # package -> sources that are set up when it is imported
        self.strips: Strips | None = None  # in a notebook that is worked with
        self.started = time.perf_counter()
        self.owner = os.getpid()
        self.ended = False
        self.main_file = _script()
        self._seen: dict[str, Any] = {}
        self.namespace = self.source("namespace")
        self._kept: Kept | None = None
        self._models: Models | None = None

    @property
    def kept(self) -> Kept:
        """Made when something is first kept: most short programs keep nothing."""
        if self._kept is None:
            from headway.capture.kept import Kept

            self._kept = Kept(self)
        return self._kept

    @property
    def models(self) -> Models:
        """Made by the first library that may fit one."""
        if self._models is None:
            from headway.capture.models import Models

            self._models = Models(self)
        return self._models

    def source(self, name: str) -> Source:
        """The source by this name, made at its first use."""
        if name not in self.sources:
            self.sources[name] = Source(name)
        return self.sources[name]

    def fact(self, kind: str, **fact: Any) -> None:
        if self.strips is not None:
            self.strips.note(kind, fact)
        self.spool.add(kind, **fact)

    def claim(self) -> None:
        """Makes this process the run's own, if no other is: what it tells is the run's record."""
        late, self.sites.on_first = self.sites.on_first is not None, None
        first = self.spool.claim()
        if first and late:
            _started(self)  # with the role that it has now
        if first and _ships_itself():
            self.spool.on_first = lambda: _start_shipper(self.spool.folder)

    def locals_at(self, frame: FrameType, site: Site) -> None:
        """A function's names at a call in it: the first time, then at each doubling of the count."""
        if site.module_level or site.count & (site.count - 1) or self.namespace.off:
            return
        started = time.thread_time_ns()
        try:
            self.tell_locals(held(frame), site.file, site.function, site.line)
        except Exception as error:
            self.namespace.failed(error)
        finally:
            self.namespace.spend(time.thread_time_ns() - started)

    def tell_locals(self, names: dict[str, Any], file: str, function: str, line: int, **more: int) -> None:
        """What a function's names hold. Lists and dicts that may still grow are told again at the end."""
        found = look(names, self.sites)
        if found:
            self.fact("names", file=file, fn=function, line=line, values=found, **more)
        for name, told in found.items():
            if "v" not in told or len(told) > 1:
                self.kept.keep((file, function, name), names[name], told, line)
        self._own_models(names, found, file, function)

    def _own_models(self, names: Mapping[str, Any], found: dict[str, Any], file: str, function: str) -> None:
        """Objects that learn, of classes that the user wrote without a library's base class."""
        for name, told in found.items():
            if told.get("o", {}).get("kind") == "user" and not told["o"].get("holds") and name != "self":
                self.models.own(names[name], file, function)

    def main_names(self, cell: int | None = None) -> None:
        """What the names of `__main__` hold now, where it changed since the last look."""
        for step in self.at_cell_end:
            self._guarded(step, self.namespace)
        if self._kept is not None:
            self._kept.tell()
        main = sys.modules.get("__main__")
        if main is None or self.namespace.off:
            return
        found = look(vars(main), self.sites)
        self._own_models(vars(main), found, self.main_file, "<module>")
        changed = {k: v for k, v in found.items() if k not in self._seen or self._seen[k] != v}
        self._seen.update(changed)
        if changed:
            self.fact(
                "names", file=self.main_file, fn="<module>", values=changed, **({} if cell is None else {"cell": cell})
            )

    def forget_main_names(self) -> None:
        """After a cell that opted out: what its names hold is taken as seen."""
        main = sys.modules.get("__main__")
        if main is not None:
            self._seen.update(look(vars(main), self.sites))

    def _keep_script(self) -> None:
        self.sites.file(self.main_file)

    def end(self) -> None:
        """At exit: the last look, the models, what each source cost; then everything is on disk."""
        if self.ended or os.getpid() != self.spool.pid:
            return
        self.ended = True
        if self.spool.role == "main":
            self._guarded(self._keep_script, self.namespace)
            self._guarded(self.main_names, self.namespace)
            if self._models is not None:
                self._guarded(lambda: self.models.save(last=True), self.source("models"))
            for step in self.at_end:
                self._guarded(step, self.source("end"))
        costs = {s.name: round(s.spent_ns / 1e6, 2) for s in self.sources.values() if s.spent_ns}
        errors = {s.name: s.error for s in self.sources.values() if s.errors}
        off = {s.name: s.why for s in self.sources.values() if s.off}
        self.fact(
            "end",
            ms=costs,
            errors=errors,
            off=off,
            dropped=self.spool.dropped,
            wall=round(time.perf_counter() - self.started, 3),
        )
        self.spool.flush()

    def _guarded(self, step: Callable[[], None], source: Source) -> None:
        try:
            step()
        except Exception as error:
            source.failed(error)

    def after_fork_child(self) -> None:
        self.spool.after_fork_child()
        self.fact("start", **_process(self.spool))


def _script() -> str:
    """The script on the command line, as its code objects will name it; "" for a module, a command or a kernel."""
    for word in sys.orig_argv[1:]:
        if word in ("-m", "-c"):
            break
        if word.endswith(".py") and os.path.isfile(word):
            return "" if word.endswith("/headway/runner/kernelside.py") else os.path.abspath(word)
    return ""


def _is_program() -> bool:
    """Whether this process runs the user's own program: a script, a command, a module of the working folder, a kernel."""
    if _is_helper():
        return False
    words = sys.orig_argv[1:]
    for position, word in enumerate(words):
        if word == "-c":
            return True
        if word == "-m":
            module = words[position + 1] if position + 1 < len(words) else ""
            path = module.replace(".", "/")
            return module.startswith("ipykernel") or any(
                os.path.exists(f"{path}{end}") for end in (".py", "/__main__.py")
            )
        if word == "-":
            return True
        if not word.startswith("-"):
            return word.endswith((".py", "kernelside.py")) or not _is_console_script(word)
    return True  # a prompt, or a program on standard input


def _is_console_script(path: str) -> bool:
    """`torchrun`, `jupyter`, `pytest`: a script that a package has put beside the interpreter."""
    here = os.path.dirname(os.path.realpath(path))
    return here in (os.path.realpath(os.path.join(p, "bin")) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix))


def _is_helper() -> bool:
    """Whether another process of the program started this one to share its work: workers, ranks but the first."""
    words = sys.orig_argv[1:]
    worker = any("multiprocessing" in w or "joblib.externals.loky" in w for w in words)
    return worker or os.environ.get("RANK", "0") not in ("", "0") or os.environ.get("LOCAL_RANK", "0") not in ("", "0")


def _ships_itself() -> bool:
    """Whether nobody else ships this spool: kernels of a workspace, and those of a tracked program."""
    if os.environ.get("HEADWAY_RUN"):
        return False
    if os.environ.get("HEADWAY_TRACK"):
        return "-" in os.path.basename(os.environ["HEADWAY_SPOOL"])
    return bool(os.environ.get("HEADWAY_URL"))


def _process(spool: Spool) -> dict[str, Any]:
    return {"pid": spool.pid, "ppid": os.getppid(), "role": spool.role}


def _started(session: Session) -> None:
    session.fact(
        "start",
        **_process(session.spool),
        argv=list(sys.orig_argv),
        cwd=os.getcwd(),
        python=sys.version.split()[0],
        exe=sys.executable,
        prefix=sys.prefix,
        main=session.main_file,
        name=os.environ.get("JPY_SESSION_NAME"),
    )


def _watch_exit(session: Session) -> None:
    atexit.register(session.end)
    os.register_at_fork(
        before=session.spool.before_fork,
        after_in_parent=session.spool.after_fork_parent,
        after_in_child=session.after_fork_child,
    )
    leave = os._exit

    def _exit(status: int) -> None:
        try:
            session.fact("end", exit="os._exit", dropped=session.spool.dropped)
            session.spool.flush()
        except Exception:
            pass
        leave(status)

    os._exit = hide(_exit)
    for name in ("execv", "execve"):
        setattr(os, name, hide(_flushing(getattr(os, name), session)))


def _flushing(original: Callable[..., Any], session: Session) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            session.spool.flush()
        except Exception:
            pass
        return original(*args, **kwargs)

    call.__name__ = original.__name__
    return call


def _watch_exceptions(session: Session) -> None:
    """Tracebacks are printed without our wrappers; how the program failed is a fact."""
    original = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: Any) -> Any:
        try:
            strip(error)
            trace = error.__traceback__
            session.fact("error", type=kind.__name__)
        except Exception:
            pass
        return original(kind, error, trace)

    sys.excepthook = hide(excepthook)


def _start_shipper(folder: str) -> None:
    """For a session that no platform started: the shipper, as a grandchild, so that no wait() of the user's meets it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("HEADWAY_SPOOL", "PYTHONPATH", "HEADWAY_EVENTS")}
    environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    only = "" if os.environ.get("HEADWAY_URL") else "--record"
    command = f'"$0" -S -m headway.capture.shipper --spool "$1" --pid "$2" {only} </dev/null >>"$1/shipper.log" 2>&1 &'
    words = ["/bin/sh", "-c", command, sys.executable, str(folder), str(os.getpid())]
    child = os.posix_spawn("/bin/sh", words, environment, setsid=True)
    os.waitpid(child, 0)


def start(folder: str) -> Session:
    """Starts capture of this process into the spool `folder`. Raises only what the caller must swallow."""
    path = os.path.abspath(folder)
    os.makedirs(path, exist_ok=True)
    session = Session(path)
    if _is_program():
        session.claim()
    elif not _is_helper():
        session.sites.on_first = session.claim  # a launcher, unless it turns out to run the user's code itself
    from headway.capture import sources

    sources.install(session)
    _started(session)
    _watch_exit(session)
    _watch_exceptions(session)
    failed = lambda name, error: session.fact("note", text=f"{name}: {type(error).__name__}")  # noqa: E731
    Finder(session.hooks, failed, session.waiting, lambda package: sources.wake(session, package)).install()
    return session
