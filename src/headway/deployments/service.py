"""The verbs of deployments: deploy, promote, canary, roll back, keys, remove. The loop does what they ask for.

A verb changes rows in its caller's transaction; `loop.py` brings environments, proofs, replicas and the gateway's routes
to what the rows say. Nothing here waits.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from headway.clock import new_id, now_ms
from headway.deployments import rollout, states
from headway.deployments.rollout import Known
from headway.deployments.tables import Endpoint, EndpointKey, Revision
from headway.deployments.traffic import WHOLE
from headway.engines import keeper
from headway.errors import Conflict, NotFound, Unprocessable
from headway.events import EndpointChanged, publish
from headway.models.service import Version
from headway.people import audit, guard
from headway.people.credentials import digest, new_secret
from headway.people.rules import DEPLOY, VIEW, Who

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
REPLICAS = 16
KEY_PREFIX = "hwe_"


class HasSlug(Protocol):
    """A project, as far as deployments know it."""

    id: str
    slug: str


def clean_name(text: str) -> str:
    """The endpoint name that a model's name suggests: `Churn model (v2)` -> `churn-model-v2`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or "model"


def deploy(
    db: Session,
    who: Who,
    project: HasSlug,
    version: Version,
    *,
    name: str | None = None,
    canary: float | None = None,
    replicas: int = 1,
    memory_mb: int | None = None,
) -> Revision:
    """Asks for a new revision of the endpoint `name` (made if it is new), by default called after the model.

    `canary` is the percentage of traffic that the revision takes once it is live; None: all. Raises Unprocessable for a
    name, percentage or number of replicas that can't be.
    """
    guard.check(db, who, DEPLOY, project.id)
    name = clean_name(version.name) if not name else name.strip()
    if not _NAME.fullmatch(name):
        raise Unprocessable(f"'{name[:80]}' can't be an endpoint's name.", field="name",
                            hint="Lower-case letters, digits and hyphens, at most 63, as in a host name.")  # fmt: skip
    if canary is not None and not 0 <= canary <= 100:
        raise Unprocessable("A canary takes between 0 and 100 % of the traffic.", field="canary")
    if not 1 <= replicas <= REPLICAS:
        raise Unprocessable(f"An endpoint has 1 to {REPLICAS} replicas.", field="replicas")
    endpoint = _by_name(db, project.id, name)
    if endpoint is None:
        endpoint = Endpoint(id=new_id(), project_id=project.id, slug=project.slug, name=name, created_by=who.user_id,
                            created_at=now_ms())  # fmt: skip
        db.add(endpoint)
        db.flush()
    revision = _add(db, who, endpoint, version, canary=canary, replicas=replicas, memory_mb=memory_mb)
    audit.note(db, who, "endpoint.deploy", name, project_id=project.id, revision=revision.number, model=version.name,
               version=str(version.number), canary=canary)  # fmt: skip
    changed(db, endpoint)
    return revision


def _add(
    db: Session,
    who: Who,
    endpoint: Endpoint,
    version: Version,
    *,
    canary: float | None,
    replicas: int,
    memory_mb: int | None,
) -> Revision:
    numbers = [r.number for r in endpoint.revisions]
    moment = now_ms()
    revision = Revision(id=new_id(), endpoint_id=endpoint.id, number=max(numbers, default=0) + 1, version_id=str(version.id),
                        model=version.name, version=str(version.number), run_id=version.run_id or None, state=states.ASKED,
                        intent=WHOLE if canary is None else round(canary * 100), replicas=replicas, memory_mb=memory_mb,
                        created_by=who.user_id, created_name=who.name, created_at=moment, began_at=moment)  # fmt: skip
    if canary is None:
        for older in endpoint.revisions:
            if older.state in states.UNDER_WAY:
                end(db, older, states.RETIRED, f"Revision {revision.number} was deployed before this one was live.")
    endpoint.revisions.insert(0, revision)
    db.flush()
    return revision


def _by_name(db: Session, project_id: str, name: str) -> Endpoint | None:
    query = select(Endpoint).where(Endpoint.project_id == project_id, Endpoint.name == name, Endpoint.removed_at == 0)
    return db.scalar(query)


