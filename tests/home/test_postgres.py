"""The pages that look over everything, on PostgreSQL: the same queries, another dialect."""

from pathlib import Path

import pytest
from sqlalchemy import text

from headway.storage.database import Database
from tests.scene import make
from tests.world import world as made


@pytest.mark.postgres
def test_pages_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.close()
    with made(tmp_path / "home", database_url=postgres_url) as world:
        scene = make(world)
        client = world.client(scene.people["admin"], page=True)
        looked = [
            "/",
            "/p/churn",
            "/p/churn/people",
            "/p/churn/files",
            "/home/running",
            "/settings/audit",
            "/settings/machine",
        ]
        for path in [*looked, "/settings/tokens", "/people", "/search?q=churn", "/search?q=t&project=churn"]:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text[-300:])
        kinds = {item["kind"] for item in client.get("/search", params={"q": "CHURN"}).json()["items"]}
        assert kinds == {"project", "model", "endpoint"}
        made_token = client.post("/api/v1/tokens", json={"name": "t"}).json()
        assert world.client(token=made_token["token"]).get("/api/v1/me").status_code == 200
        assert client.delete(f"/api/v1/tokens/{made_token['id']}").status_code == 200
        assert world.client(token=made_token["token"]).get("/api/v1/me").status_code == 401
