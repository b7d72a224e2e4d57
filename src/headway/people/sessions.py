"""Signed-in browsers: an opaque random secret in a cookie, its digest in the database, an end date."""

from __future__ import annotations

from fastapi import Request, Response
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from headway.clock import now_ms
from headway.people.cache import forget
from headway.people.credentials import digest, new_secret
from headway.people.rules import Who
from headway.people.tables import User, UserSession

DAY_MS = 86_400_000
_SEEN_EVERY_MS = 3_600_000
# `__Host-` binds the cookie to this very host over https: no sibling domain can plant one. Browsers refuse it on plain http.
SECURE_COOKIE = "__Host-headway"
PLAIN_COOKIE = "headway"


def cookie_name(request: Request) -> str:
    """The session cookie's name on this connection."""
    return SECURE_COOKIE if request.url.scheme == "https" else PLAIN_COOKIE


def begin(db: Session, request: Request, user: User, days: int) -> str:
    """A new session and its secret. Always a fresh one: what a browser brought along is never taken over (fixation)."""
    secret, moment = new_secret(), now_ms()
    db.execute(delete(UserSession).where(UserSession.user_id == user.id, UserSession.expires_at <= moment))
    db.add(
        UserSession(
            digest=digest(secret),
            user_id=user.id,
            created_at=moment,
            seen_at=moment,
            expires_at=moment + days * DAY_MS,
            browser=request.headers.get("user-agent", "")[:200],
            address=request.client.host[:64] if request.client else "",
        )
    )
    old = request.cookies.get(cookie_name(request))
    if old:
        end(db, old)
    db.flush()
    return secret


def set_cookie(request: Request, response: Response, secret: str, days: int) -> None:
    """Hand the session's secret to the browser; scripts can't read it and other sites' forms don't send it."""
    secure = request.url.scheme == "https"
    response.set_cookie(
        cookie_name(request), secret, max_age=days * 86_400, path="/", secure=secure, httponly=True, samesite="lax"
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Make the browser forget the session."""
    secure = request.url.scheme == "https"
    response.delete_cookie(cookie_name(request), path="/", secure=secure, httponly=True, samesite="lax")


def holder(db: Session, secret: str) -> tuple[Who, UserSession] | None:
    """Who this cookie stands for; None if it is unknown, expired, ended, or its person is gone."""
    found = db.execute(
        select(UserSession, User).join(User, User.id == UserSession.user_id).where(UserSession.digest == digest(secret))
    ).one_or_none()
    if found is None:
        return None
    row, user = found
    if row.expires_at <= now_ms() or user.disabled_at is not None:
        return None
    return Who(user.id, user.full_name or user.name, user.admin), row


def stale(row: UserSession) -> bool:
    """Whether "last seen" should be written again; it is kept to the hour."""
    return now_ms() - row.seen_at > _SEEN_EVERY_MS


def used(db: Session, key: str) -> None:
    """Remember that the session with this digest is in use."""
    db.execute(update(UserSession).where(UserSession.digest == key).values(seen_at=now_ms()))


def listed(db: Session, user_id: str) -> list[UserSession]:
    """The person's signed-in browsers, the last used first."""
    query = select(UserSession).where(UserSession.user_id == user_id, UserSession.expires_at > now_ms())
    return list(db.scalars(query.order_by(UserSession.seen_at.desc())))


def end(db: Session, secret: str) -> None:
    """Sign this browser out."""
    db.execute(delete(UserSession).where(UserSession.digest == digest(secret)))
    forget(db)


def end_all(db: Session, user_id: str, *, but: str | None = None) -> int:
    """Sign the person out everywhere, except in the browser that holds the secret `but`. Returns how many ended."""
    query = delete(UserSession).where(UserSession.user_id == user_id)
    if but is not None:
        query = query.where(UserSession.digest != digest(but))
    forget(db)
    return int(db.execute(query).rowcount)  # type: ignore[attr-defined]


def key(secret: str) -> str:
    """How the session with this secret is called in the database."""
    return digest(secret)