def get(db: Session, who: Who, project: HasSlug, name: str, verb: str = VIEW) -> Endpoint:
    """The endpoint. Raises NotFound for one that is missing, removed or foreign."""
    guard.check(db, who, verb, project.id)
    found = _by_name(db, project.id, name)
    if found is None:
        raise NotFound(
            f"There is no endpoint '{name[:80]}' in this project.", hint="`headway endpoints list` shows them."
        )
    return found


def listed(db: Session, who: Who, project: HasSlug) -> list[Endpoint]:
    """The project's endpoints, by name."""
    guard.check(db, who, VIEW, project.id)
    query = select(Endpoint).where(Endpoint.project_id == project.id, Endpoint.removed_at == 0)
    return list(db.scalars(query.order_by(Endpoint.name)))


def revision(endpoint: Endpoint, number: int) -> Revision:
    """One revision. Raises NotFound."""
    found = next((r for r in endpoint.revisions if r.number == number), None)
    if found is None:
        raise NotFound(f"The endpoint '{endpoint.name}' has no revision {number}.")
    return found


def known(endpoint: Endpoint) -> list[Known]:
    """The endpoint's revisions as the rollout sees them."""
    return [Known(r.number, r.state, r.weight, r.promoted_at) for r in endpoint.revisions]


def promote(db: Session, who: Who, endpoint: Endpoint, number: int | None = None) -> Revision:
    """All traffic to a live revision, by default the newest live one."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    if number is None:
        live = [r.number for r in endpoint.revisions if r.state == states.LIVE]
        if not live:
            raise Conflict("No revision is live.", hint="Wait until one is, or look at why it is not.")
        number = max(live)
    found = revision(endpoint, number)
    apply(endpoint, rollout.promote(known(endpoint), number))
    audit.note(db, who, "endpoint.promote", endpoint.name, project_id=endpoint.project_id, revision=number)
    changed(db, endpoint)
    return found


def canary(db: Session, who: Who, endpoint: Endpoint, number: int, percent: float) -> Revision:
    """`percent` of the traffic to a live revision, the rest to the one that has most."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    found = revision(endpoint, number)
    apply(endpoint, rollout.canary(known(endpoint), number, round(percent * 100)))
    audit.note(
        db, who, "endpoint.canary", endpoint.name, project_id=endpoint.project_id, revision=number, percent=percent
    )
    changed(db, endpoint)
    return found


def rollback(db: Session, who: Who, endpoint: Endpoint, number: int | None = None) -> Revision:
    """All traffic back to an earlier revision: at once if it is warm, else as soon as its replicas run again."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    found = revision(endpoint, rollout.rollback_target(known(endpoint)).number if number is None else number)
    if found.state == states.LIVE:
        apply(endpoint, rollout.promote(known(endpoint), found.number))
    elif found.state == states.RETIRED and found.live_at is not None:
        found.state, found.intent, found.began_at, found.ended_at, found.reason = (
            states.STARTING,
            WHOLE,
            now_ms(),
            None,
            "",
        )
    elif found.state != states.STARTING:
        raise Conflict(f"Revision {found.number} is {found.state}; it never went live.", hint="Choose one that did.")
    audit.note(db, who, "endpoint.rollback", endpoint.name, project_id=endpoint.project_id, revision=found.number)
    changed(db, endpoint)
    return found


def apply(endpoint: Endpoint, weights: dict[int, int]) -> None:
    """Writes the weights, notes who got all traffic, and retires what need not stay warm."""
    moment = now_ms()
    for row in endpoint.revisions:
        row.weight = weights.get(row.number, 0)
        if row.weight == WHOLE:
            row.promoted_at = moment
    for number in rollout.superfluous(known(endpoint)):
        row = revision(endpoint, number)
        row.state, row.ended_at, row.began_at = states.RETIRED, moment, moment


def scale(db: Session, who: Who, endpoint: Endpoint, replicas: int) -> Endpoint:
    """The number of replicas of each revision that runs."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    if not 1 <= replicas <= REPLICAS:
        raise Unprocessable(f"An endpoint has 1 to {REPLICAS} replicas.", field="replicas")
    for row in endpoint.revisions:
        if row.state in states.RUNS:
            row.replicas = replicas
    audit.note(db, who, "endpoint.scale", endpoint.name, project_id=endpoint.project_id, replicas=replicas)
    changed(db, endpoint)
    return endpoint


