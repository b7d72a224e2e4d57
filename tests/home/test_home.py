"""Home, the project's page and Cmd-K, over what really happened."""

import json
import re

import pytest
from sqlalchemy import update

from headway.clock import now_ms
from headway.deployments.tables import Revision
from headway.environments.tables import Environment
from headway.home import inbox, service
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.runs.tables import Execution
from headway.tracking import service as tracking
from tests.scene import Scene
from tests.world import World


def seen(scene: Scene, role: str = "owner") -> inbox.Home:
    with scene.world.host.database.read() as db:
        return inbox.home(db, scene.world.host, scene.people[role])


def words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text.split("<main")[-1]))


def finish(scene: Scene, status: str = "finished", cause: str = "", took_ms: int = 60_000) -> None:
    """End the scene's run, as the platform does."""
    run_id = scene.objects["run_id"]
    with scene.world.host.database.write() as db:
        moment = now_ms()
        db.execute(
            update(Execution)
            .where(Execution.run_id == run_id)
            .values(status=status, cause=cause, started_at=moment - took_ms, ended_at=moment)
        )
        tracking.end_run(db, run_id, "FINISHED" if status == "finished" else "FAILED", moment, cause)


def test_a_queued_run_is_what_runs_now(scene: Scene) -> None:
    found = seen(scene)
    assert [(line.state, line.path) for line in found.running] == [("queued", "train.py")]
    assert found.recent == []
    page = words(scene.world.client(scene.people["owner"], page=True).get("/").text)
    assert "queued" in page


def test_a_finished_run_is_where_one_left_off(scene: Scene) -> None:
    finish(scene)
    found = seen(scene)
    assert (found.running, [line.state for line in found.recent]) == ([], ["finished"])
    assert not [need for need in found.needs if "train" in need.title]


@pytest.mark.parametrize("status", ["failed", "timed_out", "out_of_memory", "killed", "lost"])
def test_a_run_that_went_wrong_needs_somebody(scene: Scene, status: str) -> None:
    finish(scene, status, "ValueError: no such column")
    need = next(need for need in seen(scene).needs if scene.objects["run_id"] in need.url)
    assert (need.state, need.text) == (status, "ValueError: no such column")
    page = scene.world.client(scene.people["owner"], page=True).get("/").text
    assert "no such column" in page


def test_a_cancelled_run_needs_nobody(scene: Scene) -> None:
    finish(scene, "cancelled")
    assert not [need for need in seen(scene).needs if scene.objects["run_id"] in need.url]


def test_a_failure_that_was_followed_by_a_success_is_settled(scene: Scene) -> None:
    finish(scene, "failed", "boom")
    assert len(seen(scene).needs) == 1
    owner = scene.people["owner"]
    with scene.world.host.database.write() as db:
        later = tracking.create_run(
            db,
            owner,
            project_id=scene.project.id,
            experiment_id=int(scene.objects["experiment_id"]),
            name="again",
            tags={},
        )
        tracking.end_run(db, later.uuid, "FINISHED", now_ms())
    assert seen(scene).needs == []


def test_a_revision_that_did_not_go_live_needs_somebody(scene: Scene) -> None:
    with scene.world.host.database.write() as db:
        db.execute(update(Revision).values(state="failed", reason="No module named 'churnlib'", weight=0))
    needs = seen(scene).needs
    assert [need.text for need in needs if need.url.endswith("/endpoints/churn")] == ["No module named 'churnlib'"]


def test_an_environment_that_could_not_be_built_needs_somebody(scene: Scene) -> None:
    with scene.world.host.database.write() as db:
        db.execute(update(Environment).values(state="failed", message="There is no package 'nmpy'."))
    assert "There is no package 'nmpy'." in [need.text for need in seen(scene).needs]


def test_requests_that_fail_need_somebody(scene: Scene) -> None:
    home = scene.world.host.settings.home
    (home / "gateway").mkdir(exist_ok=True)
    with scene.world.host.database.read() as db:
        endpoint = inbox.look.endpoints(db, scene.world.host, [scene.project])[0].endpoint
    minute = now_ms() // 60_000
    counted = {"1": {"statuses": {"200": 4, "500": 6}, "minutes": [[minute, 10, 0, 6, 1, 2]]}}
    (home / "gateway" / "stats.json").write_text(json.dumps({"counters": {endpoint.id: counted}}))
    found = seen(scene)
    assert "6 of 10 in the last hour" in [need.text for need in found.needs]
    assert next(step for step in found.steps if "prediction" in step.title).done


def test_progress_is_judged_by_earlier_runs(scene: Scene) -> None:
    finish(scene, took_ms=100_000)
    owner, run_id = scene.people["owner"], scene.objects["run_id"]
    with scene.world.host.database.read() as db:
        line = inbox.look.with_expectations(db, inbox.look.runs(db, [scene.project], limit=1))[0]
    assert line.run.uuid == run_id
    assert line.expected_ms == 100_000
    running = inbox.look.RunLine(line.run, line.project, "", "running", "", "train.py", 100_000)
    started = line.run.start_time or 0
    assert running.percent(started + 50_000) == 50.0
    assert running.percent(started + 500_000) == 95.0  # never done before it is
    assert inbox.look.RunLine(line.run, line.project, "", "running", "", "train.py").percent(started) is None
    assert owner


