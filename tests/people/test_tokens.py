"""Tokens and sessions: what they open, and that they close at once."""

import base64

import pytest

from headway.clock import now_ms
from headway.errors import Forbidden, NotFound, Unprocessable
from headway.people import cache, guard, service, tokens
from headway.people.rules import SCOPES, Who
from tests.world import World


def test_three_ways_to_send_a_token(world: World) -> None:
    ada = world.user("ada")
    secret = world.token(ada)
    basic = base64.b64encode(f"anybody:{secret}".encode()).decode()
    for header in (f"Bearer {secret}", f"bearer  {secret}", f"Basic {basic}"):
        answer = world.client().get("/api/v1/me", headers={"authorization": header})
        assert (answer.status_code, answer.json()["name"], answer.json()["kind"]) == (200, "ada", "token")


@pytest.mark.parametrize(
    "header",
    ["Bearer hw_unknown", "Bearer ", "Bearer", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(),
     "Basic " + base64.b64encode(b"\xff:\xfe").decode(), "Digest x", "hw_x", ""],
)  # fmt: skip
def test_a_bad_token_is_401_even_beside_a_good_cookie(world: World, header: str) -> None:
    answer = world.client(world.user("ada")).get("/api/v1/me", headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "UNAUTHENTICATED"
    assert "hw_unknown" not in answer.text


def test_a_token_in_the_address_is_ignored(world: World) -> None:
    secret = world.token(world.user("ada"))
    for query in (f"token={secret}", f"access_token={secret}", f"api_key={secret}"):
        assert world.client().get(f"/api/v1/me?{query}").status_code == 401


def test_a_revoked_token_is_out_at_once(world: World) -> None:
    ada = world.user("ada")
    client = world.client(token=world.token(ada))
    assert client.get("/api/v1/me").status_code == 200
    mine = world.client(ada)
    token_id = mine.get("/api/v1/tokens").json()["tokens"][0]["id"]
    assert mine.delete(f"/api/v1/tokens/{token_id}").status_code == 200
    assert client.get("/api/v1/me").status_code == 401
    assert mine.delete(f"/api/v1/tokens/{token_id}").status_code == 404


def test_somebody_elses_token_is_404(world: World) -> None:
    ada, bob = world.user("ada"), world.user("bob")
    world.token(bob)
    with world.host.database.read() as db:
        token_id = tokens.listed(db, bob)[0].id
    assert world.client(ada).delete(f"/api/v1/tokens/{token_id}").status_code == 404


def test_a_token_ends_on_its_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = world.token(world.user("ada"), expires_at=now_ms() + 1000)
    with world.host.database.read() as db:
        assert tokens.holder(db, secret) is not None
        later = now_ms() + 2000
        monkeypatch.setattr(tokens, "now_ms", lambda: later)
        assert tokens.holder(db, secret) is None


def test_a_runs_token_dies_with_its_attempt(world: World) -> None:
    ada = world.user("ada")
    project, other = world.project("Churn", ada), world.project("Other", ada)
    with world.host.database.write() as db:
        secret = tokens.create_for_run(db, ada.user_id, project_id=project.id, owner="run1.a1")
        twin = tokens.create_for_run(db, ada.user_id, project_id=project.id, owner="run2.a1")
    client = world.client(token=secret)
    assert client.get(f"/api/v1/projects/{project.slug}").status_code == 200
    assert client.get(f"/api/v1/projects/{other.slug}").status_code == 404
    assert client.post("/api/v1/projects", json={"name": "x"}).status_code == 403
    assert client.patch(f"/api/v1/projects/{project.slug}", json={"name": "x"}).status_code == 403
    assert [t["name"] for t in world.client(ada).get("/api/v1/tokens").json()["tokens"]] == []
    with world.host.database.write() as db:
        tokens.revoke_for(db, "run1.a1")
    assert client.get(f"/api/v1/projects/{project.slug}").status_code == 401
    assert world.client(token=twin).get(f"/api/v1/projects/{project.slug}").status_code == 200


@pytest.mark.parametrize(
    ("maker", "asked", "error"),
    [
        (Who("u", "n", kind="token", scopes=SCOPES["read"]), {"scope": "all"}, Forbidden),
        (Who("u", "n", kind="token", scopes=SCOPES["run"]), {"scope": "deploy"}, Forbidden),
        (Who("u", "n", kind="token", project_id="p" * 32), {"scope": "read"}, Forbidden),
        (Who("u", "n", kind="token", project_id="p" * 32), {"scope": "read", "project_id": "q" * 32}, Forbidden),
        (Who("u", "n"), {"scope": "everything"}, Unprocessable),
        (Who("u", "n"), {"scope": "read", "expires_at": 5}, Unprocessable),
    ],
)
def test_a_token_never_makes_a_stronger_one(world: World, maker: Who, asked: dict[str, str], error: type) -> None:
    with pytest.raises(error), world.host.database.write() as db:
        tokens.create(db, maker, "child", **asked)


def test_a_child_ends_no_later_than_its_maker(world: World) -> None:
    ada = world.user("ada")
    ends = now_ms() + 60_000
    with world.host.database.read() as db:
        maker = tokens.holder(db, world.token(ada, expires_at=ends))
    assert maker is not None
    with world.host.database.write() as db:
        row, _ = tokens.create(db, maker[0], "child")
        assert row.expires_at == ends


def test_who_is_shut_out_is_out_at_once(world: World) -> None:
    ada, root = world.user("ada"), world.user("root", admin=True)
    browser, program = world.client(ada), world.client(token=world.token(ada))
    assert browser.get("/api/v1/me").status_code == program.get("/api/v1/me").status_code == 200
    assert world.client(root).patch(f"/api/v1/users/{ada.user_id}", json={"disabled": True}).status_code == 200
    assert browser.get("/api/v1/me").status_code == program.get("/api/v1/me").status_code == 401
    with world.host.database.write() as db, pytest.raises(NotFound):
        tokens.create_for_run(db, ada.user_id, project_id="p" * 32, owner="run")


def test_no_longer_admin_at_once(world: World) -> None:
    ann, root = world.user("ann", admin=True), world.user("root", admin=True)
    client = world.client(ann)
    assert client.get("/api/v1/users").status_code == 200
    world.client(root).patch(f"/api/v1/users/{ann.user_id}", json={"admin": False})
    assert client.get("/api/v1/users").status_code == 403


def test_an_answer_from_before_a_revocation_is_not_kept(world: World) -> None:
    ada = world.user("ada")
    secret = world.token(ada)
    memory = cache.of(world.host.database.engine)
    before = memory.generation
    with world.host.database.write() as db:
        tokens.revoke_all(db, ada.user_id)
    memory.remember("key", ada, before)  # a look-up that began before the commit ends after it
    assert memory.recall("key") is None
    assert world.client(token=secret).get("/api/v1/me").status_code == 401


def test_a_savepoint_is_no_commit(world: World) -> None:
    ada = world.user("ada")
    memory = cache.of(world.host.database.engine)
    world.token(ada)
    with world.host.database.write() as db:
        with db.begin_nested():
            tokens.revoke_all(db, ada.user_id)
        memory.remember("key", ada, memory.generation)  # somebody looks before the commit, and sees the old state
        assert memory.recall("key") is not None
    assert memory.recall("key") is None
    world.token(ada)
    memory.remember("key", ada, memory.generation)
    world.host.database.group(lambda db: tokens.revoke_all(db, ada.user_id))
    assert memory.recall("key") is None


def test_the_machines_token_outlives_a_restart_but_not_its_revocation(world: World) -> None:
    with world.host.database.write() as db:
        first = service.machine_token(db)
    with world.host.database.write() as db:
        assert service.machine_token(db, first) == first
    answer = world.client(token=first).get("/api/v1/me").json()
    assert answer["admin"]
    with world.host.database.write() as db:
        second = service.machine_token(db, "hw_made_up")
    assert world.client(token=first).get("/api/v1/me").status_code == 401
    assert world.client(token=second).get("/api/v1/users").status_code == 200


def test_two_servers_on_one_database_have_a_token_each(world: World) -> None:
    with world.host.database.write() as db:
        one, two = service.machine_token(db, place="a:/home"), service.machine_token(db, place="b:/home")
        assert service.machine_token(db, one, place="a:/home") == one
    for token in (one, two):
        assert world.client(token=token).get("/api/v1/me").status_code == 200


def test_no_other_token_becomes_the_machines(world: World) -> None:
    other = world.token(world.user("ada"))
    with world.host.database.write() as db:
        assert service.machine_token(db, other) != other


def test_last_use_is_kept(world: World) -> None:
    ada = world.user("ada")
    assert world.client(token=world.token(ada)).get("/api/v1/me").status_code == 200
    world.host.database.group(lambda db: None)  # whatever was queued before is committed now
    with world.host.database.read() as db:
        assert tokens.listed(db, ada)[0].used_at is not None


def test_secrets_are_nowhere_in_the_database(world: World) -> None:
    ada = world.user("ada")
    secrets = [world.token(ada), world.session(ada)]
    with world.host.database.write() as db:
        secrets.append(service.sign_in_link(db, world.host).rpartition("=")[2])
        db.connection().exec_driver_sql("SELECT 1")
    world.host.database.engine.dispose()
    stored = b"".join(path.read_bytes() for path in world.host.settings.home.glob("headway.db*"))
    assert len(stored) > 1000
    assert not [secret for secret in secrets if secret.encode() in stored]


def test_guard_says_why(world: World) -> None:
    ada, bob = world.user("ada"), world.user("bob")
    project = world.project("Churn", ada, viewer="bob")
    with world.host.database.read() as db:
        with pytest.raises(Forbidden, match="Your role here is viewer") as refused:
            guard.check(db, bob, "deploy", project.id)
        assert "editor or owner" in refused.value.hint
        with pytest.raises(NotFound):
            guard.check(db, world.user("eve"), "view", project.id)
        with pytest.raises(Forbidden, match="Only an administrator"):
            guard.check(db, ada, "own", None)
        guard.check_any(db, bob, ("own", "view"), project.id)
