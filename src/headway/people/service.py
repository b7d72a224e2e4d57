"""The verbs of people: users, signing in, links. Members of projects are in `members.py`, tokens in `tokens.py`."""

from __future__ import annotations

import time
from typing import Literal
from urllib.parse import quote
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.engines.host import Host
from headway.errors import Conflict, NotFound, TooMany, Unauthenticated, Unprocessable
from headway.people import audit, guard, names, passwords, sessions, tokens
from headway.people.cache import forget
from headway.people.credentials import digest, new_secret
from headway.people.rules import OWN, Who
from headway.people.tables import Link, User
from headway.people.throttle import Throttle

LINK_HOURS = 12
MACHINE_TOKEN = "machine"  # noqa: S105  the owner of the token in cli.json
_HOUR_MS = 3_600_000


class _Brakes:
    """Ten tries a minute for one name from one address; more for an address (an office shares one), and for a name, so that
    nobody can lock somebody else out by guessing at their name from elsewhere.
    """

    def __init__(self) -> None:
        self.both, self.address, self.name = Throttle(10), Throttle(60), Throttle(200)


_brakes: WeakKeyDictionary[Engine, _Brakes] = WeakKeyDictionary()


def as_who(user: User) -> Who:
    """The person, acting for themselves at a browser."""
    return Who(user.id, user.full_name or user.name, user.admin)


# ------------------------------------------------------------------ users


def ensure_owner(db: Session) -> User:
    """The first user, an administrator; made at the first start. Nobody else becomes it."""
    user = db.scalar(
        select(User).where(User.admin, User.disabled_at.is_(None)).order_by(User.created_at, User.id).limit(1)
    )
    if user is None:
        user = create_user(db, "owner", full_name="Owner", admin=True)
    return user


def create_user(
    db: Session, name: str, *, full_name: str = "", password_hash: str | None = None, admin: bool = False
) -> User:
    """A new user. Raises Conflict if the name is taken, Unprocessable for a name that can't be."""
    name = names.user_name(name)
    if db.scalar(select(User.id).where(User.name == name)) is not None:
        raise Conflict(f"There is a user '{name}' already.", hint="Choose another name, or sign in.", field="name")
    user = User(
        id=new_id(),
        name=name,
        full_name=names.one_line(full_name, "full_name"),
        password=password_hash,
        admin=admin,
        created_at=now_ms(),
    )
    db.add(user)
    db.flush()
    return user


def users(db: Session, who: Who) -> list[User]:
    """Everybody on this server, for administrators."""
    guard.check(db, who, OWN, None)
    return list(db.scalars(select(User).order_by(User.name)))


def named(db: Session, ids: list[str]) -> dict[str, User]:
    """Users by id, for showing who did something."""
    return {user.id: user for user in db.scalars(select(User).where(User.id.in_(set(ids))))} if ids else {}


def by_id(db: Session, user_id: str) -> User:
    """The user, or NotFound."""
    user = db.get(User, user_id)
    if user is None:
        raise NotFound("There is no such person.")
    return user


def rename(db: Session, who: Who, *, name: str, full_name: str) -> User:
    """Change one's own user name and display name."""
    user = by_id(db, who.user_id)
    name = names.user_name(name)
    if name != user.name and db.scalar(select(User.id).where(User.name == name)) is not None:
        raise Conflict(f"There is a user '{name}' already.", hint="Choose another name.", field="name")
    user.name, user.full_name = name, names.one_line(full_name, "full_name")
    forget(db)
    return user


def new_password(db: Session, who: Who, old: str, new: str, address: str) -> str:
    """The hash of a new password for oneself, once the present one is proven; only reads (hashing takes a while)."""
    user = by_id(db, who.user_id)
    if user.password is not None:
        try:
            proven(db, user.name, old, address)
        except Unauthenticated:
            raise Unprocessable("That is not your present password.", field="old") from None
    return passwords.hash_password(new, field="new")


def set_password(db: Session, who: Who, password_hash: str, *, keep_session: str | None = None) -> None:
    """Put a hash from `new_password` in force; every other browser is signed out."""
    user = by_id(db, who.user_id)
    user.password = password_hash
    sessions.end_all(db, user.id, but=keep_session)
    audit.note(db, who, "password.change", user.name)


def set_admin(db: Session, who: Who, user_id: str, admin: bool) -> User:
    """Make somebody an administrator, or no longer one. The last one stays."""
    guard.check(db, who, OWN, None)
    user = by_id(db, user_id)
    if user.admin and not admin:
        _not_the_last_admin(db)
    user.admin = admin
    forget(db)
    audit.note(db, who, "user.admin" if admin else "user.no_admin", user.name)
    return user


def set_disabled(db: Session, who: Who, user_id: str, disabled: bool) -> User:
    """Shut somebody out (sessions and tokens end at once, their work stays), or let them in again."""
    guard.check(db, who, OWN, None)
    user = by_id(db, user_id)
    if disabled and user.disabled_at is None:
        if user.admin:
            _not_the_last_admin(db)
        user.disabled_at = now_ms()
        sessions.end_all(db, user.id)
        tokens.revoke_all(db, user.id)
    elif not disabled:
        user.disabled_at = None
    forget(db)
    audit.note(db, who, "user.disable" if disabled else "user.enable", user.name)
    return user


