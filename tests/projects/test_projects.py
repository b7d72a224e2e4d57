"""Projects over HTTP: made, found, renamed, archived; their files sent and fetched."""

import pytest

from headway.projects import service
from tests.world import World


def test_a_project_of_ones_own(world: World) -> None:
    ada = world.user("ada")
    client = world.client(ada)
    made = client.post("/api/v1/projects", json={"name": "Churn  Modell", "description": "Wer geht?"})
    assert made.status_code == 201
    assert made.json() | {"id": "", "created_at": 0} == {
        "id": "", "slug": "churn-modell", "name": "Churn Modell", "description": "Wer geht?", "created_at": 0, "archived": False,
        "url": "/p/churn-modell", "keep_deleted_days": 30, "records": True,
    }  # fmt: skip
    assert client.get("/api/v1/projects/churn-modell").json() == made.json()
    assert (world.host.settings.home / "projects" / "churn-modell").is_dir()
    members = client.get("/api/v1/projects/churn-modell/members").json()["members"]
    assert [(m["name"], m["role"]) for m in members] == [("ada", "owner")]


def test_the_same_name_twice(world: World) -> None:
    ada, bob = world.user("ada"), world.user("bob")
    slugs = [
        world.client(who).post("/api/v1/projects", json={"name": "Demo"}).json()["slug"] for who in (ada, bob, ada)
    ]
    assert slugs == ["demo", "demo-2", "demo-3"]


def test_one_sees_what_one_is_in(world: World) -> None:
    ada, bob, root = world.user("ada"), world.user("bob"), world.user("root", admin=True)
    world.project("B of Ada", ada, viewer="bob")
    world.project("A of Ada", ada)
    world.project("Mine", bob)

    def names(who: object, **token: str) -> list[str]:
        with world.host.database.read() as db:
            return [p.name for p in service.visible(db, who)]  # type: ignore[arg-type]

    assert names(ada) == ["A of Ada", "B of Ada"]
    assert names(bob) == ["B of Ada", "Mine"]
    assert names(root) == ["A of Ada", "B of Ada", "Mine"]


def test_a_token_of_one_project_sees_one(world: World) -> None:
    ada = world.user("ada")
    one = world.project("One", ada)
    world.project("Two", ada)
    client = world.client(token=world.token(ada, project_id=one.id))
    assert [p["slug"] for p in client.get("/api/v1/projects").json()["projects"]] == ["one"]
    assert client.get("/api/v1/projects/two").status_code == 404
    assert client.get("/api/v1/projects/two").json() == client.get("/api/v1/projects/three").json()


def test_renaming_keeps_every_address(world: World) -> None:
    ada = world.user("ada")
    world.project("Churn", ada)
    client = world.client(ada, page=True)
    assert client.post("/p/churn/settings", data={"name": "Leavers", "description": "x"}).status_code == 303
    assert client.get("/api/v1/projects/churn").json()["name"] == "Leavers"
    bad = client.post("/p/churn/settings", data={"name": " ", "description": "y"})
    assert bad.status_code == 422
    assert client.get("/api/v1/projects/churn").json()["description"] == "x"


def test_an_archived_project_can_be_read_and_restored(world: World) -> None:
    ada = world.user("ada")
    world.project("Churn", ada, editor="bob")
    client, bob = world.client(ada, page=True), world.client(world.user("bob"))
    assert bob.put("/api/v1/projects/churn/files/a.txt", content=b"a").status_code == 201
    assert client.post("/p/churn/settings/archive", data={"archived": "yes"}).status_code == 303
    assert client.get("/api/v1/projects").json()["projects"] == []
    assert bob.get("/api/v1/projects/churn/files").status_code == 200
    refused = bob.put("/api/v1/projects/churn/files/b.txt", content=b"b")
    assert refused.status_code == 409
    assert "archived" in refused.json()["error"]["message"]
    assert "Churn" in client.get("/").text
    assert client.patch("/api/v1/projects/churn", json={"archived": False}).status_code == 200
    assert bob.put("/api/v1/projects/churn/files/b.txt", content=b"b").status_code == 201


