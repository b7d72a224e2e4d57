"""Coming in: links, passwords, invitations; staying out: guessing, fixation, foreign sites."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from headway.clock import now_ms
from headway.errors import Conflict
from headway.people import members, passwords, service, sessions
from headway.people.tables import Link, User, UserSession
from tests.world import World

PASSWORD = "correct horse battery"
HASH = passwords.hash_password(PASSWORD)


def secret_of(url: str) -> str:
    return next(iter(parse_qs(urlsplit(url).query).values()))[0]


def owner_link(world: World, *, welcomed: bool) -> str:
    with world.host.database.write() as db:
        service.ensure_owner(db).welcomed_at = now_ms() if welcomed else None
        return secret_of(service.sign_in_link(db, world.host))


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" content="([^"]*)"', page)
    assert found
    return found[1]


def test_the_first_start(world: World) -> None:
    token = owner_link(world, welcomed=False)
    browser = world.client(page=True)
    page = browser.get(f"/welcome?token={token}")
    assert page.status_code == 200
    assert token in page.text
    assert browser.get("/settings").status_code == 303  # looking at it does not sign in
    bad = browser.post("/welcome", data={"token": token, "name": "a b", "full_name": "Ada", "password": "short"})
    assert bad.status_code == 422
    assert "10 to 1024" in bad.text
    done = browser.post("/welcome", data={"token": token, "name": "ada", "full_name": "Ada <b>", "password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    home = browser.get("/settings")
    assert home.status_code == 200
    assert "Ada &lt;b&gt;" in home.text
    assert browser.post("/welcome", data={"token": token, "name": "eve"}).status_code == 404
    again = world.client(page=True)
    assert again.post("/login", data={"name": "ada", "password": PASSWORD}).status_code == 303
    assert again.get("/people").status_code == 200  # the first user is an administrator


def test_a_mistake_in_the_form_does_not_use_up_the_link(world: World) -> None:
    token = owner_link(world, welcomed=False)
    browser = world.client(page=True)
    assert browser.post("/welcome", data={"token": token, "name": "!!"}).status_code == 422
    assert browser.post("/welcome", data={"token": token, "name": "ada"}).status_code == 303


def test_a_later_start_signs_in_at_once_and_once(world: World) -> None:
    token = owner_link(world, welcomed=True)
    looking = world.client(page=True)
    assert looking.get(f"/welcome?token={token}", headers={"sec-purpose": "prefetch;prerender"}).status_code == 503
    first, second = world.client(page=True), world.client(page=True)
    assert first.get(f"/welcome?token={token}").headers["location"] == "/"
    assert first.get("/settings").status_code == 200
    assert first.get(f"/welcome?token={token}").headers["location"] == "/"  # a reload of the page
    used = second.get(f"/welcome?token={token}")
    assert used.status_code == 404
    assert "used already" in used.text


@pytest.mark.parametrize("token", ["", "x", "hw_x", "%00", "é" * 500])
def test_a_link_that_was_never_made(world: World, token: str) -> None:
    assert world.client(page=True).get("/welcome", params={"token": token}).status_code == 404
    assert world.client(page=True).get("/join", params={"invitation": token}).status_code == 404
    assert world.client(page=True).post("/welcome", data={"token": token, "name": "eve"}).status_code == 404
    assert (
        world.client(page=True)
        .post("/join", data={"invitation": token, "name": "eve", "password": PASSWORD})
        .status_code
        == 404
    )


def test_a_link_grows_old(world: World) -> None:
    token = owner_link(world, welcomed=True)
    with world.host.database.write() as db:
        db.query(Link).update({"expires_at": now_ms() - 1})
    assert world.client(page=True).get(f"/welcome?token={token}").status_code == 404


def test_a_wrong_password_and_an_unknown_name_answer_the_same(world: World) -> None:
    world.user("ada", password_hash=HASH)
    world.user("bob")  # has no password: comes in by links only
    pages = []
    for name in ("ada", "bob", "nobody"):
        answer = world.client(page=True).post("/login", data={"name": name, "password": "wrong password"})
        assert answer.status_code == 401
        pages.append(answer.text.replace(f'value="{name}"', ""))
    assert len({re.sub(r"u\d+", "", page) for page in pages}) == 1


def test_guessing_is_slowed_down(world: World) -> None:
    world.user("ada", password_hash=HASH)
    world.user("bob", password_hash=HASH)
    client = world.client(page=True)
    codes = [client.post("/login", data={"name": "ada", "password": f"guess {n} guess"}).status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    refused = client.post("/login", data={"name": "ada", "password": PASSWORD})
    assert refused.status_code == 429  # even the right one, or guessing would go on
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert client.post("/login", data={"name": "bob", "password": PASSWORD}).status_code == 303


def test_a_session_is_always_a_fresh_one(world: World) -> None:
    ada = world.user("ada", password_hash=HASH)
    planted = world.client(page=True)
    planted.cookies.set(sessions.PLAIN_COOKIE, "planted-by-a-stranger", domain="127.0.0.1")
    answer = planted.post("/login", data={"name": "ada", "password": PASSWORD})
    secret = answer.cookies[sessions.PLAIN_COOKIE]
    assert secret != "planted-by-a-stranger"
    assert len(secret) >= 43
    before = world.session(ada)
    browser = world.client(page=True)
    browser.cookies.set(sessions.PLAIN_COOKIE, before, domain="127.0.0.1")
    browser.headers["x-csrf-token"] = "not looked at: signing in needs no session"
    browser.post("/login", data={"name": "ada", "password": PASSWORD})
    with world.host.database.read() as db:
        assert sessions.holder(db, before) is None  # the one it had is over


def test_the_cookies_flags(world: World) -> None:
    world.user("ada", password_hash=HASH)
    plain = world.client(page=True).post("/login", data={"name": "ada", "password": PASSWORD}).headers["set-cookie"]
    assert plain.startswith("headway=")
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Path=/" in plain
    assert "Domain" not in plain
    secure = TestClient(world.app, base_url="https://127.0.0.1:8640", follow_redirects=False)
    answer = secure.post("/login", data={"name": "ada", "password": PASSWORD}).headers
    assert answer["set-cookie"].startswith("__Host-headway=")
    assert "Secure" in answer["set-cookie"]
    assert answer["strict-transport-security"]


def test_a_plain_cookie_is_nothing_over_https(world: World) -> None:
    """A network attacker can plant a cookie over http; over https only the `__Host-` one counts."""
    ada = world.user("ada")
    client = TestClient(world.app, base_url="https://127.0.0.1:8640", follow_redirects=False)
    client.cookies.set(sessions.PLAIN_COOKIE, world.session(ada))
    assert client.get("/api/v1/me").status_code == 401


def test_signing_out(world: World) -> None:
    ada = world.user("ada")
    browser, other = world.client(ada, page=True), world.client(ada)
    assert browser.get("/settings").status_code == 200
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/settings").status_code == 303
    assert other.get("/api/v1/me").status_code == 200


def test_signing_out_everywhere_else(world: World) -> None:
    ada = world.user("ada")
    browser, other = world.client(ada, page=True), world.client(ada)
    assert other.get("/api/v1/me").status_code == 200
    assert browser.post("/settings/sign-out-others").status_code == 303
    assert other.get("/api/v1/me").status_code == 401
    assert browser.get("/settings").status_code == 200


def test_a_session_ends_on_its_day(world: World) -> None:
    ada = world.user("ada")
    secret = world.session(ada)
    with world.host.database.write() as db:
        assert sessions.holder(db, secret) is not None
        db.query(UserSession).update({"expires_at": now_ms() - 1})
        assert sessions.holder(db, secret) is None


def test_changing_the_password(world: World) -> None:
    ada = world.user("ada", password_hash=HASH)
    browser, other = world.client(ada, page=True), world.client(ada)
    change = {"old": PASSWORD, "new": "a better password", "again": "a better password"}
    assert browser.post("/settings/password", data=change | {"old": "wrong wrong"}).status_code == 422
    assert browser.post("/settings/password", data=change | {"again": "other"}).status_code == 422
    assert browser.post("/settings/password", data=change | {"new": "short", "again": "short"}).status_code == 422
    assert other.get("/api/v1/me").status_code == 200
    assert browser.post("/settings/password", data=change).status_code == 303
    assert other.get("/api/v1/me").status_code == 401
    assert browser.get("/settings").status_code == 200
    stranger = world.client(page=True)
    assert stranger.post("/login", data={"name": "ada", "password": PASSWORD}).status_code == 401
    assert stranger.post("/login", data={"name": "ada", "password": "a better password"}).status_code == 303


def test_tokens_cannot_touch_the_account(world: World) -> None:
    client = world.client(token=world.token(world.user("ada")))
    for path in ("/settings/password", "/settings/profile", "/settings/sign-out-others", "/settings/tokens"):
        assert client.post(path, data={}).status_code == 403


def test_an_invitation_makes_a_member_once(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada)
    answer = world.client(ada).post(
        f"/api/v1/projects/{project.slug}/invitations", json={"role": "editor", "note": "Bob"}
    )
    assert answer.status_code == 201
    secret = secret_of(answer.json()["url"])
    stranger = world.client(page=True)
    page = stranger.get(f"/join?invitation={secret}")
    assert page.status_code == 200
    assert "Ada" in page.text
    weak = stranger.post("/join", data={"invitation": secret, "name": "bob", "password": "short"})
    assert weak.status_code == 422
    taken = stranger.post("/join", data={"invitation": secret, "name": "ada", "password": PASSWORD})
    assert taken.status_code == 409
    assert "already" in taken.text
    done = stranger.post("/join", data={"invitation": secret, "name": "bob", "full_name": "Bob", "password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    assert stranger.get(f"/p/{project.slug}/people").status_code == 200
    assert world.client(page=True).get(f"/join?invitation={secret}").status_code == 404
    roles = {
        m["name"]: m["role"]
        for m in world.client(ada).get(f"/api/v1/projects/{project.slug}/members").json()["members"]
    }
    assert roles == {"ada": "owner", "bob": "editor"}


def test_who_is_signed_in_joins_with_a_button(world: World) -> None:
    ada, bob = world.user("ada"), world.user("bob")
    project = world.project("Churn", ada)
    with world.host.database.write() as db:
        secret = secret_of(members.invite(db, ada, world.host, project.id, "viewer"))
    client = world.client(bob, page=True)
    assert "Join as Bob" in client.get(f"/join?invitation={secret}").text
    assert client.post("/join", data={"invitation": secret}).status_code == 303
    assert client.get(f"/p/{project.slug}/people").status_code == 200


def test_an_invitation_never_lowers_a_role(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada, editor="bob")
    with world.host.database.write() as db:
        secret = secret_of(members.invite(db, ada, world.host, project.id, "viewer"))
        bob = db.query(User).filter_by(name="bob").one()
        members.accept(db, bob, secret)
        assert members.roles_of(db, bob.id) == {project.id: "editor"}


def test_a_withdrawn_invitation_is_worth_nothing(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada)
    with world.host.database.write() as db:
        secret = secret_of(members.invite(db, ada, world.host, project.id, "viewer"))
        invitation = members.invitations(db, ada, project.id)[0].id
    client = world.client(ada, page=True)
    assert client.post(f"/p/{project.slug}/people/withdraw", data={"invitation": invitation}).status_code == 303
    assert client.post(f"/p/{project.slug}/people/withdraw", data={"invitation": invitation}).status_code == 404
    assert world.client(page=True).get(f"/join?invitation={secret}").status_code == 404


def test_the_last_owner_stays(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada, editor="bob")
    bob = world.user("bob")
    client = world.client(ada)
    base = f"/api/v1/projects/{project.slug}/members"
    assert client.delete(f"{base}/me").status_code == 409
    assert client.put(f"{base}/{ada.user_id}", json={"role": "viewer"}).status_code == 409
    assert client.put(f"{base}/{bob.user_id}", json={"role": "owner"}).status_code == 200
    assert client.delete(f"{base}/me").status_code == 200
    assert client.get(base).status_code == 404


def test_anybody_may_leave_and_nobody_removes_others_without_right(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada, viewer="vera", editor="bob", expert="eve")
    base = f"/api/v1/projects/{project.slug}/members"
    for name in ("vera", "bob", "eve"):
        client = world.client(world.user(name))
        assert client.delete(f"{base}/{ada.user_id}").status_code == 403
        assert client.delete(f"{base}/me").status_code == 200
    assert world.client(world.user("mallory")).delete(f"{base}/me").status_code == 404


def test_who_is_removed_is_out_with_their_tokens(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada, editor="bob")
    bob = world.user("bob")
    program = world.client(token=world.token(bob, scope="run", project_id=project.id))
    assert program.get(f"/api/v1/projects/{project.slug}").status_code == 200
    world.client(ada).delete(f"/api/v1/projects/{project.slug}/members/{bob.user_id}")
    assert program.get(f"/api/v1/projects/{project.slug}").status_code == 401


def test_the_last_administrator_stays(world: World) -> None:
    root = world.user("root", admin=True)
    with world.host.database.write() as db:
        owner = service.ensure_owner(db)
        service.set_admin(db, root, owner.id, False)
        for refused in (service.set_admin, service.set_disabled):
            with pytest.raises(Conflict, match="last administrator"):
                refused(db, root, root.user_id, refused is service.set_disabled)


def test_a_sign_in_link_for_somebody_else(world: World) -> None:
    root, ada = world.user("root", admin=True), world.user("ada")
    assert world.client(ada).post(f"/api/v1/users/{root.user_id}/sign-in-link").status_code == 403
    url = world.client(root).post(f"/api/v1/users/{ada.user_id}/sign-in-link").json()["url"]
    browser = world.client(page=True)
    browser.get(f"/welcome?token={secret_of(url)}")
    assert "Ada" in browser.get("/settings").text
    page = world.client(root, page=True).post(f"/people/{ada.user_id}/link")
    assert page.status_code == 200
    assert "/welcome?token=" in page.text


def test_csrf_of_a_page_works_in_its_forms(world: World) -> None:
    ada = world.user("ada")
    client = world.client(ada, page=True)
    token = csrf(client.get("/settings").text)
    del client.headers["x-csrf-token"]
    change = {"name": "ada", "full_name": "Ada L"}
    assert client.post("/settings/profile", data=change | {"csrf": token}).status_code == 303
    assert client.post("/settings/profile", data=change | {"csrf": token[:-1] + "x"}).status_code == 403
    assert client.post("/settings/profile", data=change).status_code == 403