def end(db: Session, row: Revision, state: str, reason: str = "", hint: str = "") -> None:
    """A revision that was under way is over, with the reason."""
    row.failed_in = row.state if state == states.FAILED else ""
    row.state, row.reason, row.hint, row.weight = state, reason, hint, 0
    row.ended_at = row.began_at = now_ms()
    for process in keeper.of_owner(db, "build", row.id):
        keeper.stop(db, process)


def cancel(db: Session, who: Who, endpoint: Endpoint, number: int) -> Revision:
    """Gives up a revision that is not live yet."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    found = revision(endpoint, number)
    if found.state not in states.UNDER_WAY:
        raise Conflict(f"Revision {number} is {found.state}: there is nothing to cancel.")
    end(db, found, states.FAILED, f"{who.name} cancelled it.")
    audit.note(db, who, "endpoint.cancel", endpoint.name, project_id=endpoint.project_id, revision=number)
    changed(db, endpoint)
    return found


def remove(db: Session, who: Who, endpoint: Endpoint) -> None:
    """Takes the endpoint away: no more answers at once; its processes, keys and log follow."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    endpoint.removed_at = now_ms()
    for row in endpoint.revisions:
        if row.state not in states.OVER:
            end(db, row, states.RETIRED, "The endpoint was removed.")
    audit.note(db, who, "endpoint.remove", endpoint.name, project_id=endpoint.project_id)
    changed(db, endpoint)


def create_key(db: Session, who: Who, endpoint: Endpoint, name: str) -> tuple[EndpointKey, str]:
    """A new API key and its secret, which nobody can read again."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    name = " ".join(name.split())[:120]
    if not name:
        raise Unprocessable("A key needs a name, to know later who holds it.", field="name")
    secret = new_secret(KEY_PREFIX)
    row = EndpointKey(id=new_id(), endpoint_id=endpoint.id, name=name, digest=digest(secret), hint=secret[-4:],
                      created_by=who.user_id, created_name=who.name, created_at=now_ms())  # fmt: skip
    db.add(row)
    audit.note(db, who, "endpoint.credentials.create", endpoint.name, project_id=endpoint.project_id, called=name)
    changed(db, endpoint)
    return row, secret


def keys(db: Session, who: Who, endpoint: Endpoint) -> list[EndpointKey]:
    """The endpoint's keys that work, newest first."""
    guard.check(db, who, VIEW, endpoint.project_id)
    query = select(EndpointKey).where(EndpointKey.endpoint_id == endpoint.id, EndpointKey.revoked_at.is_(None))
    return list(db.scalars(query.order_by(EndpointKey.created_at.desc(), EndpointKey.id)))


def revoke_key(db: Session, who: Who, endpoint: Endpoint, key_id: str) -> EndpointKey:
    """Ends a key within a second."""
    guard.check(db, who, DEPLOY, endpoint.project_id)
    row = db.get(EndpointKey, key_id)
    if row is None or row.endpoint_id != endpoint.id or row.revoked_at is not None:
        raise NotFound("There is no such key.")
    row.revoked_at = now_ms()
    audit.note(db, who, "endpoint.credentials.revoke", endpoint.name, project_id=endpoint.project_id, called=row.name)
    changed(db, endpoint)
    return row


def state_of(endpoint: Endpoint) -> str:
    """The endpoint's own word: live, deploying, failed, stopped."""
    return states.endpoint_state([(r.state, r.weight) for r in endpoint.revisions])


def summary_of(row: Revision) -> dict[str, Any]:
    """What was prepared of a revision: class, library, inputs, example; empty until then."""
    found = json.loads(row.summary)
    return found if isinstance(found, dict) else {}


def changed(db: Session, endpoint: Endpoint) -> None:
    """Lets the loop look at once, after the commit."""
    db.flush()
    publish(db, EndpointChanged(endpoint.id, endpoint.project_id))
