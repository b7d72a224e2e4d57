"""From a registered model to an answer and back: with the real keeper, real proofs, real replicas, the real gateway."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.clock import now_ms
from headway.deployments import loop, service
from headway.deployments.tables import Endpoint, EndpointKey, Revision
from headway.engines import keeper
from headway.errors import Conflict, Forbidden, NotFound, Unprocessable
from tests.deployments.platform import Platform
from tests.modelserver.bundles import constant

ROW = {"inputs": [[1.0]]}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    made = Platform(tmp_path_factory.mktemp("home"))
    try:
        yield made
    finally:
        made.close()


def ask(platform: Platform, name: str, key: str, body: Any = ROW) -> tuple[int, Any]:
    link = http.client.HTTPConnection("127.0.0.1", platform.host.settings.gateway_port, timeout=20)
    try:
        link.request(
            "POST", f"/endpoints/demo/{name}/invocations", json.dumps(body), {"Authorization": f"Bearer {key}"}
        )
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        link.close()


def shares(platform: Platform, name: str = "churn") -> dict[int, tuple[str, int]]:
    return {r.number: (r.state, r.weight) for r in platform.endpoint(name).revisions}


def test_the_life_of_an_endpoint(platform: Platform, tmp_path: Path) -> None:
    # the first revision is proved and takes all
    first = platform.deploy(platform.version(constant(tmp_path / "b1", 1.0)))
    row = platform.settled(first)
    assert (row.state, row.reason) == ("live", "")
    assert json.loads(row.verdict)["examples"] == 3
    with platform.host.database.write() as db:
        endpoint = service.get(db, platform.ada, platform.project_, "churn")
        key, secret = service.create_key(db, platform.ada, endpoint, "a shop")
    platform.until(lambda: ask(platform, "churn", secret)[0] == 200, "the key")
    assert ask(platform, "churn", secret) == (200, {"predictions": [1.0]})
    # the second is a canary, then it is promoted
    second = platform.deploy(platform.version(constant(tmp_path / "b2", 2.0)), canary=25)
    assert platform.settled(second).state == "live"
    assert shares(platform) == {1: ("live", 7500), 2: ("live", 2500)}
    platform.until(lambda: 2.0 in [ask(platform, "churn", secret)[1]["predictions"][0] for _ in range(8)], "the canary")
    with platform.host.database.write() as db:
        service.promote(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn"))
    platform.until(
        lambda: {ask(platform, "churn", secret)[1]["predictions"][0] for _ in range(8)} == {2.0}, "the promotion"
    )
    # the third takes all at once; the first is not kept warm any more
    third = platform.deploy(platform.version(constant(tmp_path / "b3", 3.0)))
    assert platform.settled(third).state == "live"
    platform.until(lambda: ask(platform, "churn", secret)[1] == {"predictions": [3.0]}, "the third")
    assert shares(platform) == {1: ("retired", 0), 2: ("live", 0), 3: ("live", 10000)}
    platform.until(lambda: platform_processes(platform, first) == {"exited"}, "the first one's replica to end")
    # back to the second, which is warm, and to the first, which must start again
    with platform.host.database.write() as db:
        assert service.rollback(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn")).number == 2
    platform.until(lambda: ask(platform, "churn", secret)[1] == {"predictions": [2.0]}, "the second")
    with platform.host.database.write() as db:
        assert service.rollback(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn")).number == 1
    assert ask(platform, "churn", secret)[1] == {"predictions": [2.0]}  # until the first answers
    platform.until(lambda: ask(platform, "churn", secret)[1] == {"predictions": [1.0]}, "the first")
    # a revoked key, and the end
    with platform.host.database.write() as db:
        service.revoke_key(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn"), key.id)
    platform.until(lambda: ask(platform, "churn", secret)[0] == 401, "the key to end")
    with platform.host.database.write() as db:
        service.remove(db, platform.ada, service.get(db, platform.ada, platform.project_, "churn"))

    def gone() -> bool:
        with platform.host.database.read() as db:
            return (
                not db.query(Endpoint).count() and not db.query(Revision).count() and not db.query(EndpointKey).count()
            )

    platform.until(gone, "the endpoint to go")
    assert not list(platform.host.settings.path("deployments").iterdir())


def platform_processes(platform: Platform, revision_id: str) -> set[str]:
    with platform.host.database.read() as db:
        return {p.state for p in keeper.of_owner(db, "replica", revision_id)}


def test_a_bad_bundle_never_goes_live(platform: Platform, tmp_path: Path) -> None:
    good = platform.deploy(platform.version(constant(tmp_path / "b1", 1.0)), name="guarded")
    assert platform.settled(good).state == "live"
    folder = constant(tmp_path / "b2", 2.0, "not_installed_anywhere")
    row = platform.settled(platform.deploy(platform.version(folder), name="guarded"))
    assert (row.state, row.weight, row.failed_in) == ("failed", 0, "proving")
    assert "'not_installed_anywhere'" in row.reason
    assert shares(platform, "guarded") == {1: ("live", 10000), 2: ("failed", 0)}
    assert platform_processes(platform, row.id) == set()
    changed = constant(tmp_path / "b3", 3.0)
    examples = json.loads((changed / "headway_examples.json").read_text())
    examples["predictions"][1] = 4.0
    (changed / "headway_examples.json").write_text(json.dumps(examples))
    row = platform.settled(platform.deploy(platform.version(changed), name="guarded"))
    assert "is not the one that was saved" in row.reason
    assert row.failed_in == "asked"


def test_an_environment_that_can_not_be_asked_for_fails_the_revision(platform: Platform, tmp_path: Path) -> None:
    folder = constant(tmp_path / "b", 1.0)
    manifest = json.loads((folder / "MLmodel").read_text())
    (folder / "requirements.txt").write_text("git+https://example.org/x\n")
    manifest["metadata"]["headway"]["files"].pop("requirements.txt")
    (folder / "MLmodel").write_text(json.dumps(manifest))
    row = platform.settled(platform.deploy(platform.version(folder), name="unbuilt"))
    assert (row.state, row.failed_in) == ("failed", "asked")
    assert row.reason


def test_a_replica_that_is_killed_comes_back(platform: Platform, tmp_path: Path) -> None:
    revision_id = platform.deploy(platform.version(constant(tmp_path / "b", 1.0)), name="steady")
    assert platform.settled(revision_id).state == "live"
    with platform.host.database.write() as db:
        _, secret = service.create_key(
            db, platform.ada, service.get(db, platform.ada, platform.project_, "steady"), "k"
        )
    platform.until(lambda: ask(platform, "steady", secret)[0] == 200, "the key")
    folder = platform.host.settings.path("deployments", revision_id, "replica-0")
    os.kill(json.loads((folder / "process.json").read_text())["pid"], signal.SIGKILL)

    def restarted() -> bool:
        with platform.host.database.read() as db:
            [process] = keeper.of_owner(db, "replica", revision_id)
            return process.attempt == 2 and process.state == "running"

    platform.until(restarted, "the replica")
    platform.until(lambda: ask(platform, "steady", secret)[0] == 200, "an answer")


def test_what_is_deployed_twice_in_a_row_ends_with_the_newest(platform: Platform, tmp_path: Path) -> None:
    one, two = (platform.version(constant(tmp_path / f"b{v}", v), "twice") for v in (1.0, 2.0))
    first, second = platform.deploy(one), platform.deploy(two)
    assert platform.settled(second).state == "live"
    assert platform.revision(first).state == "retired"
    assert shares(platform, "twice")[2] == ("live", 10000)


def test_a_deployment_can_be_given_up(platform: Platform, tmp_path: Path) -> None:
    revision_id = platform.deploy(platform.version(constant(tmp_path / "b", 1.0)), name="dropped")
    with platform.host.database.write() as db:
        service.cancel(db, platform.ada, service.get(db, platform.ada, platform.project_, "dropped"), 1)
    platform.step()
    assert (platform.revision(revision_id).state, platform.revision(revision_id).reason) == (
        "failed",
        "Ada cancelled it.",
    )
    with platform.host.database.write() as db, pytest.raises(Conflict, match="nothing to cancel"):
        service.cancel(db, platform.ada, service.get(db, platform.ada, platform.project_, "dropped"), 1)


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "Has Spaces"},
        {"name": "-x"},
        {"name": "x" * 64},
        {"name": "../x"},
        {"canary": -1},
        {"canary": 101},
        {"replicas": 0},
        {"replicas": 99},
    ],
)
def test_what_can_not_be_deployed_is_refused_and_leaves_nothing(
    platform: Platform, tmp_path: Path, asked: dict[str, Any]
) -> None:
    version = platform.version(constant(tmp_path / "b", 1.0), "refused")
    with pytest.raises(Unprocessable):
        platform.deploy(version, **asked)
    with pytest.raises(NotFound):
        platform.endpoint("refused")


def test_who_may(platform: Platform, tmp_path: Path) -> None:
    version = platform.version(constant(tmp_path / "b", 1.0), "mine")
    for who, error in ((platform.vera, Forbidden), (platform.mallory, NotFound), (platform.user("xenia"), Forbidden)):
        with pytest.raises(error):
            platform.deploy(version, who=who)
    platform.deploy(version, who=platform.eddie)
    assert platform.endpoint("mine", platform.vera).name == "mine"
    with pytest.raises(NotFound):
        platform.endpoint("mine", platform.mallory)
    with platform.host.database.write() as db:
        endpoint = service.get(db, platform.vera, platform.project_, "mine")
        for verb in (service.promote, service.rollback, service.remove):
            with pytest.raises(Forbidden):
                verb(db, platform.vera, endpoint)
        with pytest.raises(Forbidden):
            service.create_key(db, platform.vera, endpoint, "k")
        service.remove(db, platform.ada, endpoint)


def test_the_snapshot_is_written_only_when_something_changed(platform: Platform) -> None:
    platform.step()
    path = loop.routes_file(platform.host)
    before = path.stat().st_ino
    loop.write_routes(platform.host, now_ms())
    assert path.stat().st_ino == before
    assert path.stat().st_mode & 0o077 == 0
    assert (path.parent / "key").stat().st_mode & 0o077 == 0
    assert (path.parent / "key").read_text() not in path.read_text()
