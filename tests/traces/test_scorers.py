"""Scorers that `mlflow.genai` registers: by the official client, and what is wrong said in its words."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "FutureWarning", "UserWarning", "PendingDeprecationWarning")
]


@pytest.fixture
def experiment(mlflow: Any) -> str:
    return str(mlflow.create_experiment(f"judged {uuid.uuid4().hex}"))


def test_scorers_are_registered_listed_and_deleted(mlflow: Any, experiment: str) -> None:
    from mlflow.genai.scorers import Guidelines, delete_scorer, get_scorer, list_scorers
    from mlflow.genai.scorers.registry import list_scorer_versions

    def polite(words: str) -> Any:
        return Guidelines(name="polite", guidelines=[words]).register(name="polite", experiment_id=experiment)

    polite("Be polite.")
    polite("Be very polite: ü.")
    Guidelines(name="brief", guidelines=["Be brief."]).register(name="brief", experiment_id=experiment)
    assert [one.name for one in list_scorers(experiment_id=experiment)] == ["brief", "polite"]
    assert get_scorer(name="polite", experiment_id=experiment).guidelines == ["Be very polite: ü."]
    assert get_scorer(name="polite", experiment_id=experiment, version=1).guidelines == ["Be polite."]
    assert [version for _, version in list_scorer_versions(name="polite", experiment_id=experiment)] == [1, 2]
    delete_scorer(name="polite", experiment_id=experiment, version=2)
    assert get_scorer(name="polite", experiment_id=experiment).guidelines == ["Be polite."]
    delete_scorer(name="polite", experiment_id=experiment, version="all")
    assert [one.name for one in list_scorers(experiment_id=experiment)] == ["brief"]


def test_the_server_does_not_score_by_itself_and_says_so(mlflow: Any, experiment: str) -> None:
    from mlflow.genai.scorers import Guidelines, ScorerSamplingConfig

    judge = Guidelines(name="polite", guidelines=["Be polite."], model="gateway:/none")
    judge = judge.register(name="polite", experiment_id=experiment)
    with pytest.raises(mlflow.MlflowException, match="does not run scorers on new traces by itself"):
        judge.start(experiment_id=experiment, sampling_config=ScorerSamplingConfig(sample_rate=1))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("  ", "{}", "Scorer name cannot be empty"),
        (None, "{}", "Scorer name cannot be empty"),
        ("a", "{", "valid JSON"),
        ("a", "[]", "JSON object"),
        ("a", json.dumps({"builtin_scorer_pydantic_data": {"model": " "}}), "Scorer model cannot be empty"),
        ("a" * 257, "{}", "maximum length"),
    ],
)
def test_what_is_no_scorer(mlflow: Any, experiment: str, name: Any, content: str, said: str) -> None:
    store = mlflow.MlflowClient()._tracking_client.store
    with pytest.raises(mlflow.MlflowException, match=said) as error:
        store.register_scorer(experiment, name, content)
    assert error.value.error_code == "INVALID_PARAMETER_VALUE"
    assert store.list_scorers(experiment) == []


def test_what_is_not_there(mlflow: Any, experiment: str) -> None:
    store = mlflow.MlflowClient()._tracking_client.store
    store.register_scorer(experiment, "a", "{}")
    for ask in (
        lambda: store.get_scorer(experiment, "b"),
        lambda: store.get_scorer(experiment, "a", 7),
        lambda: store.delete_scorer(experiment, "a", 7),
        lambda: store.list_scorer_versions(experiment, "b"),
        lambda: store.get_scorer("999999", "a"),
    ):
        with pytest.raises(mlflow.MlflowException) as error:
            ask()
        assert error.value.error_code == "RESOURCE_DOES_NOT_EXIST"
