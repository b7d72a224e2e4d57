"""Who I am, tokens and users, as JSON."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from headway.clock import now_ms
from headway.people import audit, guard, members, service, tokens
from headway.people.guard import Signed
from headway.people.rules import APP, OWN, VERBS, VIEW
from headway.people.tables import Token, User
from headway.web import paging
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter(prefix="/api/v1", tags=["people"])

_DAY_MS = 86_400_000


class NewToken(BaseModel):
    """What a token is for. `days` until it ends; none: never."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=120)
    scope: str = "all"
    project_id: str | None = None
    days: int | None = Field(default=None, ge=1, le=3650)


class NewUser(BaseModel):
    """A user who comes in by the sign-in link in the answer."""

    model_config = ConfigDict(extra="forbid")
    name: str
    full_name: str = ""
    admin: bool = False


class UserChange(BaseModel):
    """What an administrator may change of a user; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    admin: bool | None = None
    disabled: bool | None = None


@router.get("/me")
def me(who: Signed, db: ReadDb) -> dict[str, Any]:
    """Who this request stands for, and the roles that person has."""
    return {
        "user_id": who.user_id,
        "name": service.by_id(db, who.user_id).name,
        "full_name": who.name,
        "admin": who.admin,
        "kind": who.kind,
        "project_id": who.project_id,
        "verbs": [verb for verb in VERBS if verb in who.scopes],
        "roles": {p: r for p, r in members.roles_of(db, who.user_id).items() if who.project_id in (None, p)},
    }


@router.get("/tokens")
def list_tokens(who: Signed, db: ReadDb) -> dict[str, Any]:
    """One's own tokens, without their secrets."""
    return {"tokens": [token_dict(row) for row in tokens.listed(db, who)]}


@router.post("/tokens", status_code=201)
def create_token(who: Signed, db: Db, body: NewToken) -> dict[str, Any]:
    """A new token; `token` in the answer is the secret, and is shown only here."""
    if body.project_id is not None:
        guard.check_any(db, who, (VIEW, APP), body.project_id)
    ends = now_ms() + body.days * _DAY_MS if body.days else None
    row, secret = tokens.create(db, who, body.name, scope=body.scope, project_id=body.project_id, expires_at=ends)
    return token_dict(row) | {"token": secret}


@router.delete("/tokens/{token_id}")
def revoke_token(who: Signed, db: Db, token_id: str) -> dict[str, Any]:
    """End one of one's own tokens at once."""
    return {"revoked": tokens.revoke(db, who, token_id).id}


@router.get("/users")
def list_users(who: Signed, db: ReadDb) -> dict[str, Any]:
    """Everybody on this server (administrators)."""
    return {"users": [user_dict(user) for user in service.users(db, who)]}


@router.post("/users", status_code=201)
def create_user(who: Signed, db: Db, host: HostDep, body: NewUser) -> dict[str, Any]:
    """A new user, with the link that signs them in the first time (administrators)."""
    guard.check(db, who, OWN, None)
    user = service.create_user(db, body.name, full_name=body.full_name, admin=body.admin)
    audit.note(db, who, "user.create", user.name, admin=body.admin)
    return user_dict(user) | {"sign_in_link": service.sign_in_link(db, host, user)}


@router.patch("/users/{user_id}")
def change_user(who: Signed, db: Db, user_id: str, body: UserChange) -> dict[str, Any]:
    """Make somebody an administrator or not, shut them out or let them in (administrators)."""
    guard.check(db, who, OWN, None)
    user = service.by_id(db, user_id)
    if body.admin is not None:
        service.set_admin(db, who, user_id, body.admin)
    if body.disabled is not None:
        service.set_disabled(db, who, user_id, body.disabled)
    return user_dict(user)


@router.post("/users/{user_id}/sign-in-link", status_code=201)
def make_sign_in_link(who: Signed, db: Db, host: HostDep, user_id: str) -> dict[str, Any]:
    """A link that signs the person in once (administrators); `me` is oneself, for the machine's own command line."""
    return {"url": service.sign_in_link_for(db, who, host, who.user_id if user_id == "me" else user_id)}


@router.get("/audit")
def read_audit(who: Signed, db: ReadDb, before: int | None = None, limit: int | None = None) -> dict[str, Any]:
    """The audit log, newest first: all of it for administrators, one's own projects for owners."""
    lines = audit.page(db, projects=guard.owned(db, who), before=before, limit=paging.limit(limit, 100))
    return {"lines": [audit.as_dict(line) for line in lines], "before": lines[-1].seq if lines else None}


@router.get("/audit/verify")
def verify_audit(who: Signed, db: ReadDb) -> dict[str, Any]:
    """Whether the chain of hashes holds (administrators)."""
    guard.check(db, who, OWN, None)
    broken = audit.verify(db)
    return {"intact": broken is None, "broken_at": broken}


def token_dict(row: Token) -> dict[str, Any]:
    """A token for people to know again; never its secret."""
    return {
        "id": row.id,
        "name": row.name,
        "scope": row.scope,
        "project_id": row.project_id,
        "ends_with": row.hint,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "used_at": row.used_at,
    }


def user_dict(user: User) -> dict[str, Any]:
    """A user, as administrators see them."""
    return {
        "id": user.id,
        "name": user.name,
        "full_name": user.full_name,
        "admin": user.admin,
        "has_password": user.password is not None,
        "created_at": user.created_at,
        "disabled": user.disabled_at is not None,
    }
