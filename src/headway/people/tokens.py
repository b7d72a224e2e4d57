"""Tokens: how programs say who they are. A secret is shown once; a run's token dies with its attempt."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.errors import Forbidden, NotFound, Unprocessable
from headway.people import audit, names, rules
from headway.people.cache import forget
from headway.people.credentials import TOKEN_PREFIX, digest, new_secret
from headway.people.rules import Who
from headway.people.tables import Token, User

_USED_EVERY_MS = 60_000


def create(
    db: Session,
    who: Who,
    name: str,
    *,
    scope: str = "all",
    project_id: str | None = None,
    expires_at: int | None = None,
    kind: Literal["token", "run"] = "token",
    owner: str = "",
) -> tuple[Token, str]:
    """A new token of `who` and its secret, which nobody can read again. Times in milliseconds.

    A token never holds more than its maker: no other project, no verb that `who` lacks, no later end.
    """
    name = names.one_line(name, "name")
    if not name:
        raise Unprocessable("A token needs a name, to know later what it was for.", field="name")
    if scope not in rules.SCOPES:
        raise Unprocessable(f"Unknown scope '{scope}'.", hint="One of " + ", ".join(rules.SCOPES), field="scope")
    if not rules.SCOPES[scope] <= who.scopes or (who.project_id is not None and who.project_id != project_id):
        raise Forbidden(
            "A token can't make one that may do more than itself.", hint="Sign in, or ask for a narrower scope."
        )
    if who.until is not None:
        expires_at = min(expires_at or who.until, who.until)
    if expires_at is not None and expires_at <= now_ms():
        raise Unprocessable("The token would have expired already.", field="expires_at")
    secret = new_secret(TOKEN_PREFIX)
    row = Token(id=new_id(), digest=digest(secret), user_id=who.user_id, name=name, kind=kind, scope=scope,
                project_id=project_id, owner=owner, hint=secret[-4:], created_at=now_ms(), expires_at=expires_at)  # fmt: skip
    db.add(row)
    if kind == "token":
        audit.note(db, who, "token.create", name, project_id=project_id, scope=scope)
    db.flush()
    return row, secret


def create_for_run(db: Session, user_id: str, *, project_id: str, owner: str) -> str:
    """The secret of a run's own token: scope `run`, one project, acting as `user_id`, until `revoke_for(db, owner)`."""
    user = db.get(User, user_id)
    if user is None or user.disabled_at is not None:
        raise NotFound("The person who started this run is gone.", hint="Start it again under another name.")
    who = Who(user.id, user.name, user.admin)
    return create(db, who, f"run {owner}", scope="run", project_id=project_id, kind="run", owner=owner)[1]


def listed(db: Session, who: Who) -> list[Token]:
    """The person's own tokens that still work or have lately, newest first; those of runs are not shown."""
    query = select(Token).where(Token.user_id == who.user_id, Token.kind == "token", Token.revoked_at.is_(None))
    return list(db.scalars(query.order_by(Token.created_at.desc(), Token.id)))


def revoke(db: Session, who: Who, token_id: str) -> Token:
    """End one of the person's own tokens, at once."""
    row = db.get(Token, token_id)
    if row is None or row.user_id != who.user_id or row.kind != "token" or row.revoked_at is not None:
        raise NotFound("There is no such token.")
    row.revoked_at = now_ms()
    forget(db)
    audit.note(db, who, "token.revoke", row.name, project_id=row.project_id)
    return row


def revoke_for(db: Session, owner: str) -> None:
    """End the tokens that live with `owner`, e.g. a run's attempt."""
    rows = list(db.scalars(select(Token).where(Token.owner == owner, Token.owner != "", Token.revoked_at.is_(None))))
    for row in rows:
        row.revoked_at = now_ms()
        forget(db)


def revoke_all(db: Session, user_id: str, project_id: str | None = None) -> None:
    """End all tokens of a person, or those that reach one project."""
    query = select(Token).where(Token.user_id == user_id, Token.revoked_at.is_(None))
    if project_id is not None:
        query = query.where(Token.project_id == project_id)
    for row in db.scalars(query):
        row.revoked_at = now_ms()
        forget(db)


def holder(db: Session, secret: str) -> tuple[Who, Token] | None:
    """Who this secret stands for; None if it is unknown, expired, revoked, or its person is gone."""
    found = db.execute(
        select(Token, User).join(User, User.id == Token.user_id).where(Token.digest == digest(secret))
    ).one_or_none()
    if found is None:
        return None
    row, user = found
    moment = now_ms()
    if (
        row.revoked_at is not None
        or (row.expires_at is not None and row.expires_at <= moment)
        or user.disabled_at is not None
    ):
        return None
    scopes = rules.SCOPES.get(row.scope, frozenset())
    kind: Literal["run", "token"] = "run" if row.kind == "run" else "token"
    return Who(user.id, user.name, user.admin, kind, row.project_id, scopes, row.expires_at), row


def stale(row: Token) -> bool:
    """Whether "last used" should be written again; it is kept to the minute."""
    return row.used_at is None or now_ms() - row.used_at > _USED_EVERY_MS


def used(db: Session, key: str) -> None:
    """Remember that the token with this digest was used."""
    db.execute(update(Token).where(Token.digest == key).values(used_at=now_ms()))
