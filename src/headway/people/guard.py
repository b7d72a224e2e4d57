"""The guard at the door of every route: who is asking, and may they.

    @router.get("/p/{slug}/things")
    def things(request: Request, who: Signed, db: ReadDb, slug: str) -> HTMLResponse: ...

`Signed` reads a session cookie, a bearer token, or HTTP Basic with a token as the password (what MLflow's clients send). A
write that comes with a cookie must also carry the session's CSRF token, as header `X-CSRF-Token` or form field `csrf`.
A token in the address is never looked at: addresses end in logs.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Protocol, TypeVar

from anyio import to_thread
from fastapi import Depends, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection

from headway.engines.host import Host
from headway.errors import Forbidden, NotFound, Unauthenticated
from headway.people import cache, rules, sessions, tokens
from headway.people.credentials import csrf_for, digest, same
from headway.people.rules import OWN, Who
from headway.people.tables import Member

log = logging.getLogger("headway.people")

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


class _Kept(Protocol):
    """Secrets that are kept as digests: `tokens` and `sessions`."""

    def holder(self, db: Session, secret: str, /) -> tuple[Who, Any] | None: ...
    def stale(self, row: Any, /) -> bool: ...
    def used(self, db: Session, key: str, /) -> None: ...


def role(db: Session, user_id: str, project_id: str) -> str | None:
    """The person's role in the project, None if they are no member."""
    return db.scalar(select(Member.role).where(Member.project_id == project_id, Member.user_id == user_id))


def may(db: Session, who: Who, verb: str, project_id: str | None) -> bool:
    """Whether `who` may `verb` in the project (None: on the server itself). Every rule is in `rules.py`."""
    known = None if project_id is None or who.admin else role(db, who.user_id, project_id)
    return rules.allowed(who, verb, project_id, known)


def check(db: Session, who: Who, verb: str, project_id: str | None) -> None:
    """Pass, or raise: NotFound to whom the project must look as if it weren't there, else Forbidden that says who may."""
    judge(who, verb, project_id, None if project_id is None or who.admin else role(db, who.user_id, project_id))


# A statement that reads a row of `{table}` may bring along the role in its project of the user `?`, for `judge`.
ROLE_SQL = "(SELECT role FROM members WHERE members.project_id = {table}.project_id AND members.user_id = ?)"


def judge(who: Who, verb: str, project_id: str | None, known: str | None) -> None:
    """As `check`, for whom the role is `known` already."""
    if rules.allowed(who, verb, project_id, known):
        return
    if project_id is not None and not (rules.reaches(who, project_id) and (who.admin or known is not None)):
        raise NotFound("There is no such project.", hint="Check the address, or ask for an invitation.")
    raise Forbidden(_why(who, verb, project_id, known), hint=_way_out(who, verb, project_id), verb=verb)


class InProject(Protocol):
    """A row that belongs to a project."""

    @property
    def project_id(self) -> str: ...


T = TypeVar("T", bound=InProject)


def visible(db: Session, who: Who, verb: str, row: T | None, missing: Callable[[], NotFound]) -> T:
    """The row, if `who` may `verb` in its project.

    Raises Forbidden; and `missing()`, the same whether there is none or `who` may not know of it.
    """
    if row is None:
        raise missing()
    try:
        check(db, who, verb, row.project_id)
    except NotFound:
        raise missing() from None
    return row


def check_any(db: Session, who: Who, verbs: Iterable[str], project_id: str) -> None:
    """Pass if one of the verbs is allowed; raise for the first one otherwise."""
    wanted = list(verbs)
    if not any(may(db, who, verb, project_id) for verb in wanted):
        check(db, who, wanted[0], project_id)


def owned(db: Session, who: Who) -> list[str] | None:
    """The projects that `who` owns, e.g. to read their audit log; None for all, as administrators do."""
    if may(db, who, OWN, None):
        return None
    mine = db.scalars(select(Member.project_id).where(Member.user_id == who.user_id))
    return [project_id for project_id in mine if may(db, who, OWN, project_id)]


def _why(who: Who, verb: str, project_id: str | None, known: str | None) -> str:
    what = rules.VERBS[verb]
    if verb not in who.scopes:
        return f"This token may not {what}."
    if project_id is None:
        return (
            "Only an administrator may do that." if who.project_id is None else "This token reaches one project only."
        )
    return f"Your role here is {known}: it may not {what}."


