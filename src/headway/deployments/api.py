"""Endpoints over JSON: deploy, list, look at, follow, promote, canary, roll back, keys, remove."""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from headway.deployments import choose, forward, logs, prediction_log, service, show
from headway.people.guard import Signed
from headway.people.rules import DEPLOY
from headway.projects import service as projects
from headway.web.answers import docs_responses
from headway.web.edge import Db, HostDep, ReadDb

router = APIRouter()
router.include_router(forward.router)
endpoints = APIRouter(prefix="/api/v1/projects/{slug}/endpoints", tags=["endpoints"], responses=docs_responses())


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DeployBody(Body):
    """What to deploy: a model (`churn/3`, `churn@champion`, `churn`) or the model of a run."""

    model: str = Field("", max_length=400, examples=["churn@champion"])
    run_id: str = Field("", max_length=64)
    choice: str = Field("", max_length=600, description="Which model, where the run left several.")
    name: str = Field("", max_length=63, description="The endpoint's name; by default made of the model's.")
    canary: float | None = Field(None, description="Percent of the traffic it takes once it is live; none: all.")
    replicas: int = 1
    memory_mb: int | None = Field(None, ge=64, le=1 << 24)


class RevisionBody(Body):
    """One of the endpoint's revisions; none: the one that is meant by default."""

    revision: int | None = None


class CanaryBody(Body):
    """A share of the traffic for a revision; the rest goes to the one that has most."""

    revision: int
    percent: float


class ScaleBody(Body):
    """How many replicas each running revision has."""

    replicas: int


class KeyBody(Body):
    """What the key is for."""

    name: str = Field(max_length=120)


@endpoints.get("")
def index(db: ReadDb, host: HostDep, who: Signed, slug: str) -> dict[str, Any]:
    """The project's endpoints."""
    project = projects.by_slug(db, who, slug)
    return {"endpoints": [show.endpoint_json(host, e) for e in service.listed(db, who, project)]}


@endpoints.post("", status_code=202)
def deploy(db: Db, host: HostDep, who: Signed, slug: str, body: DeployBody) -> dict[str, Any]:
    """Ask for a revision. It goes live only after its bundle was proved in a clean environment; follow `state`."""
    project = projects.by_slug(db, who, slug, DEPLOY)
    version = choose.resolve(db, who, project, model=body.model, run_id=body.run_id, choice=body.choice)
    row = service.deploy(db, who, project, version, name=body.name or None, canary=body.canary, replicas=body.replicas,
                         memory_mb=body.memory_mb)  # fmt: skip
    return show.endpoint_json(host, row.endpoint) | {"deployed": row.number}


@endpoints.get("/{name}")
def one(db: ReadDb, host: HostDep, who: Signed, slug: str, name: str) -> dict[str, Any]:
    """One endpoint with its revisions."""
    return show.endpoint_json(host, service.get(db, who, projects.by_slug(db, who, slug), name))


@endpoints.post("/{name}/promote")
def promote(db: Db, host: HostDep, who: Signed, slug: str, name: str, body: RevisionBody) -> dict[str, Any]:
    """All traffic to a live revision; by default the newest live one."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    service.promote(db, who, endpoint, body.revision)
    return show.endpoint_json(host, endpoint)


@endpoints.post("/{name}/canary")
def canary(db: Db, host: HostDep, who: Signed, slug: str, name: str, body: CanaryBody) -> dict[str, Any]:
    """A share of the traffic to a live revision."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    service.canary(db, who, endpoint, body.revision, body.percent)
    return show.endpoint_json(host, endpoint)


@endpoints.post("/{name}/rollback")
def rollback(db: Db, host: HostDep, who: Signed, slug: str, name: str, body: RevisionBody) -> dict[str, Any]:
    """All traffic back to an earlier revision; by default the last one before the one that serves."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    row = service.rollback(db, who, endpoint, body.revision)
    return show.endpoint_json(host, endpoint) | {"rolled_back_to": row.number}


@endpoints.post("/{name}/scale")
def scale(db: Db, host: HostDep, who: Signed, slug: str, name: str, body: ScaleBody) -> dict[str, Any]:
    """Another number of replicas."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    return show.endpoint_json(host, service.scale(db, who, endpoint, body.replicas))


@endpoints.post("/{name}/revisions/{number}/cancel")
def cancel(db: Db, host: HostDep, who: Signed, slug: str, name: str, number: int) -> dict[str, Any]:
    """Give up a revision that is not live yet."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    service.cancel(db, who, endpoint, number)
    return show.endpoint_json(host, endpoint)


@endpoints.delete("/{name}")
def remove(db: Db, who: Signed, slug: str, name: str) -> dict[str, Any]:
    """Take the endpoint away, with its revisions, keys and prediction log."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    service.remove(db, who, endpoint)
    return {"name": name, "removed": True}


@endpoints.get("/{name}/keys")
def keys(db: ReadDb, who: Signed, slug: str, name: str) -> dict[str, Any]:
    """The keys that work; secrets are not kept."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    return {"keys": [show.key_json(row) for row in service.keys(db, who, endpoint)]}


@endpoints.post("/{name}/keys", status_code=201)
def create_key(db: Db, who: Signed, slug: str, name: str, body: KeyBody) -> dict[str, Any]:
    """A new key; `key` is its secret, shown this once."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    row, secret = service.create_key(db, who, endpoint, body.name)
    return show.key_json(row) | {"key": secret}


@endpoints.delete("/{name}/keys/{key_id}")
def revoke_key(db: Db, who: Signed, slug: str, name: str, key_id: str) -> dict[str, Any]:
    """End a key."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    return show.key_json(service.revoke_key(db, who, endpoint, key_id)) | {"revoked": True}


@endpoints.get("/{name}/logs", response_class=PlainTextResponse)
def log(
    db: ReadDb,
    host: HostDep,
    who: Signed,
    slug: str,
    name: str,
    revision: int | None = None,
    kind: Literal["all", "build", "proof", "replica"] = "all",
) -> str:
    """What the build of the environment, the proof and the replicas of a revision printed; by default of the newest."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    return logs.text(db, host, service.revision(endpoint, revision or endpoint.revisions[0].number), kind)


@endpoints.get("/{name}/predictions")
def predictions(
    db: ReadDb, host: HostDep, who: Signed, slug: str, name: str, limit: int = Query(100, ge=1, le=1000)
) -> dict[str, Any]:
    """The newest lines of the prediction log."""
    endpoint = service.get(db, who, projects.by_slug(db, who, slug), name)
    folder = host.settings.path("predictions")
    return {"predictions": list(islice(prediction_log.read(folder, endpoint.id, limit=limit), limit))}


router.include_router(endpoints)
