"""The snapshot of routes, composed from the rows: what the gateway should know now."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, selectinload

from headway.clock import now_ms
from headway.deployments import states
from headway.deployments.tables import Endpoint, EndpointKey, Revision
from headway.deployments.traffic import Endpoint as Route
from headway.deployments.traffic import Key, Replica, Routes
from headway.deployments.traffic import Revision as Share
from headway.engines.host import Host
from headway.people import guard, rules
from headway.people.tables import Token, User

PLATFORM_KEY = "platform"


def socket_of(host: Host, revision: Revision, index: int) -> str:
    """Where a replica listens."""
    return str(host.settings.socket(f"r{revision.id[:16]}-{index}"))


def routes(db: Session, host: Host, platform_digest: str, generation: int) -> Routes:
    """All endpoints with their revisions that run; a starting one has no weight yet, but its link is made."""
    query = select(Endpoint).where(Endpoint.removed_at == 0).options(selectinload(Endpoint.revisions))
    found = list(db.scalars(query.order_by(Endpoint.created_at, Endpoint.id)))
    keys = {platform_digest: Key(PLATFORM_KEY, None)}
    known = {e.id for e in found}
    for row in db.scalars(select(EndpointKey).where(EndpointKey.revoked_at.is_(None))):
        if row.endpoint_id in known:
            keys[row.digest] = Key(row.id, frozenset({row.endpoint_id}))
    keys |= _tokens(db, found)
    return Routes(generation, {f"{e.slug}/{e.name}": _route(host, e) for e in found}, keys)


def next_expiry(db: Session, now: int) -> int | None:
    """When the next token expires (ms): the routes change then, though no row does."""
    coming = select(func.min(Token.expires_at)).where(Token.expires_at > now, Token.revoked_at.is_(None))
    return db.scalar(coming)


def _tokens(db: Session, endpoints: list[Endpoint]) -> dict[str, Key]:
    """People's own tokens open the endpoints of the projects that they may see; a token that expires leaves at the next look."""
    moment = now_ms()
    keys = {}
    query = select(Token, User).join(User, User.id == Token.user_id).where(Token.revoked_at.is_(None))
    for token, user in db.execute(query.where(User.disabled_at.is_(None))):
        if token.expires_at is not None and token.expires_at <= moment:
            continue
        scopes = rules.SCOPES.get(token.scope, frozenset())
        who = rules.Who(user.id, user.name, user.admin, "token", token.project_id, scopes)
        projects = {e.project_id for e in endpoints}
        seen = {project for project in projects if guard.may(db, who, rules.VIEW, project)}
        if opened := frozenset(e.id for e in endpoints if e.project_id in seen):
            keys[token.digest] = Key(f"token-{token.id}", opened)
    return keys


def _route(host: Host, endpoint: Endpoint) -> Route:
    running = [r for r in endpoint.revisions if r.state in states.RUNS]
    # The newest stands first: whom its small share holds as a canary, its larger one holds too.
    running.sort(key=lambda r: -r.number)
    shares = tuple(
        Share(
            r.number, r.weight, tuple(Replica(f"{r.id}-{i}", socket_of(host, r, i)) for i in range(r.replicas)), r.pure
        )
        for r in running
    )
    settings = host.settings
    return Route(
        endpoint.id, endpoint.slug, endpoint.name, shares, endpoint.public, settings.in_flight, float(endpoint.timeout_s),
        settings.request_mb << 20, endpoint.log,
    )  # fmt: skip
