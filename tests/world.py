"""A whole server in this process, with people in it, for tests of routes: real database, real application, no network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.requests import Request

from headway import server
from headway.clock import now_ms
from headway.engines.host import Host
from headway.people import members, service, sessions, tokens
from headway.people.credentials import csrf_for
from headway.people.rules import Who
from headway.people.tables import User
from headway.projects import service as projects
from headway.projects.tables import Project
from headway.settings import Settings

HOST = "127.0.0.1:8640"


class World:
    """`host`, `app`, and clients of it: `client("ada")` is signed in as ada in a browser, `client()` is a stranger."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.host: Host = server.make_host(Settings.load({}, home=home, **settings))
        self.app: FastAPI = server.build(self.host, loops=False)
        with self.host.database.write() as db:
            service.ensure_owner(db).welcomed_at = now_ms()

    def user(self, name: str, *, admin: bool = False, password_hash: str | None = None) -> Who:
        """A user of that name; made if there is none."""
        with self.host.database.write() as db:
            user = db.query(User).filter_by(name=name).one_or_none()
            if user is None:
                user = service.create_user(db, name, full_name=name.title(), admin=admin, password_hash=password_hash)
                user.welcomed_at = now_ms()
            return service.as_who(user)

    def project(self, name: str, owner: Who, **roles: str) -> Project:
        """A project of `owner`, with further members: `viewer="vera"` makes vera a viewer."""
        with self.host.database.write() as db:
            project = projects.create(db, owner, name)
        for role, member in roles.items():
            who = self.user(member)
            with self.host.database.write() as db:
                members.add(db, project.id, who.user_id, role)
        projects.folder(self.host, project)
        return project

    def session(self, who: Who) -> str:
        """The secret of a new browser session."""
        request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "scheme": "http",
                           "headers": [(b"host", HOST.encode())], "server": ("127.0.0.1", 8640)})  # fmt: skip
        with self.host.database.write() as db:
            return sessions.begin(db, request, service.by_id(db, who.user_id), 30)

    def token(self, who: Who, **kind: Any) -> str:
        """The secret of a new token."""
        with self.host.database.write() as db:
            return tokens.create(db, who, "test", **kind)[1]

    def client(self, who: Who | None = None, *, token: str | None = None, page: bool = False) -> TestClient:
        """A client that is signed in, or sends a token, or neither. `page`: it asks for HTML, as a browser does."""
        client = TestClient(self.app, base_url=f"http://{HOST}", raise_server_exceptions=False, follow_redirects=False)
        if page:
            client.headers["accept"] = "text/html,*/*"
        if token is not None:
            client.headers["authorization"] = f"Bearer {token}"
        elif who is not None:
            secret = self.session(who)
            client.cookies.set(sessions.PLAIN_COOKIE, secret)
            client.headers["x-csrf-token"] = csrf_for(secret)
        return client


@contextlib.contextmanager
def world(home: Path, **settings: Any) -> Iterator[World]:
    """A World that is closed at the end."""
    made = World(home, **settings)
    try:
        yield made
    finally:
        made.host.database.close()