def _not_the_last_admin(db: Session) -> None:
    if (db.scalar(select(func.count()).select_from(User).where(User.admin, User.disabled_at.is_(None))) or 0) <= 1:
        raise Conflict("This is the last administrator.", hint="Make somebody else an administrator first.")


# ------------------------------------------------------------------ signing in


def proven(db: Session, name: str, password: str, address: str) -> User:
    """The user with this name and password; only reads. Raises TooMany after ten tries a minute, Unauthenticated otherwise.

    A name that nobody has takes as long and answers the same as a wrong password.
    """
    name = name.strip().lower()[:64]
    brakes = _brakes.setdefault(db.get_bind().engine, _Brakes())
    keys = ((brakes.both, f"{address} {name}"), (brakes.address, address), (brakes.name, name))
    wait = max(throttle.take(key, time.monotonic()) for throttle, key in keys)
    if wait:
        wait_s = int(wait) + 1
        raise TooMany("Too many tries to sign in.", hint=f"Wait {wait_s} seconds and try again.", retry_after=wait_s)
    user = db.scalar(select(User).where(User.name == name))
    right = passwords.matches(user.password if user else None, password)
    if user is None or not right or user.disabled_at is not None:
        raise Unauthenticated(
            "That name and password don't match.", hint="Try again, or ask an administrator for a sign-in link."
        )
    brakes.both.forget(f"{address} {name}")
    return user


def signed_in(db: Session, user: User, *, by: str, address: str) -> None:
    """Remember that somebody came in."""
    audit.note(db, as_who(user), "sign_in", user.name, by=by, address=address)


def sign_in_link(db: Session, host: Host, user: User | None = None) -> str:
    """A link that signs in the owner (or `user`) once, within twelve hours. `headway up` prints one at each start."""
    user = user or ensure_owner(db)
    secret = new_link(db, kind="sign_in", made_by=user.id, user_id=user.id, life_ms=LINK_HOURS * _HOUR_MS)
    return f"{host.settings.url}/welcome?token={quote(secret)}"


def sign_in_link_for(db: Session, who: Who, host: Host, user_id: str) -> str:
    """A sign-in link for somebody who forgot their password, made by an administrator."""
    guard.check(db, who, OWN, None)
    user = by_id(db, user_id)
    if user.disabled_at is not None:
        raise Conflict(f"{user.name} is shut out.", hint="Let them in again first.")
    audit.note(db, who, "user.sign_in_link", user.name)
    return sign_in_link(db, host, user)


def link(db: Session, secret: str, kind: str) -> Link:
    """The unused link of this secret; NotFound says that it is used up, too old or was never made."""
    row = db.scalar(select(Link).where(Link.digest == digest(secret), Link.kind == kind).with_for_update())
    if row is None or row.used_at is not None or row.expires_at <= now_ms():
        raise NotFound(
            "This link was used already, or is too old.",
            hint="Links work once. `headway up` prints a new one at each start; for an invitation, ask who sent it.",
        )
    return row


def take_sign_in_link(db: Session, secret: str) -> User:
    """Use up a sign-in link."""
    row = link(db, secret, "sign_in")
    user = by_id(db, row.user_id or "")
    if user.disabled_at is not None:
        raise NotFound("This link was used already, or is too old.")
    row.used_at, row.used_by = now_ms(), user.id
    return user


def welcome(db: Session, user: User, *, name: str, full_name: str, password_hash: str | None) -> None:
    """What somebody says of themselves at their first sign-in; the password may be left out."""
    who = as_who(user)
    rename(db, who, name=name, full_name=full_name)
    if password_hash:
        user.password = password_hash
    user.welcomed_at = now_ms()


def machine_token(db: Session, kept: str | None = None, *, place: str = "") -> str:
    """The secret for programs on the machine that runs the server, kept in a file that only its user may read.

    `kept`, what the file held at the last start, stays if it still works: who follows a run notices no restart. Otherwise a
    new one is made, and the old one of this `place` ends: servers on one database have a place and a token each.
    """
    if kept and (found := tokens.holder(db, kept)) is not None and found[1].owner.startswith(MACHINE_TOKEN):
        return kept
    user, owner = ensure_owner(db), f"{MACHINE_TOKEN}:{digest(place)[:16]}" if place else MACHINE_TOKEN
    tokens.revoke_for(db, owner)
    return tokens.create(db, as_who(user), "this machine (headway on the command line)", owner=owner)[1]


def new_link(
    db: Session,
    *,
    kind: Literal["sign_in", "invite"],
    made_by: str,
    life_ms: int,
    user_id: str | None = None,
    project_id: str | None = None,
    role: str = "",
    note: str = "",
) -> str:
    """The secret of a new link."""
    secret, moment = new_secret(), now_ms()
    row = Link(id=new_id(), digest=digest(secret), kind=kind, user_id=user_id, project_id=project_id, role=role, note=note,
               made_by=made_by, created_at=moment, expires_at=moment + life_ms)  # fmt: skip
    db.add(row)
    db.flush()
    return secret