def _way_out(who: Who, verb: str, project_id: str | None) -> str:
    if verb not in who.scopes or (project_id is None and who.project_id is not None):
        return "Make a token with a wider scope in Settings, Tokens."
    able = [name for name, verbs in rules.ROLES.items() if verb in verbs]
    return (
        "Ask an administrator." if project_id is None else f"An owner of the project can make you {' or '.join(able)}."
    )


def bearer(connection: HTTPConnection) -> str | None:
    """The token of the Authorization header, if there is one. Raises Unauthenticated when the header makes no sense."""
    header = connection.headers.get("authorization")
    if header is None:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() == "basic":
        try:
            _, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = password = ""
        if colon and password:
            return password
    raise Unauthenticated("The Authorization header can't be read.", hint="Send 'Authorization: Bearer hw_...'.")


async def identify(connection: HTTPConnection) -> Who | None:
    """Who is on this connection, None for nobody. Raises Unauthenticated for a token that doesn't work (any more).

    For websockets too; does not look at CSRF tokens. Sets `state.csrf` when it is a session.
    """
    host: Host = connection.app.state.host
    memory = cache.of(host.database.engine)
    secret = bearer(connection)
    if secret is not None:
        who = memory.recall(key := digest(secret)) or await to_thread.run_sync(_holder, host, tokens, secret, key)
        if who is None:
            raise Unauthenticated(
                "This token is unknown, expired or revoked.", hint="Make a new one in Settings, Tokens, and use that."
            )
        return who
    secret = session_secret(connection)
    if secret is None:
        return None
    who = memory.recall(key := digest(secret)) or await to_thread.run_sync(_holder, host, sessions, secret, key)
    if who is not None:
        connection.state.csrf = csrf_for(secret)
    return who


def session_secret(connection: HTTPConnection) -> str | None:
    """What the browser holds as its session, unchecked."""
    secure = connection.url.scheme in ("https", "wss")
    return connection.cookies.get(sessions.SECURE_COOKIE if secure else sessions.PLAIN_COOKIE) or None


def _holder(host: Host, kept: _Kept, secret: str, key: str) -> Who | None:
    memory = cache.of(host.database.engine)
    generation = memory.generation
    with host.database.read() as db:
        found = kept.holder(db, secret)
        if found is None:
            return None
        who, row = found
        stale = kept.stale(row)
    memory.remember(key, who, generation)
    if stale:
        host.database.group_later(lambda session: kept.used(session, key))
    return who


async def maybe(request: Request) -> Who | None:
    """The Who, or None for a stranger: for pages that are open to all, and routes that check for themselves."""
    known: Any = getattr(request.state, "who", None)
    if isinstance(known, Who):
        return known
    who = await identify(request)
    if who is not None:
        if who.kind == "user":
            await _check_csrf(request)
        request.state.who = who
    return who


async def signed(request: Request) -> Who:
    """The Who; raises Unauthenticated for a stranger (which a page answers by leading to the sign-in)."""
    who = await maybe(request)
    if who is None:
        raise Unauthenticated("Sign in first.", hint="In a program, send a token: 'Authorization: Bearer hw_...'.")
    return who


async def person(request: Request) -> Who:
    """Somebody at a browser: what concerns an account (passwords, tokens, sessions) is not for tokens to do."""
    who = await signed(request)
    if who.kind != "user":
        raise Forbidden("A token can't do this.", hint="Sign in with a browser.")
    return who


async def _check_csrf(request: Request) -> None:
    if request.method in SAFE_METHODS:
        return
    sent = request.headers.get("x-csrf-token")
    if sent is None and request.headers.get("content-type", "").partition(";")[0].strip().lower() in _FORMS:
        value = (await request.form()).get("csrf")
        sent = value if isinstance(value, str) else None
    if sent is None or not same(sent, request.state.csrf):
        await request.close()
        raise Forbidden(
            "This request didn't come from a page of headway.",
            hint="Reload the page and try again. A program sends a token instead of a cookie.",
        )


Signed = Annotated[Who, Depends(signed)]
Person = Annotated[Who, Depends(person)]
Maybe = Annotated[Who | None, Depends(maybe)]


def may_on_page(request: Request, who: Who, verb: str, project_id: str | None) -> bool:
    """`may` for what a page shows; a page asks many times, so the role is looked up once a request."""
    known: dict[str, str | None] = request.scope.setdefault("headway.roles", {})
    if project_id is not None and not who.admin and project_id not in known:
        host: Host = request.app.state.host
        with host.database.read() as db:
            known[project_id] = role(db, who.user_id, project_id)
    return rules.allowed(who, verb, project_id, known.get(project_id or ""))
