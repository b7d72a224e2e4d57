"""What keeps capture out of the user's way: original first, ours behind a guard, and a budget for each source."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType
    from typing import Any

    Enter = Callable[[FrameType, tuple[Any, ...], dict[str, Any]], Any]
    Leave = Callable[[Any, Any, BaseException | None], None]

__all__ = ["Method", "Source", "hide", "like", "replace", "strip", "wrap"]

GRACE_NS = 250_000_000
SHARE = 0.01

# The file name of our wrappers. `warnings` skips frames whose file names both words when it counts `stacklevel`, so a
# warning raised below a wrapper is still attributed to the user's line; `strip` removes them from printed tracebacks.
HIDDEN_FILE = "<headway: importlib _bootstrap>"

_Function = type(lambda: None)
_SAME = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__type_params__")

STARTED_NS = time.perf_counter_ns()


class Source:
    """One source of facts: its cost so far, and whether it is switched off."""

    __slots__ = ("error", "errors", "name", "off", "spent_ns", "why")

    def __init__(self, name: str) -> None:
        self.name = name
        self.spent_ns = 0
        self.errors = 0
        self.error = ""
        self.off = False
        self.why = ""

    def spend(self, nanoseconds: int) -> None:
        """Counts processor time of the user's thread; over 1 % of the wall time, after a grace, the source ends.

        Processor time, as a busy machine would let any short step look long.
        """
        self.spent_ns += nanoseconds
        if self.spent_ns > GRACE_NS and not self.off:
            wall = time.perf_counter_ns() - STARTED_NS
            if self.spent_ns > GRACE_NS + SHARE * wall:
                self.stop(f"it took {self.spent_ns / 1e6:.0f} ms of {wall / 1e9:.1f} s")

    def stop(self, why: str) -> None:
        self.off, self.why = True, why

    def failed(self, error: BaseException) -> None:
        """An error of ours: swallowed, unless it came from a signal handler of the user that ran meanwhile."""
        self.errors += 1
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        self.error = f"{type(error).__name__}{where}"
        if self.errors > 50:
            self.stop(f"it failed {self.errors} times, last with {self.error}")
        if from_signal_handler(error.__traceback__):
            raise error


def from_signal_handler(trace: TracebackType | None) -> bool:
    import signal

    codes = set()
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM):
        code = getattr(signal.getsignal(number), "__code__", None)
        if code is not None:
            codes.add(code)
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def hide(function: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a wrapper's code so that warnings and tracebacks pass over it."""
    if isinstance(function, _Function):
        code: CodeType = function.__code__
        function.__code__ = code.replace(co_filename=HIDDEN_FILE)
    return function


def like(wrapper: Any, original: Any) -> Any:
    """As `functools.update_wrapper`, without the import of `functools`."""
    for name in _SAME:
        try:
            setattr(wrapper, name, getattr(original, name))
        except AttributeError:
            pass
    wrapper.__dict__.update(getattr(original, "__dict__", {}))
    wrapper.__wrapped__ = original
    return wrapper


def wrap(original: Callable[..., Any], source: Source, enter: Enter, leave: Leave) -> Callable[..., Any]:
    """A function that calls `original` and returns exactly what it returns or raises.

    `enter(frame of the caller, args, kwargs)` gives a token, or None for "not this call"; `leave(token, result, error)`
    comes after. Both are guarded and timed.
    """

    def headway_wrapper(*args: Any, **kwargs: Any) -> Any:
        token = None
        if not source.off:
            try:
                token = begin(source, enter, sys._getframe(1), args, kwargs)
            except RecursionError:
                token = None
        if token is None:
            return original(*args, **kwargs)
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            finish(source, leave, token, None, error)
            raise
        finish(source, leave, token, result, None)
        return result

    return hide(like(headway_wrapper, original))


class Method:
    """A wrapped method of a class that is pickled by value, as those of a script are: it pickles as the method itself.

    Who asks the class or an object for it gets a function, as without us; scikit-learn looks only at functions.
    """

    def __init__(self, original: Callable[..., Any], wrapper: Callable[..., Any]) -> None:
        like(self, original)
        through = _Through(original, wrapper)

        def headway_method(*args: Any, **kwargs: Any) -> Any:
            return through(*args, **kwargs)

        self._function = hide(like(headway_method, original))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self._function.__get__(instance, owner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself(self.__wrapped__)  # type: ignore[attr-defined]


class _Through:
    """What a wrapped method's function calls: pickled by value, with the function, it is the original."""

    __slots__ = ("original", "wrapper")

    def __init__(self, original: Callable[..., Any], wrapper: Callable[..., Any]) -> None:
        self.original, self.wrapper = original, wrapper

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.wrapper(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself(self.original)


def _itself(function: Any) -> tuple[Any, ...]:
    import copy

    return copy.copy, (function,)  # a copy of a function is the function


hide(Method.__call__)
hide(_Through.__call__)


def replace(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Puts a wrapper where the library shows its function, and where the function was defined: pickle looks there."""
    original = getattr(module, name)
    setattr(module, name, wrapper)
    home = sys.modules.get(getattr(original, "__module__", None) or "")
    if home is not None and home.__dict__.get(name) is original:
        setattr(home, name, wrapper)


def begin(source: Source, enter: Enter, frame: FrameType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    started = time.thread_time_ns()
    try:
        return enter(frame, args, kwargs)
    except Exception as error:
        source.failed(error)
        return None
    finally:
        source.spend(time.thread_time_ns() - started)


def finish(source: Source, leave: Leave, token: Any, result: Any, error: BaseException | None) -> None:
    started = time.thread_time_ns()
    try:
        leave(token, result, error)
    except Exception as ours:
        source.failed(ours)
    finally:
        source.spend(time.thread_time_ns() - started)


def strip(error: BaseException | None, seen: set[int] | None = None) -> None:
    """Removes our wrappers' frames from the traceback of an exception, its causes and contexts."""
    seen = set() if seen is None else seen
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == HIDDEN_FILE:
            trace = trace.tb_next
        error.__traceback__ = trace
        while trace is not None:
            while trace.tb_next is not None and trace.tb_next.tb_frame.f_code.co_filename == HIDDEN_FILE:
                trace.tb_next = trace.tb_next.tb_next
            trace = trace.tb_next
        if error.__cause__ is not None:
            strip(error.__cause__, seen)
        error = error.__context__
