"""Which metric is shown beside runs; what an endpoint's counters add up to."""

import math

import pytest

from headway.home.look import Traffic, traffic
from headway.tracking.show.headline import choose, course

NAN = math.nan


@pytest.mark.parametrize(
    ("metrics", "chosen"),
    [
        ([], None),
        ([{}], None),
        ([{"accuracy": NAN}], None),
        ([{"loss": 1.0}], "loss"),
        ([{"loss": 1.0, "accuracy": 0.9}], "accuracy"),
        ([{"train_accuracy": 0.99, "test_accuracy": 0.9}], "test_accuracy"),
        ([{"val_f1": 0.5, "val_loss": 1.0}], "val_f1"),
        ([{"system/cpu_utilization": 5.0, "zeta": 1.0}], "zeta"),
        ([{"epoch": 3.0, "fit_time": 1.0, "rmse": 2.0}], "rmse"),
        ([{"auc": 0.9}, {"loss": 1.0}, {"loss": 1.0}, {"loss": 1.0}], "loss"),  # what most of them have
        ([{"r2": 0.5}, {"r2": 0.6, "mae": 1.0}], "r2"),
        ([{"loss-ratio": 1.0, "b": 1.0}], "loss-ratio"),
        ([{"b": 1.0, "a": 1.0}], "a"),
    ],
)
def test_the_telling_metric(metrics: list[dict[str, float]], chosen: str | None) -> None:
    assert choose(metrics) == chosen


def test_a_course_runs_from_old_to_new() -> None:
    assert course([3.0, None, NAN, 1.0]) == [1.0, None, None, 3.0]


NOW = 1_000 * 60_000


def test_traffic_of_the_last_hour() -> None:
    stats = {
        "1": {
            "statuses": {"200": 10, "500": 2},
            "minutes": [[900, 100, 0, 50, 1, 2], [941, 5, 0, 1, 1, 2], [1000, 3, 0, 0, 1, 2]],
        },
        "2": {"statuses": {"200": 4}, "minutes": [[1000, 4, 0, 0, 1, 2], [1001, 9, 0, 9, 1, 2]]},
    }
    found = traffic(stats, NOW)
    assert (found.ever, found.hour, found.failed) == (16, 12, 1)
    assert (found.minutes[0], found.minutes[59], len(found.minutes)) == (5, 7, 60)
    assert traffic({}, NOW) == Traffic(minutes=(0,) * 60)


@pytest.mark.parametrize(
    ("hour", "failed", "failing"), [(100, 5, True), (101, 5, False), (4, 4, False), (5, 5, True), (0, 0, False)]
)
def test_failing(hour: int, failed: int, failing: bool) -> None:
    assert Traffic(hour=hour, failed=failed).failing is failing