def test_files_there_and_back(world: World) -> None:
    ada = world.user("ada")
    world.project("Churn", ada)
    client = world.client(ada)
    base = "/api/v1/projects/churn/files"
    content = bytes(range(256)) * 5000
    assert client.put(f"{base}/data/ü x.bin", content=content).json() == {"path": "data/ü x.bin", "size": len(content)}
    assert client.get(f"{base}/data/ü x.bin").content == content
    assert [e["name"] for e in client.get(base, params={"path": "data"}).json()["files"]] == ["ü x.bin"]
    assert client.post(f"{base}/move", json={"path": "data/ü x.bin", "to": "y.bin"}).status_code == 200
    assert client.get(f"{base}/data/ü x.bin").status_code == 404
    assert client.delete(f"{base}/y.bin").status_code == 200
    assert client.delete(f"{base}/y.bin").status_code == 404
    assert client.delete(f"{base}/data").status_code == 200
    assert client.get(base).json()["files"] == []


def test_an_empty_file_is_a_file(world: World) -> None:
    ada = world.user("ada")
    world.project("Churn", ada)
    client = world.client(ada)
    assert client.put("/api/v1/projects/churn/files/empty", content=b"").json()["size"] == 0
    assert client.get("/api/v1/projects/churn/files/empty").content == b""


def test_several_files_of_a_form(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada)
    client = world.client(ada, page=True)
    folder = service.folder(world.host, project)
    two = [("files", ("a.txt", b"a")), ("files", ("b.txt", b"b"))]
    answer = client.post("/p/churn/files/upload", data={"path": "data"}, files=two)
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/churn/files?path=data")
    assert sorted(p.name for p in (folder / "data").iterdir()) == ["a.txt", "b.txt"]
    bad = [("files", ("c.txt", b"c")), ("files", ("..", b"d"))]
    assert client.post("/p/churn/files/upload", data={"path": "data"}, files=bad).status_code == 400
    assert not (folder / "data" / "c.txt").exists()  # all of them or none
    assert client.post("/p/churn/files/upload", data={"path": ""}).status_code == 400


def test_the_disk_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    ada = world.user("ada")
    project = world.project("Churn", ada)
    client = world.client(ada)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = client.put("/api/v1/projects/churn/files/a.txt", content=b"a")
    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "STORAGE_FULL"
    monkeypatch.undo()
    assert list(service.folder(world.host, project).iterdir()) == []


def test_what_a_page_shows_of_files(world: World) -> None:
    ada = world.user("ada")
    project = world.project("Churn", ada)
    folder = service.folder(world.host, project)
    (folder / "a.py").write_text("print('<b>')\n")
    (folder / "a.csv").write_text("x,y\n<i>,2\n")
    (folder / "a.bin").write_bytes(b"\0")
    (folder / ".git").mkdir()
    client = world.client(ada, page=True)
    listing = client.get("/p/churn/files").text
    assert "a.py" in listing
    assert ".git" not in listing
    for name in ("a.py", "a.csv", "a.bin"):
        page = client.get("/p/churn/files/view", params={"path": name})
        assert page.status_code == 200
        assert "<b>" not in page.text
        assert "<i>" not in page.text
    assert client.get("/p/churn/files/view", params={"path": "gone.txt"}).status_code == 404
    assert client.get("/p/churn/files", params={"path": "gone"}).status_code == 404
    assert client.get("/p/churn/files/view").status_code == 422


def test_recording_is_switched_by_its_owner(world: World) -> None:
    ada = world.user("ada")
    client = world.client(ada)
    client.post("/api/v1/projects", json={"name": "churn"})
    browser = world.client(ada, page=True)
    assert "Stop recording" in browser.get("/p/churn/settings").text
    assert browser.post("/p/churn/settings/record", data={"record": "no"}).status_code == 303
    assert "Record experiments automatically" in browser.get("/p/churn/settings").text
    assert client.get("/api/v1/projects/churn").json()["records"] is False
    assert client.patch("/api/v1/projects/churn", json={"records": True}).json()["records"] is True
