"""Names of parameters, metrics and tags as small numbers, remembered by this process once they are committed."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, bindparam, text
from sqlalchemy.orm import Session

_FIND = text("SELECT id, name FROM keys WHERE name IN :names").bindparams(bindparam("names", expanding=True))
_NAMES = text("SELECT id, name FROM keys WHERE id IN :ids").bindparams(bindparam("ids", expanding=True))
_ADD = text("INSERT INTO keys (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")
_PIECE = 500
_MOST = 200_000  # names remembered; more are asked for again


class _Known:
    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def learn(self, key_id: int, name: str) -> None:
        if len(self.ids) < _MOST:
            self.ids[name], self.names[key_id] = key_id, name


_known: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()


def _of(db: Session) -> _Known:
    engine = db.get_bind().engine
    found = _known.get(engine)
    if found is None:
        found = _known[engine] = _Known()
    return found


def find(db: Session, names: Iterable[str]) -> dict[str, int]:
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
    for at in range(0, len(missing), _PIECE):
        for key_id, name in db.execute(_FIND, {"names": missing[at : at + _PIECE]}):
            found[name] = key_id
            if name not in made:  # else it isn't committed yet, and may never be
                known.learn(key_id, name)
    return found


def ensure(db: Session, names: Iterable[str]) -> dict[str, int]:
    """The ids of all names; new ones are added."""
    wanted = list(dict.fromkeys(names))
    found = find(db, wanted)
    new = [name for name in wanted if name not in found]
    if new:
        made = db.info.setdefault("keys_made", set())
        made.update(new)
        # sorted, so that two servers adding the same names take their locks in one order
        db.execute(_ADD, [{"name": name} for name in sorted(new)])
        found |= find(db, new)
    return found


def names(db: Session, ids: Iterable[int]) -> dict[int, str]:
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
    for at in range(0, len(missing), _PIECE):
        for key_id, name in db.execute(_NAMES, {"ids": missing[at : at + _PIECE]}):
            found[key_id] = name
            if name not in made:
                known.learn(key_id, name)
    return found