def test_the_first_hour_ticks_itself(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada)

    def done() -> list[bool]:
        with world.host.database.read() as db:
            return [step.done for step in inbox.home(db, world.host, ada).steps]

    assert done() == [False] * 5
    with world.host.database.write() as db:
        experiment = tracking.ensure_experiment(db, project.id, "train.ipynb")
        run = tracking.create_run(db, ada, project_id=project.id, experiment_id=experiment.id, name="r", tags={})
        tracking.end_run(db, run.uuid, "FINISHED", now_ms())
    assert done() == [True, False, False, False, False]
    world.project("Second", ada, viewer="vera")
    assert done()[-1]


def test_without_a_project_home_offers_the_first_thing(world: World) -> None:
    page = world.client(world.user("ada"), page=True).get("/")
    assert page.status_code == 200
    assert "Make your first project" in page.text
    assert 'href="/new-project"' in page.text


def test_an_expert_sees_no_code(scene: Scene) -> None:
    client = scene.world.client(scene.people["expert"], page=True)
    page = client.get("/")
    assert page.status_code == 200
    assert "train.py" not in page.text
    assert client.get("/p/churn").status_code == 403
    assert client.get("/search", params={"q": "train"}).json()["items"] == []


def test_the_projects_page(scene: Scene) -> None:
    finish(scene)
    for role in ("viewer", "editor", "owner", "admin"):
        page = scene.world.client(scene.people[role], page=True).get("/p/churn")
        assert page.status_code == 200
        text = words(page.text)
        assert "champion: 1" in text
        assert "train.py" in text
        assert "loss" in text
        assert ("New run" in text) is (role != "viewer")


def test_search_finds_what_there_is_and_nothing_else(scene: Scene) -> None:
    def kinds(role: str, text: str, **more: str) -> set[str]:
        items = scene.world.client(scene.people[role]).get("/search", params={"q": text} | more).json()["items"]
        return {item["kind"] for item in items}

    assert kinds("viewer", "churn") == {"project", "model", "endpoint"}
    assert kinds("viewer", "train") == {"experiment", "schedule"}
    assert kinds("viewer", "note") == {"notebook"}
    assert kinds("viewer", scene.objects["run_id"][:8]) == {"run"}
    assert kinds("outsider", "churn") == set()
    assert kinds("outsider", scene.objects["run_id"]) == set()
    assert kinds("viewer", "churn", kind="model") == {"model"}
    assert kinds("owner", "", project="churn") == {"action", "project"}


def test_actions_are_those_one_may_do(scene: Scene) -> None:
    def actions(role: str) -> set[str]:
        items = scene.world.client(scene.people[role]).get("/search", params={"project": "churn"}).json()["items"]
        return {item["label"] for item in items if item["kind"] == "action"}

    assert {"New run", "Deploy a model", "Invite someone"} <= actions("owner")
    assert actions("viewer") & {"New run", "Deploy a model", "Invite someone", "Upload files"} == set()


def test_every_address_that_search_gives_is_there(scene: Scene) -> None:
    client = scene.world.client(scene.people["owner"], page=True)
    items = [
        item
        for text in ("churn", "train", "note", "")
        for item in client.get("/search", params={"q": text, "project": "churn"}).json()["items"]
    ]
    assert len(items) > 8
    for url in {item["url"] for item in items}:
        assert client.get(url).status_code == 200, url


def test_every_link_of_home_and_project_is_there(scene: Scene) -> None:
    finish(scene)
    client = scene.world.client(scene.people["owner"], page=True)
    urls = {url for path in ("/", "/p/churn") for url in re.findall(r'<a[^>]*href="(/[^"#]*)"', client.get(path).text)}
    assert len(urls) > 15
    missing = [url for url in sorted(urls) if client.get(url.replace("&amp;", "&")).status_code not in (200, 303)]
    assert not missing


def test_the_first_start_makes_the_sample_once(world: World) -> None:
    service.first_start(world.host)
    with world.host.database.read() as db:
        project = db.query(Project).one()
    folder = projects.folder(world.host, project)
    assert {"train.ipynb", "train.py"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.rglob("__pycache__"))
    tracking_words = ("mlflow", "import headway", "wandb")
    assert not [w for w in tracking_words for path in folder.glob("train.*") if w in path.read_text()]
    (folder / "train.py").write_text("mine")
    service.first_start(world.host)
    assert (folder / "train.py").read_text() == "mine"
    with world.host.database.read() as db:
        assert db.query(Project).count() == 1


def test_no_sample_where_none_is_wanted(tmp_path: object, world: World) -> None:
    from tests.world import world as made

    with made(world.host.settings.home / "other", sample=False) as other:
        service.first_start(other.host)
        with other.host.database.read() as db:
            assert db.query(Project).count() == 0


def test_the_machine_page_and_its_checks(scene: Scene) -> None:
    client = scene.world.client(scene.people["admin"], page=True)
    page = client.get("/settings/machine")
    assert page.status_code == 200
    assert "Settings in force" in page.text
    assert (
        "Settings in force" not in scene.world.client(scene.people["viewer"], page=True).get("/settings/machine").text
    )
    (scene.world.host.settings.home / "key").chmod(0o644)
    assert "open to other users" in client.get("/settings/machine").text


def test_the_audit_log_of_owners_and_administrators(scene: Scene) -> None:
    def subjects(role: str) -> set[str]:
        client = scene.world.client(scene.people[role])
        return {line["verb"] for line in client.get("/api/v1/audit").json()["lines"]}

    assert "project.create" in subjects("owner")
    assert "token.create" not in subjects("owner")  # the server's own lines are for administrators
    assert {"project.create", "token.create"} <= subjects("admin")
    assert subjects("editor") == subjects("viewer") == set()
    assert scene.world.client(scene.people["admin"]).get("/api/v1/audit/verify").json() == {
        "intact": True,
        "broken_at": None,
    }
