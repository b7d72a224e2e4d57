"""A fitted model into a bundle that plain MLflow loads: its native format or pickle, signature, examples, exact pins."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway import bundle
from headway.capture import environment, formats
from headway.capture.models import ROWS, Fitted
from headway.capture.namespace import user_class
from headway.capture.sources.estimators import deployable, weights

if TYPE_CHECKING:
    from headway.capture.session import Session

__all__ = ["keep_graph", "save"]


def save(session: Session, fitted: Fitted) -> None:
    """Saves one model that still lives, and says where. Raises whatever the model's own code raises."""
    model = fitted.model()
    if model is None or not formats.predictable(deployable(model), fitted.library):
        return
    with _random_state_kept():
        folder, inner = _write(session, fitted, deployable(model))
    with contextlib.suppress(Exception):  # what the model's own properties raise
        table = weights(model, fitted.sample)
        if table is not None:
            session.fact("table", s=fitted.site, name=f"{fitted.cls} {table['columns'][1].split()[0]}s", n={}, **table)
    session.fact("model", id=fitted.id, s=fitted.site, cls=fitted.cls, inner=inner, folder=str(folder))


def keep_graph(session: Session, path: str, cls: str) -> Path:
    """An ONNX graph that the program wrote, as it is, as a bundle; with the file beside it that holds its weights."""
    source = Path(path)
    packages = environment.needed({"onnxruntime", "numpy"})
    if not any(p.startswith("onnxruntime==") for p in packages):
        packages.append("onnxruntime")  # it is not here: the newest that there is will read it

    def write(folder: Path) -> None:
        for file in (source, source.with_name(f"{source.name}.data")):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)

    version, python = environment.version("onnx"), sys.version.split()[0]
    flavors = bundle.flavors("onnx", source.name, version=version, python=python)
    manifest = bundle.Manifest(flavors=flavors, run_id=os.environ.get("HEADWAY_RUN"), headway={"class": cls or "onnx"})
    folder = Path(session.spool.folder) / "models" / f"{os.getpid()}-{source.stem}-onnx"
    bundle.write(folder, manifest, write, requirements=packages)
    return folder


def _write(session: Session, fitted: Fitted, model: Any) -> tuple[Path, str]:
    saver = formats.saver(model, session, fitted.library)
    # A base class counts: xgboost's scikit-learn models can't be imported without scikit-learn, which it does not require.
    modules = saver.modules | {base.__module__ for base in type(model).__mro__ if base.__module__ != "__main__"}
    packages = environment.needed(modules | ({"pandas"} if hasattr(fitted.sample, "columns") else set()))
    flavors = bundle.flavors(
        saver.library, saver.file, version=saver.version, python=sys.version.split()[0], **saver.options
    )
    if saver.code:
        for flavor in flavors.values():
            flavor["code"] = "code"
    headway = _frame_types(fitted.sample) | {
        "class": _dotted(model),
        "versions": {p.split("==")[0]: p.split("==")[1] for p in packages},
    }
    manifest = bundle.Manifest(flavors=flavors, run_id=os.environ.get("HEADWAY_RUN"), headway=headway)

    def told(folder: Path) -> tuple[Any, Any]:
        """The signature and the examples, asked of what was just saved."""
        inputs = _arrays(fitted.sample)
        if inputs is None:
            return None, None
        try:
            predictions = _predict(model, fitted.sample, saver, folder, session)
        except Exception as error:
            session.fact("note", text=f"{fitted.cls} gave no answer to its first inputs ({type(error).__name__})")
            return None, None
        examples = bundle.record(inputs, predictions, limit=ROWS)
        with contextlib.suppress(bundle.BundleError, ValueError, TypeError):
            return _open_lengths(bundle.infer(inputs, predictions)), examples
        return None, examples

    name = f"{fitted.id:03d}-{type(model).__name__}"
    folder = Path(session.spool.folder) / "models" / f"{os.getpid()}-{name}"
    bundle.write(folder, manifest, saver.save, requirements=packages, told=told)
    return folder, type(model).__name__


def _arrays(sample: Any) -> Any:
    """A sample as frames and arrays: a module's tensors become one array, or a dict of them."""
    if not isinstance(sample, dict):
        return sample
    arrays = {
        name: value.detach().cpu().numpy() if hasattr(value, "detach") else value for name, value in sample.items()
    }
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays or None


def _open_lengths(signature: bundle.Signature) -> bundle.Signature:
    """Whole numbers in rows, such as tokens, come in any number."""
    inputs = tuple(
        replace(t, shape=(-1,) * len(t.shape)) if isinstance(t, bundle.Tensor) and t.dtype.startswith("int") else t
        for t in signature.inputs
    )
    return replace(signature, inputs=inputs)


def _frame_types(sample: Any) -> dict[str, Any]:
    """The dtypes of a training frame's columns, and the categories of categorical ones, for whoever builds such frames."""
    if not hasattr(sample, "columns"):
        return {}
    dtypes = {str(c): str(t) for c, t in zip(sample.columns, sample.dtypes, strict=True)}
    categories = {
        str(c): bundle.plain(sample[c].cat.categories.to_numpy())
        for c, t in zip(sample.columns, sample.dtypes, strict=True)
        if str(t) == "category"
    }
    return {"dtypes": {c: t for c, t in dtypes.items() if t != "category"}, "categories": categories}


def _dotted(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _predict(model: Any, sample: Any, saver: formats.Saver, folder: Path, session: Session) -> Any:
    """The model's own answers to the sample; quiet, whatever the user's classes print."""
    noisy = saver.predict is not None or user_class(type(model), session.sites)
    with _silence() if noisy or bool(getattr(model, "verbose", False)) else contextlib.nullcontext():
        if saver.predict is not None:
            return saver.predict(folder, sample)
        return model.predict(sample.copy())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
    """A prediction may draw random numbers: the user's streams go on as if it had not."""
    plain = sys.modules.get("random")
    numpy = sys.modules.get("numpy.random")
    torch = sys.modules.get("torch")
    states = (plain and plain.getstate(), numpy and numpy.get_state(), torch and torch.get_rng_state())
    try:
        yield
    finally:
        if plain is not None:
            plain.setstate(states[0])
        if numpy is not None:
            numpy.set_state(states[1])
        if torch is not None:
            torch.set_rng_state(states[2])
