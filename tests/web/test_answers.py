"""One handler for every error, and one transaction for every request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import func, select

from headway import errors
from headway.engines.host import Host
from headway.settings import Settings
from headway.storage.blobs import Blobs
from headway.storage.database import Base, Database
from headway.storage.leases import Lease
from headway.storage.vault import Vault
from headway.web import answers
from headway.web.edge import Db, ReadDb


class Body(BaseModel):
    name: str
    size: int


def routes(app: FastAPI) -> None:
    @app.get("/api/v1/raise/{code}")
    def raise_it(code: str) -> None:
        raise errors.tree()[code]("It broke.", hint="Mend it.")

    @app.get("/p/raise/{code}")
    def raise_page(code: str) -> None:
        raise errors.tree()[code]("It <b>broke</b>.", hint="Mend it.")

    @app.get("/api/v1/bug")
    def bug() -> None:
        raise ZeroDivisionError("secret detail")

    @app.get("/api/v1/http")
    def http() -> None:
        raise HTTPException(418, "teapot")

    @app.post("/api/v1/body")
    def body(body: Body) -> Body:
        return body

    @app.post("/api/v1/leases/{name}")
    def write(db: Db, name: str, fail: bool = False) -> str:
        db.add(Lease(name=name, owner="me", until=0))
        db.flush()
        if fail:
            raise errors.Conflict("no")
        return name

    @app.get("/api/v1/leases")
    def count(db: ReadDb) -> int:
        return db.scalar(select(func.count()).select_from(Lease)) or 0


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings.load({}, home=tmp_path)
    database = Database(settings.database)
    Base.metadata.create_all(database.engine)
    app = FastAPI()
    app.state.host = Host(settings, database, Blobs(tmp_path / "b"), Vault(b"k" * 32), None, tmp_path)  # type: ignore[arg-type]
    app.state.nav = []
    answers.install(app)
    routes(app)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client
    database.close()


KINDS = [kind for kind in errors.tree().values() if kind.code != "INTERNAL"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_a_program_gets_json(client: TestClient, kind: type[errors.HeadwayError]) -> None:
    answer = client.get(f"/api/v1/raise/{kind.code}", headers={"accept": "text/html"})
    assert answer.status_code == kind.status
    assert answer.json() == {"error": {"code": kind.code, "message": "It broke.", "hint": "Mend it."}}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.status != 401], ids=lambda kind: kind.code)
def test_a_person_gets_a_page_that_escapes(client: TestClient, kind: type[errors.HeadwayError]) -> None:
    answer = client.get(f"/p/raise/{kind.code}", headers={"accept": "text/html"})
    assert answer.status_code == kind.status
    assert "It &lt;b&gt;broke&lt;/b&gt;." in answer.text
    assert "Mend it." in answer.text


def test_who_is_not_signed_in_is_sent_to_sign_in_and_back(client: TestClient) -> None:
    answer = client.get("/p/raise/UNAUTHENTICATED?a=1", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/p/raise/UNAUTHENTICATED%3Fa%3D1")


def test_our_bug_shows_a_reference_and_no_more(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/api/v1/bug")
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert error["reference"] in error["hint"]
    assert error["reference"] in caplog.text
    assert "secret detail" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "UNPROCESSABLE"),
        (b"{", 400, "BAD_INPUT"),
        (b"[]", 422, "UNPROCESSABLE"),
        (b'{"name": 1, "size": 2}', 422, "UNPROCESSABLE"),
        (b'{"name": "a"}', 422, "UNPROCESSABLE"),
        (b"[" * 200_000, 400, "BAD_INPUT"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "BAD_INPUT"),
        (b"\xff\xfe", 400, "BAD_INPUT"),
    ],
)
def test_a_bad_body_names_what_is_wrong(client: TestClient, body: bytes, status: int, code: str) -> None:
    answer = client.post("/api/v1/body", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text[:300]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("DELETE", "/api/v1/body", 405), ("GET", "/api/v1/http", 418)],
)
def test_the_frameworks_own_errors_look_the_same(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) >= {"code", "message"}


def test_a_request_is_one_transaction(client: TestClient) -> None:
    assert client.post("/api/v1/leases/a").status_code == 200
    assert client.post("/api/v1/leases/b?fail=true").status_code == 409
    assert client.get("/api/v1/leases").json() == 1
    assert client.post("/api/v1/leases/b").status_code == 200
    assert client.get("/api/v1/leases").json() == 2
