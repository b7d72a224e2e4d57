"""The verbs on both databases, without any build."""

from __future__ import annotations

import pytest

from headway.environments import service, states
from headway.environments.tables import Environment, ProjectEnvironment
from headway.errors import Conflict
from headway.events import EnvironmentChanged
from headway.people import service as people
from headway.projects import service as projects
from headway.storage.database import Database

LOCK = "iniconfig==2.1.0\nsix==1.17.0\n"


def test_from_ask_to_use(database: Database) -> None:
    heard: list[object] = []
    database.on_commit = heard.extend
    with database.write() as db:
        owner = people.as_who(people.ensure_owner(db))
        project, other = projects.create(db, owner, "One"), projects.create(db, owner, "Two")
        default = service.ensure_default(db, project.id, "six")
        assert default is not None and service.ensure_default(db, project.id) is None
    with database.write() as db:
        row = db.get_one(Environment, default.id)
        row.lock, row.hash, row.folder, row.python_version = LOCK, "a" * 32, "/somewhere", "3.11.7"
        service.end(db, row, states.READY, "", "")
    with database.write() as db:
        current = service.for_project(db, project)
        assert current is not None and current.id == default.id and service.coming(db, project) is None
        assert str(current.python) == "/somewhere/bin/python"
        # the same packages are there at once, for this project and for another, on this Python alone
        pins = ["six==1.17.0", "Iniconfig==2.1.0"]
        assert service.ask_lock(db, project.id, pins, "3.11.2").id == default.id
        copied = service.ask_lock(db, other.id, pins, "3.11")
        assert copied.id != default.id and copied.ready and copied.reused and copied.hash == "a" * 32
        assert service.ask_lock(db, project.id, pins, "3.12.1").state == states.ASKED
        assert service.for_project(db, other) is None, "what a bundle brings is not what a project works with"
    with database.write() as db:
        asked = service.ask(db, owner, project, "pandas")
        assert service.ask(db, owner, project, "pandas").id == asked.id
        assert service.coming(db, project) is asked
        with pytest.raises(Conflict):
            _ = asked.python
        service.end(db, asked, states.FAILED, "no", "")
        assert service.coming(db, project) is None
        assert service.for_project(db, project) is not None
        with pytest.raises(Conflict):
            service.use(db, owner, project, asked.id)
        again = service.ask(db, owner, project, "pandas", name="  my\u202e\n new\x00 one ", use=False)
        assert again.name == "my new one"
        assert again.id != asked.id
        service.use(db, owner, project, again.id)
        service.cancel(db, owner, project, again.id)
        assert again.state == states.CANCELLED and db.get_one(ProjectEnvironment, project.id).wanted_id is None
        assert [row.id for row in service.listed(db, owner, project)][-1] == default.id
    changes = [event.state for event in heard if isinstance(event, EnvironmentChanged)]
    assert {"asked", "ready", "failed", "cancelled"} <= set(changes)
