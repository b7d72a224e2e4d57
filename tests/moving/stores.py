"""Stores as the official client fills them, and all that it can read of one: what two stores are compared by."""

from __future__ import annotations

import functools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NAN = float("nan")


def as_mlflow_warns(work: Callable[..., T]) -> Callable[..., T]:
    """MLflow's own stores use what SQLAlchemy and pandas are about to remove; that is no failure of ours."""

    @functools.wraps(work)
    def quiet(*args: Any, **more: Any) -> T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work(*args, **more)

    return quiet


@as_mlflow_warns
def fill(uri: str, folder: Path, name: str = "flowers") -> dict[str, str]:
    """A store with everything that can be moved, and with what can't; the ids that tests ask for."""
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri
    from mlflow.entities import (
        Dataset,
        DatasetInput,
        InputTag,
        LoggedModelInput,
        LoggedModelOutput,
        Metric,
        Param,
        RunTag,
    )
    from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag

    set_tracking_uri(uri)
    set_registry_uri(uri)
    client = MlflowClient(uri, uri)
    experiment = client.create_experiment(name, tags={"team": "a: b\n'q' \"ü\""})
    gone = client.create_experiment(f"{name} gone")
    client.delete_experiment(gone)
    parent = client.create_run(experiment, run_name="parent: 'x' \"y\"", start_time=1_700_000_000_123).info.run_id
    params = [Param("lr", "0.1"), Param("optim/beta 1", "ü"), Param("long", "x" * 5000), Param("empty", "")]
    points = [Metric("loss", 1 / (i + 1), 1_700_000_000_000 + i, i) for i in range(300)]
    points += [
        Metric("val/auc", NAN, 5, 0),
        Metric("val/auc", 0.5, 7, 0),
        Metric("val/auc", 0.5, 7, 0),
        Metric("low", -1e300, 1, -3),
    ]
    tags = [RunTag("mlflow.note.content", "multi\nline"), RunTag("empty", "")]
    client.log_batch(parent, points, params, tags)
    dataset = Dataset(
        "iris", "5a5c68bf", "http", '{"url": "https://example.org/iris.csv"}', '{"mlflow_colspec": []}', '{"rows": 2}'
    )
    client.log_inputs(parent, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    files = folder / "files"
    (files / "deep" / "er").mkdir(parents=True, exist_ok=True)
    (files / "a b.txt").write_text("hello")
    (files / "deep" / "er" / "empty.bin").write_bytes(b"")
    (files / "deep" / "ü +&.bin").write_bytes(bytes(range(256)) * 100)
    client.log_artifacts(parent, str(files))
    child = client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
    client.log_metric(child, "loss", 2.5)
    client.set_terminated(child, "FAILED", 1_700_000_001_000)
    model = client.create_logged_model(
        experiment, name="clf", source_run_id=parent, params={"depth": "3"}, tags={"t": "1"}
    )
    bundle = folder / "bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "MLmodel").write_text(f"flavors: {{}}\nmodel_id: {model.model_id}\n")
    (bundle / "weights.bin").write_bytes(b"w" * 5000)
    client.log_model_artifacts(model.model_id, str(bundle))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_metric(parent, "acc", 0.9, model_id=model.model_id, dataset_name="iris", dataset_digest=dataset.digest)
    client.log_outputs(parent, [LoggedModelOutput(model.model_id, 7)])
    client.log_inputs(child, models=[LoggedModelInput(model.model_id)])
    client.log_artifacts(child, str(bundle), "old model")
    client.set_terminated(parent)
    removed = client.create_run(experiment).info.run_id
    client.delete_run(removed)
    client.create_registered_model("iris", {"kind": "demo"}, "about: it\nreally")
    client.create_model_version(
        "iris", f"models:/{model.model_id}", parent, {"stage": "x"}, description="first", model_id=model.model_id
    )
    client.create_model_version("iris", f"runs:/{child}/old model", child)
    client.create_model_version("iris", f"models:/{model.model_id}", parent, model_id=model.model_id)
    client.delete_model_version("iris", "2")
    client.set_registered_model_alias("iris", "champion", "1")
    client.create_registered_model("bare")
    # As mlflow.genai.register_prompt does it.
    registry, prompt = client._get_registry_client().store, "mlflow.prompt.is_prompt"
    registry.create_registered_model("greet", [RegisteredModelTag(prompt, "true")])
    text = [ModelVersionTag(prompt, "true"), ModelVersionTag("mlflow.prompt.text", "Hello {{name}}")]
    registry.create_model_version("greet", "dummy-source", None, text)
    ids = {"experiment": name, "parent": parent, "child": child, "model": model.model_id, "removed": removed}
    return ids | _traced(client, experiment)


def _traced(client: Any, experiment: str) -> dict[str, str]:
    """A trace with all that one can have, and one that failed."""
    import mlflow
    from mlflow.entities import SpanEvent

    root = mlflow.start_span_no_context(
        "answer ü", "AGENT", inputs={"question": "why? \"ü\""}, experiment_id=experiment,
        tags={"team": "a: b"}, metadata={"mlflow.trace.session": "s1", "mlflow.trace.user": "bo"},
    )  # fmt: skip
    chat = mlflow.start_span_no_context(
        "chat", "CHAT_MODEL", parent_span=root, attributes={"n": 3, "deep": {"a": [1, None]}}
    )
    chat.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12})
    chat.add_event(SpanEvent("token", attributes={"at": 1}))
    chat.end(outputs="42")
    root.end(outputs={"answer": 42})
    failed = mlflow.start_span_no_context("broken", experiment_id=experiment)
    failed.record_exception("no answer")
    failed.end(status="ERROR")
    mlflow.flush_trace_async_logging()
    mlflow.log_feedback(trace_id=root.trace_id, name="good", value=True, rationale="as it is: ü", metadata={"by": "me"})
    mlflow.log_expectation(trace_id=root.trace_id, name="wanted", value={"answer": [42]})
    client.set_trace_tag(root.trace_id, "reviewed", "yes")
    return {"trace": root.trace_id, "failed": failed.trace_id}


