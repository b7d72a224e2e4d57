"""MLflow's own tracing client, unmodified, against a real server: what it logs comes back, and can be found."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}:mlflow")
    for kind in ("DeprecationWarning", "FutureWarning", "UserWarning", "PendingDeprecationWarning")
]


@pytest.fixture
def traced(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client in an experiment of its own, sending at once."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    mlflow.tracing.reset()
    mlflow.set_experiment(f"t-{uuid.uuid4().hex}")
    yield mlflow
    mlflow.tracing.reset()


def answer(mlflow: Any, question: str, *, fail: bool = False) -> str:
    """A traced call with a search and a chat inside; the id of its trace."""
    with mlflow.start_span("answer", span_type="AGENT") as root:
        root.set_inputs({"question": question})
        with mlflow.start_span("search", span_type="RETRIEVER") as span:
            span.set_attribute("index", "handbook")
        with mlflow.start_span("chat", span_type="CHAT_MODEL") as span:
            span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12})
            span.set_outputs("42")
        if fail:
            raise RuntimeError("no answer")
        root.set_outputs("42")
    return str(mlflow.get_last_active_trace_id())


def test_what_is_traced_comes_back(traced: Any) -> None:
    with traced.start_run() as run:
        trace_id = answer(traced, "what?")
    trace = traced.get_trace(trace_id)
    assert [s.name for s in trace.data.spans] == ["answer", "search", "chat"]
    root, search, _ = trace.data.spans
    assert root.inputs == {"question": "what?"} and root.outputs == "42" and root.parent_id is None
    assert (
        search.parent_id == root.span_id
        and search.span_type == "RETRIEVER"
        and search.attributes["index"] == "handbook"
    )
    info = trace.info
    assert info.state == "OK" and info.execution_duration is not None and info.execution_duration >= 0
    assert info.token_usage == {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    assert info.trace_metadata["mlflow.sourceRun"] == run.info.run_id
    found = traced.search_traces(run_id=run.info.run_id, return_type="list")
    assert [t.info.trace_id for t in found] == [trace_id]


def test_an_error_is_told_with_its_stack(traced: Any) -> None:
    with pytest.raises(RuntimeError):
        answer(traced, "what?", fail=True)
    trace = traced.get_trace(traced.get_last_active_trace_id())
    assert trace.info.state == "ERROR"
    (event,) = trace.data.spans[0].events
    assert (
        event.attributes["exception.message"] == "no answer"
        and "RuntimeError" in event.attributes["exception.stacktrace"]
    )


def test_searches(traced: Any) -> None:
    good = answer(traced, "a good question")
    with pytest.raises(RuntimeError):
        answer(traced, "a bad question", fail=True)
    bad = str(traced.get_last_active_trace_id())
    traced.set_trace_tag(good, "team", "search")
    traced.log_feedback(trace_id=good, name="quality", value=0.9)
    traced.log_feedback(trace_id=bad, name="quality", value=0.1)

    def found(text: str) -> set[str]:
        return {t.info.trace_id for t in traced.search_traces(filter_string=text, return_type="list")}

    assert found("trace.status = 'OK'") == {good}
    assert found("trace.status != 'OK'") == {bad}
    assert found("tag.team = 'search'") == {good} and found("tag.team IS NULL") == {bad}
    assert found("span.name = 'chat' AND span.type = 'CHAT_MODEL'") == {good, bad}
    assert found("span.name = 'chat' AND span.type = 'RETRIEVER'") == set()  # of one and the same span
    assert found("span.attributes.index = 'handbook'") == {good, bad}
    assert found("trace.text LIKE '%good question%'") == {good}
    assert found("feedback.quality > 0.5") == {good} and found("feedback.quality <= 0.5") == {bad}
    assert found("trace.name RLIKE '^ans'") == {good, bad}
    assert found(f"request_id IN ('{bad}')") == {bad}
    with pytest.raises(Exception, match="at its end"):
        found("trace.status = ")


def test_pages_of_a_search(traced: Any) -> None:
    ids = [answer(traced, str(i)) for i in range(5)]
    client, seen, token = traced.MlflowClient(), [], None
    experiment = traced.get_trace(ids[0]).info.experiment_id
    while True:
        page = client.search_traces(locations=[experiment], max_results=2, page_token=token, order_by=["timestamp ASC"])
        seen += [t.info.trace_id for t in page]
        token = page.token
        if not token:
            break
    assert seen == ids


def test_assessments_are_said_corrected_and_taken_back(traced: Any) -> None:
    trace_id = answer(traced, "what?")
    first = traced.log_feedback(trace_id=trace_id, name="correct", value=True, rationale="as in the book")
    expected = traced.log_expectation(trace_id=trace_id, name="expected", value={"answer": [42]})
    second = traced.override_feedback(trace_id=trace_id, assessment_id=first.assessment_id, value=False)
    told = {a.assessment_id: a for a in traced.get_trace(trace_id).info.assessments}
    assert told[first.assessment_id].valid is False and told[second.assessment_id].feedback.value is False
    assert told[expected.assessment_id].expectation.value == {"answer": [42]}
    traced.delete_assessment(trace_id, second.assessment_id)
    assert traced.get_assessment(trace_id, first.assessment_id).valid is True
    changed = traced.update_assessment(
        trace_id, expected.assessment_id, traced.entities.Expectation(name="expected", value="42")
    )
    assert changed.expectation.value == "42"


def test_deleting(traced: Any) -> None:
    ids = [answer(traced, str(i)) for i in range(3)]
    client = traced.MlflowClient()
    experiment = traced.get_trace(ids[0]).info.experiment_id
    assert client.delete_traces(experiment, trace_ids=[ids[1], "tr-of-nobody"]) == 1
    assert {t.info.trace_id for t in traced.search_traces(return_type="list")} == {ids[0], ids[2]}
    assert client.delete_traces(experiment, max_timestamp_millis=2**53, max_traces=1) == 1
    assert {t.info.trace_id for t in traced.search_traces(return_type="list")} == {ids[2]}


def test_sessions_and_models(traced: Any) -> None:
    model = traced.create_external_model(name="agent")
    traced.set_active_model(model_id=model.model_id)
    with traced.start_span("turn"):
        traced.update_current_trace(metadata={"mlflow.trace.session": "s1"}, tags={"a": "b"})
    (found,) = traced.search_traces(filter_string="metadata.`mlflow.trace.session` = 's1'", return_type="list")
    assert found.info.trace_metadata["mlflow.modelId"] == model.model_id and found.info.tags["a"] == "b"
    traced.clear_active_model()


def test_prompts(traced: Any) -> None:
    name = f"p-{uuid.uuid4().hex}"
    traced.genai.register_prompt(name=name, template="Say {{word}}!", tags={"lang": "en"})
    traced.genai.register_prompt(name=name, template="Shout {{word}}!")
    traced.genai.set_prompt_alias(name, "best", 2)
    assert traced.genai.load_prompt(f"prompts:/{name}@best").format(word="hi") == "Shout hi!"
    assert traced.genai.load_prompt(name, version=1).template == "Say {{word}}!"
    assert name in [p.name for p in traced.genai.search_prompts(filter_string=f"name = '{name}'")]
    with traced.start_span("uses it"):
        traced.genai.load_prompt(f"prompts:/{name}@best")
    trace_id = traced.get_last_active_trace_id()
    traced.MlflowClient().link_prompt_versions_to_trace([traced.genai.load_prompt(name, version=2)], trace_id)
    found = traced.search_traces(filter_string=f"prompt = '{name}/2'", return_type="list")
    assert [t.info.trace_id for t in found] == [trace_id]


def test_evaluation_datasets(traced: Any) -> None:
    from mlflow.genai import datasets

    dataset = datasets.create_dataset(name=f"d-{uuid.uuid4().hex}", tags={"team": "a"})
    record = {"inputs": {"q": "what?"}, "expectations": {"answer": "42"}}
    dataset.merge_records([record, {"inputs": {"q": "who?"}, "expectations": {}}])
    dataset.merge_records([record | {"expectations": {"sure": True}}])
    frame = datasets.get_dataset(dataset_id=dataset.dataset_id).to_df()
    told = {row["inputs"]["q"]: row["expectations"] for row in frame.to_dict("records")}
    assert told["what?"] == {"answer": "42", "sure": True} and len(told) == 2
    assert [d.name for d in datasets.search_datasets(filter_string=f"name = '{dataset.name}'")] == [dataset.name]
    datasets.delete_dataset(dataset_id=dataset.dataset_id)
    with pytest.raises(Exception, match="not found"):
        datasets.get_dataset(dataset_id=dataset.dataset_id)


def test_a_large_file_goes_up_and_down_in_parts(mlflow: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
        "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1",
        "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(5 << 20),
        "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE": "1",
        "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": str(5 << 20),
    }.items():
        monkeypatch.setenv(name, value)
    data = os.urandom((11 << 20) + 7)
    (tmp_path / "big.bin").write_bytes(data)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "big.bin"), "sub")
    got = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="sub/big.bin", dst_path=str(tmp_path / "got")
    )
    assert Path(got).read_bytes() == data
