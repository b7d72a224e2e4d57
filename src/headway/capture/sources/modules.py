"""torch modules: which one an optimizer trains, what it is first called with, and tensors as facts."""

from __future__ import annotations

import sys
import weakref

from headway.capture.guard import hide
from headway.capture.values import held

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

    from headway.capture.guard import Source
    from headway.capture.sites import Site

__all__ = [
    "Trained",
    "describe_dataset",
    "describe_inputs",
    "owners",
    "read_together",
    "unscaled",
    "unwrapped",
    "watch_inputs",
]

ROWS = 5
_TARGETS = ("labels", "label", "targets", "target", "y", "num_items_in_batch")
FRAMES = 30
CANDIDATES = 400
CALLS = 200  # forward calls that a watch for a module's inputs lives through
LARGE = 256 * 1024 * 1024


class Trained:
    """A module that an optimizer trains. It is not kept alive from here."""

    __slots__ = ("_reference", "cls", "device", "inputs", "large", "number", "size")

    def __init__(self, module: Any) -> None:
        model = unwrapped(module)
        self._reference = weakref.ref(model)
        self.cls = type(model).__name__
        parameters = list(_module().parameters(model))
        self.size = sum(int(p.numel()) for p in parameters if _is_real(p))
        self.device = str(parameters[0].device) if parameters else "cpu"
        # A large model on a device is not held for us: who deletes it wants the memory back.
        self.large = self.device != "cpu" and sum(p.numel() * p.element_size() for p in parameters) > LARGE
        self.inputs: dict[str, Any] | None = None
        self.number = 0

    @property
    def model(self) -> Any:
        return self._reference()


def _module() -> Any:
    return sys.modules["torch.nn.modules.module"].Module


def _is_real(parameter: Any) -> bool:
    return type(parameter).__name__ not in ("UninitializedParameter", "UninitializedBuffer")


def unwrapped(module: Any) -> Any:
    """The module itself: what `torch.compile`, DataParallel and DistributedDataParallel put around it comes off."""
    for _ in range(4):
        children = getattr(module, "_modules", {})
        if type(module).__name__ == "OptimizedModule" and "_orig_mod" in children:
            module = children["_orig_mod"]
        elif type(module).__name__ in ("DataParallel", "DistributedDataParallel") and "module" in children:
            module = children["module"]
        else:
            break
    return module


def owners(optimizer: Any, frame: FrameType | None) -> list[Trained]:
    """The modules whose parameters an optimizer has, among those that the running functions know by a name.

    One that has all of them where there is one, the smallest; else several that have them together.
    """
    if "torch.nn.modules.module" not in sys.modules:
        return []
    wanted = {id(p) for group in optimizer.param_groups for p in group["params"]}
    base = _module()
    known: dict[int, tuple[Any, set[int]]] = {}
    for module in _candidates(frame, base):
        if id(module) not in known and len(known) < CANDIDATES:
            known[id(module)] = (module, {id(p) for p in base.parameters(module)})
    entire = [(m, ids) for m, ids in known.values() if wanted and wanted <= ids]
    if entire:
        return [Trained(_chosen(entire))]
    parts = sorted((e for e in known.values() if e[1] and e[1] <= wanted), key=lambda e: -len(e[1]))
    found: list[Trained] = []
    for module, ids in parts:
        if ids <= wanted:
            found.append(Trained(module))
            wanted = wanted - ids
    return found[:8]


def _chosen(entire: list[tuple[Any, set[int]]]) -> Any:
    """The module with the fewest other parameters; of several with the same ones, the outermost that is no wrapper.

    A single layer of torch's own gives way to what is around it: a head that is tuned is no model by itself.
    """
    whole = [e for e in entire if not _is_layer(unwrapped(e[0]))] or entire
    fewest = min(len(ids) for _, ids in whole)
    same = [m for m, ids in whole if len(ids) == fewest]
    return max(same, key=lambda m: (m is unwrapped(m), sum(1 for _ in _module().modules(m))))


def _is_layer(module: Any) -> bool:
    kind = type(module).__module__
    return kind.startswith("torch.nn.modules.") and not kind.endswith(".container")


def _candidates(frame: FrameType | None, base: type) -> Iterator[Any]:
    scopes: list[dict[str, Any]] = []
    for _ in range(FRAMES):
        if frame is None:
            break
        if frame.f_code.co_name != "<module>":
            scopes.append(held(frame))
        if all(s is not frame.f_globals for s in scopes):
            scopes.append(frame.f_globals)
        frame = frame.f_back
    for scope in scopes:
        for value in list(scope.values())[:1000]:
            yield from _within(value, base, 2)