@as_mlflow_warns
def long_series(uri: str, name: str, size: int) -> str:
    """An experiment with a run with a metric of many points; the run's id."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(uri, uri)
    run_id: str = client.create_run(client.create_experiment(name)).info.run_id
    for at in range(0, size, 1000):
        client.log_batch(run_id, [Metric("loss", 1 / (i + 1), 1_700_000_000_000 + i, i) for i in range(at, at + 1000)])
    client.set_terminated(run_id)
    return run_id


@as_mlflow_warns
def everything(uri: str, workspace: str | None = None) -> dict[str, Any]:
    """All that the official client reads of a store, in plain values that can be compared; ids of experiments left out."""
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri

    set_tracking_uri(uri)
    set_registry_uri(uri)
    client = MlflowClient(uri, uri)
    found: dict[str, Any] = {"experiments": {}, "models": {}}
    for experiment in client.search_experiments():
        if experiment.name != "Default":
            runs = client.search_runs([experiment.experiment_id], max_results=1000)
            logged = client.search_logged_models([experiment.experiment_id])
            traces = client.search_traces(locations=[experiment.experiment_id], include_spans=False)
            found["experiments"][experiment.name] = {
                "tags": _ours(experiment.tags), "runs": {run.info.run_id: _run(client, run) for run in runs},
                "logged": {one.model_id: _model(client, one) for one in logged},
                "traces": {one.info.trace_id: _trace(client, one.info.trace_id) for one in traces},
            }  # fmt: skip
    for one in [
        *client.search_registered_models(),
        *client.search_registered_models("tags.`mlflow.prompt.is_prompt` = 'true'"),
    ]:
        only = " AND tags.`mlflow.prompt.is_prompt` = 'true'" if one.name == "greet" else ""
        its = client.search_model_versions(f"name='{one.name}'{only}")
        versions = {str(v.version): _version(client, v) for v in its}
        found["models"][one.name] = {
            "about": one.description or "", "tags": _ours(one.tags), "versions": versions,
            "aliases": {k: str(v) for k, v in one.aliases.items()},
        }  # fmt: skip
    return found


def _run(client: Any, run: Any) -> dict[str, Any]:
    run = client.get_run(run.info.run_id)
    info = run.info
    histories = {
        key: sorted({(m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(info.run_id, key)})
        for key in run.data.metrics
    }
    files = _files(
        lambda: client.list_artifacts(info.run_id), lambda to: client.download_artifacts(info.run_id, "", to)
    )
    inputs = [
        (one.dataset.name, one.dataset.digest, one.dataset.source_type, one.dataset.source, one.dataset.schema,
         one.dataset.profile, sorted((tag.key, tag.value) for tag in one.tags))
        for one in run.inputs.dataset_inputs
    ]  # fmt: skip
    return {
        "name": info.run_name, "status": info.status, "times": (info.start_time, info.end_time), "params": run.data.params,
        "tags": _ours(run.data.tags), "history": histories, "inputs": inputs,
        "made": sorted((m.model_id, m.step) for m in run.outputs.model_outputs),
        "read": sorted(m.model_id for m in run.inputs.model_inputs),
        "files": files,
    }  # fmt: skip


def _model(client: Any, one: Any) -> dict[str, Any]:
    metrics = sorted(
        (m.key, m.value, m.step, m.timestamp, m.run_id, m.dataset_name or "", m.dataset_digest or "")
        for m in one.metrics or []
    )
    tags = {key: value for key, value in _ours(one.tags).items() if key != "mlflow.modelVersions"}
    from mlflow.artifacts import download_artifacts

    return {
        "name": one.name, "run": one.source_run_id, "status": str(one.status), "params": one.params, "tags": tags,
        "made": one.creation_timestamp, "metrics": metrics,
        "files": _files(lambda: True, lambda to: download_artifacts(f"models:/{one.model_id}", dst_path=to)),
    }  # fmt: skip


def _trace(client: Any, trace_id: str) -> dict[str, Any]:
    from mlflow import get_trace

    trace = get_trace(trace_id)
    info = trace.info
    where = ("mlflow.artifactLocation", "mlflow.trace.spansLocation", "mlflow.trace.infoFinalized")
    judged = sorted(
        (a.name, a.assessment_id, str(a.value), a.rationale or "", a.source.source_type, a.source.source_id, a.metadata or {},
         a.create_time_ms)
        for a in info.assessments
    )  # fmt: skip
    return {
        "times": (info.request_time, info.execution_duration), "state": str(info.state), "judged": judged,
        "previews": (info.request_preview, info.response_preview),
        "tags": {k: v for k, v in info.tags.items() if k not in where},
        "metadata": {k: v for k, v in info.trace_metadata.items() if k not in where},
        "spans": [
            (s.span_id, s.parent_id, s.name, s.start_time_ns, s.end_time_ns, str(s.status.status_code), s.status.description,
             s.span_type, s.attributes, [(e.name, e.timestamp, e.attributes) for e in s.events])
            for s in sorted(trace.data.spans, key=lambda s: (s.start_time_ns, s.span_id))
        ],
    }  # fmt: skip


def _version(client: Any, one: Any) -> dict[str, Any]:
    from mlflow.artifacts import download_artifacts

    files = _files(
        lambda: one.source != "dummy-source",
        lambda to: download_artifacts(f"models:/{one.name}/{one.version}", dst_path=to),
    )
    return {"run": one.run_id or None, "about": one.description or "", "tags": _ours(one.tags), "made": one.creation_timestamp,
            "stage": one.current_stage, "files": files}  # fmt: skip


def _files(some: Any, download: Any) -> dict[str, bytes]:
    if not some():
        return {}
    with tempfile.TemporaryDirectory() as to:
        root = Path(download(to))
        paths = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "registered_model_meta"]
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def _ours(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key not in ("headway.import", "mlflow.experimentKind")}
