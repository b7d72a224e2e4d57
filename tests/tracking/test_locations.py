"""Places of artifacts: what is kept, what is refused, and how names are put below them."""

from pathlib import Path

import pytest

from headway.errors import BadInput
from headway.tracking.store import locations


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, ""),
        ("", ""),
        ("s3://bucket/root/", "s3://bucket/root"),
        ("file:///mnt/x", "file:///mnt/x"),
        ("relative/place", str(Path.cwd() / "relative/place")),
        ("mlflow-artifacts:/team/a", "mlflow-artifacts:/team/a"),
        ("mysql://u:p@host/db?driver=d", "mysql://u:p@host/db?driver=d"),
    ],
)
def test_kept(given: str | None, kept: str) -> None:
    assert locations.check(given) == kept


@pytest.mark.parametrize(
    "given",
    ["s3://b/../x", "/a/../b", "file:///a/%2e%2e/b", "s3://b/%252e%252e/x", "http://h/#f", "s3://b/\n", "mlflow-artifacts://h/x",
     "mlflow-artifacts:/a/../b", "x" * 401, 5, "a\\..\\b"],
)  # fmt: skip
def test_refused(given: object) -> None:
    with pytest.raises(BadInput):
        locations.check(given)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/root", "s3://bucket/root/r/artifacts"),
        ("/mnt/x", "/mnt/x/r/artifacts"),
        ("mlflow-artifacts:/7", "mlflow-artifacts:/7/r/artifacts"),
        ("mysql://u:p@h:3/db?driver=d", "mysql://u:p@h:3/db/r/artifacts?driver=d"),
    ],
)
def test_below(location: str, expected: str) -> None:
    assert locations.below(location, "r", "artifacts") == expected


@pytest.mark.parametrize(
    ("uri", "folder", "answer"),
    [
        ("file:///mnt/x/model", "file:///mnt/x", True),
        ("/mnt/x/model", "file:///mnt/x", True),
        ("file:///mnt/x", "/mnt/x/", True),
        ("file:///mnt/xy", "file:///mnt/x", False),
        ("file:///mnt/x/../y", "file:///mnt/x", False),
        ("file:///mnt/x/%2e%2e/y", "file:///mnt/x", False),
    ],
)
def test_within(uri: str, folder: str, answer: bool) -> None:
    assert locations.within(uri, folder) is answer