def _within(value: Any, base: type, depth: int) -> Iterator[Any]:
    """Modules that a value is, holds in a list or dict, or has as an attribute; no code of the user's runs."""
    if isinstance(value, base):
        yield value
    elif not depth:
        return
    elif type(value) in (list, tuple) and len(value) <= 60:
        for item in list(value):
            yield from _within(item, base, 0)
    elif type(value) is dict and len(value) <= 60:
        for item in list(value.values()):
            yield from _within(item, base, 0)
    elif type(value).__module__ not in ("builtins", "numpy", "torch"):
        attributes = getattr(type(value), "__dict__", None) and _attributes(value)
        for item in list(attributes.values())[:100] if attributes else ():
            yield from _within(item, base, depth - 2)


def _attributes(value: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if type(found) is dict else None


def watch_inputs(trained: Trained, source: Source) -> None:
    """Keeps the first rows of what a module is next called with. torch's own hook for all modules, gone after that call."""
    library = sys.modules["torch.nn.modules.module"]
    torch: Any = sys.modules["torch"]
    calls = 0

    def before_forward(module: Any, args: tuple[Any, ...]) -> None:
        nonlocal calls
        if torch.compiler.is_compiling():
            return
        calls += 1
        try:
            if module is trained.model:
                handle.remove()
                trained.inputs = _inputs(module, args, _keywords(sys._getframe(1)))
            elif calls > CALLS:
                handle.remove()
        except Exception as error:
            source.failed(error)

    handle = library.register_module_forward_pre_hook(hide(before_forward))


def _keywords(frame: FrameType | None) -> dict[str, Any]:
    """What the module was called with by keyword, told from torch's frame that calls its hooks."""
    for _ in range(3):
        if frame is None:
            break
        if frame.f_code.co_name in ("_call_impl", "inner"):
            found = held(frame).get("kwargs")
            if type(found) is dict:
                return found
        frame = frame.f_back
    return {}


def _inputs(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """`{argument of forward: its first rows}`; None where something other than tensors and defaults was given."""
    import inspect

    torch: Any = sys.modules["torch"]
    signature = inspect.signature(type(module).forward)
    given = dict(signature.bind(module, *args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    rows: int | None = None
    found: dict[str, Any] = {}
    for name, value in list(given.items())[1:]:
        known = signature.parameters.get(name)
        if name in _TARGETS and (known is None or known.default is None):
            continue  # only asked for in training
        values = value if isinstance(value, tuple) and name == "args" else (value,)
        for position, one in enumerate(values):
            if one is None or type(one) in (bool, int, float, str):
                continue
            if type(one) is not torch.Tensor or one.ndim == 0 or (rows is not None and len(one) != rows):
                return None
            rows = len(one)
            found[name if len(values) == 1 else f"{name}_{position}"] = one[:ROWS].detach().clone()
    return found or None


def describe_inputs(inputs: dict[str, Any] | None) -> dict[str, Any] | None:
    if not inputs:
        return None
    first = next(iter(inputs.values()))
    shape = [-1, *(int(n) for n in first.shape[1:])]
    return {"type": "tensor", "shape": shape, "dtypes": [str(v.dtype).removeprefix("torch.") for v in inputs.values()]}


def describe_dataset(dataset: Any) -> dict[str, Any] | None:
    """Rows and shapes of torch's own data sets; of others only that they are one (their `len` is the user's code)."""
    if not type(dataset).__module__.startswith("torch.utils.data"):
        return {"type": "dataset"}
    name = type(dataset).__name__
    if name == "TensorDataset" and dataset.tensors:
        first = dataset.tensors[0]
        dtypes = [str(t.dtype).removeprefix("torch.") for t in dataset.tensors]
        return {"type": "tensors", "rows": len(first), "shape": [int(n) for n in first.shape], "dtypes": dtypes}
    if name == "Subset":
        return {"type": "dataset", "rows": len(dataset.indices)}
    return None


def unscaled(loss: Any, frame: FrameType, site: Site) -> Any:
    """The loss that the code has a name for: `scaler.scale(loss).backward()` and `(loss / n).backward()` mean `loss`."""
    scope = frame.f_globals if site.module_level else held(frame)
    named = [v for n in site.names if (v := scope.get(n)) is not None]
    if any(v is loss for v in named):
        return loss
    scalars = [v for v in named if type(v) is type(loss) and v.numel() == 1 and v.requires_grad]
    return scalars[0] if len(scalars) == 1 else loss


def read_together(values: list[Any]) -> list[float]:
    """Scalars of a device as numbers, in one transfer."""
    torch: Any = sys.modules["torch"]
    with torch.no_grad():
        return list(torch.stack([v.reshape(()).float() for v in values]).tolist())
