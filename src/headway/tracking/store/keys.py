"""Names of parameters, metrics and tags as small numbers, remembered by this process once they are committed."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from headway.storage import direct
from headway.storage.direct import Direct, Sql

_FIND = "SELECT id, name FROM keys WHERE name IN"
_NAMES = "SELECT id, name FROM keys WHERE id IN"
_OF_SERIES = Sql("SELECT key_id FROM summaries WHERE run_id = ?")
_ADD = Sql("INSERT INTO keys (name) VALUES (?) ON CONFLICT (name) DO NOTHING")
_MOST = 200_000  # names remembered; more are asked for again


class _Known:
    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def learn(self, key_id: int, name: str) -> None:
        if len(self.ids) < _MOST:
            self.ids[name], self.names[key_id] = key_id, name


_known: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()


def _of(db: Session | Direct) -> _Known:
    engine = db.engine if isinstance(db, Direct) else db.get_bind().engine
    found = _known.get(engine)
    if found is None:
        found = _known[engine] = _Known()
    return found


def find(db: Session | Direct, names: Iterable[str]) -> dict[str, int]:
    """The ids of those names that exist."""
    known = _of(db)
    found: dict[str, int] = {}
    missing: list[str] = []
    for name in names:
        key_id = known.ids.get(name)
        if key_id is None:
            missing.append(name)
        else:
            found[name] = key_id
    made = db.info.get("keys_made", ())
    for key_id, name in direct.of(db).among(_FIND, missing) if missing else ():
        found[name] = key_id
        if name not in made:  # else it isn't committed yet, and may never be
            known.learn(key_id, name)
    return found


def ensure(db: Session | Direct, names: Iterable[str]) -> dict[str, int]:
    """The ids of all names; new ones are added."""
    wanted = list(dict.fromkeys(names))
    found = find(db, wanted)
    new = [name for name in wanted if name not in found]
    if new:
        made = db.info.setdefault("keys_made", set())
        made.update(new)
        # sorted, so that two servers adding the same names take their locks in one order
        direct.of(db).many(_ADD, [(name,) for name in sorted(new)])
        found |= find(db, new)
    return found


def names(db: Session | Direct, ids: Iterable[int]) -> dict[int, str]:
    """The names of ids."""
    known = _of(db)
    found: dict[int, str] = {}
    missing: list[int] = []
    for key_id in set(ids):
        name = known.names.get(key_id)
        if name is None:
            missing.append(key_id)
        else:
            found[key_id] = name
    made = db.info.get("keys_made", ())
    for key_id, name in direct.of(db).among(_NAMES, missing) if missing else ():
        found[key_id] = name
        if name not in made:
            known.learn(key_id, name)
    return found


def of_series(db: Session | Direct, run_id: int) -> list[str]:
    """The names of a run's series."""
    return sorted(names(db, [row[0] for row in direct.of(db).rows(_OF_SERIES, (run_id,))]).values())
