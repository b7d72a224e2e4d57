"""What was asked for becomes what is: environments, proofs, replicas, the gateway and its routes.

Each step looks at every revision that is under way and takes it one state further if it may be; files and processes are
looked at outside of transactions, and a change is written only if the revision still is as it was read.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

import headway
from headway.deployments import compose, prepare, processes, rollout, service, states
from headway.deployments.platform import platform_key
from headway.deployments.snapshot import read_json, write_atomic
from headway.deployments.tables import Endpoint, EndpointKey, Revision
from headway.deployments.traffic import WHOLE
from headway.engines import keeper
from headway.engines.base import Spec
from headway.engines.host import Host
from headway.engines.tables import Process
from headway.environments import service as environments
from headway.environments.states import CANCELLED
from headway.environments.states import FAILED as BUILD_FAILED
from headway.errors import HeadwayError, Unavailable
from headway.events import Bus, EndpointChanged, EnvironmentChanged, Event, ProcessChanged
from headway.models import service as models
from headway.people.credentials import digest
from headway.people.rules import Who

log = logging.getLogger("headway.deployments")

INTERVAL_S = 0.25
_PLATFORM = Who("", "headway", admin=True)
START_MS = 180_000
ALL_MS = 2_000  # a token that was revoked, or a change by another server, takes effect within this


def step(host: Host, now: int) -> int | None:
    """A look at what is under way; at everything when something changed here, else at most every two seconds. When to look
    again: soon while a revision is under way or a replica is to go (the gateway tells of those in a file), else when a token
    expires."""
    seen = host.own(_Seen)
    seen.listen(host.bus)
    with host.database.read() as db:
        under_way = list(db.execute(select(Revision.id, Revision.state).where(Revision.state.in_(states.UNDER_WAY))))
    if not under_way and not seen.changed and now - seen.all_at < ALL_MS:
        return seen.all_at + ALL_MS
    seen.changed, seen.all_at = False, now
    ensure_gateway(host)
    for revision_id, state in under_way:
        try:
            _STEPS[state](host, revision_id, now)
        except Unavailable as error:
            log.warning("revision %s (%s), tried again: %s", revision_id, state, error)
        except HeadwayError as error:
            _fail(host, revision_id, state, error.message, error.hint)
        except Exception:
            log.exception("revision %s (%s)", revision_id, state)
            hint = "The server's log has it. Deploy again."
            _fail(host, revision_id, state, "Something went wrong on our side.", hint)
    write_routes(host, now)
    going = _replicas(host)
    _clear(host)
    if under_way:
        return now + int(INTERVAL_S * 1000)
    if going:
        return now + ALL_MS
    with host.database.read() as db:
        return compose.next_expiry(db, now)


@dataclass
class _Seen:
    """What one server knows: whether something was published since the last look at everything, and when that was."""

    changed: bool = True
    all_at: int = 0
    listens: bool = False

    def listen(self, bus: Bus) -> None:
        """From now on, hear of what is published."""
        for kind in () if self.listens else (EndpointChanged, EnvironmentChanged, ProcessChanged):
            bus.subscribe(kind, self._note)
        self.listens = True

    def _note(self, _host: Host, _event: Event) -> None:
        self.changed = True


def ensure_gateway(host: Host) -> None:
    """The gateway is wanted, on the port of the settings and of this release; one of another kind is stopped."""
    settings = host.settings
    key = f"gateway-{headway.__version__}-{settings.host}-{settings.gateway_port}"
    with host.database.read() as db:
        rows = keeper.of_owner(db, "gateway", "gateway")
        if [r.key for r in rows if r.wanted == "running"] == [key]:
            return
    argv = (sys.executable, "-m", "headway.deployments.gateway", "--home", str(settings.home), "--host", settings.host,
            "--port", str(settings.gateway_port))  # fmt: skip
    folder = settings.path("gateway", "process")
    spec = Spec(
        key, argv, str(settings.home), str(folder), grace_s=15.0, stop_signal="TERM", env={"PYTHONUNBUFFERED": "1"}
    )
    with host.database.write() as db:
        for row in keeper.of_owner(db, "gateway", "gateway"):
            if row.key != key:
                keeper.stop(db, row)
        keeper.want(db, kind="gateway", owner_id="gateway", spec=spec, project_id=None)


# ---- a revision, from state to state ----


def _asked(host: Host, revision_id: str, now: int) -> None:
    """Its bundle is fetched and made readable, and its environment asked for."""
    with host.database.read() as db:
        version = models.by_id(db, _PLATFORM, db.get_one(Revision, revision_id).version_id)
    folder = processes.bundle_folder(host, revision_id)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    models.materialize(host, version, folder)
    manifest = prepare.prepare(folder)
    needed = prepare.requirements(folder, manifest)
    summary = prepare.summary(manifest, folder)
    with host.database.write() as db:
        if (row := _still(db, revision_id, states.ASKED)) is None:
            return
        environment = environments.ask_lock(db, row.endpoint.project_id, needed, manifest.python or "")
        row.environment_id, row.pure, row.summary = environment.id, summary["pure"], json.dumps(summary)
        _enter(db, row, states.ENVIRONMENT, now)


def _environment(host: Host, revision_id: str, now: int) -> None:
    """Once its environment is ready, the proof begins."""
    with host.database.read() as db:
        environment = environments.by_id(db, db.get_one(Revision, revision_id).environment_id or "")
        state, message, hint, ready = environment.state, environment.message, environment.hint, environment.ready
        python = environment.python if ready else None
    if state in (BUILD_FAILED, CANCELLED):
        _fail(host, revision_id, states.ENVIRONMENT, f"Its environment could not be built: {message}", hint)
    elif python is not None:
        processes.forget_verdict(host, revision_id)
        with host.database.write() as db:
            if (row := _still(db, revision_id, states.ENVIRONMENT)) is not None:
                spec = processes.proof(host, row, python)
                keeper.want(db, kind="build", owner_id=row.id, spec=spec, project_id=row.endpoint.project_id)
                _enter(db, row, states.PROVING, now)


def _proving(host: Host, revision_id: str, now: int) -> None:
    """Only a bundle that loads and still says what it said goes on."""
    with host.database.read() as db:
        found = keeper.of_owner(db, "build", revision_id)
        process = found[-1] if found else None
        over, cause = process is None or process.settled, process.cause if process else "lost"
    if not over:
        return
    verdict = processes.verdict(host, revision_id)
    if verdict is None:
        reason, hint = states.unproved(cause, processes.proof_log(host, revision_id))
        _fail(host, revision_id, states.PROVING, reason, hint)
        return
    with host.database.write() as db:
        if (row := _still(db, revision_id, states.PROVING)) is None:
            return
        row.verdict = json.dumps(verdict)
        if verdict["ok"]:
            _enter(db, row, states.STARTING, now)
        else:
            service.end(db, row, states.FAILED, str(verdict["reason"]), str(verdict["hint"]))
            service.changed(db, row.endpoint)


def _starting(host: Host, revision_id: str, now: int) -> None:
    """Once the gateway reaches all of its replicas, it is live and takes its share."""
    links = _links(host)
    with host.database.read() as db:
        seen = db.get_one(Revision, revision_id)
        reached = all(links.get(compose.socket_of(host, seen, i)) for i in range(seen.replicas))
        late = now - (seen.began_at or now) > START_MS
        failing = any(p.failures >= 3 for p in keeper.of_owner(db, "replica", seen.id))
    if not reached:
        if late or failing:
            last = processes.last_line(processes.replica_log(host, revision_id))
            _fail(host, revision_id, states.STARTING, "Its replica does not start.", last or "Its log may tell why.")
        return
    with host.database.write() as db:
        if (row := _still(db, revision_id, states.STARTING)) is None:
            return
        row.live_at = row.live_at or now
        _enter(db, row, states.LIVE, now)
        _take_traffic(db, row)


def _take_traffic(db: Session, row: Revision) -> None:
    """A revision that went live takes the share it was meant to have; the first one takes all."""
    known = service.known(row.endpoint)
    if rollout.serving(known) is None or row.intent == WHOLE:
        service.apply(row.endpoint, rollout.promote(known, row.number))
    else:
        service.apply(row.endpoint, rollout.canary(known, row.number, row.intent))
    service.changed(db, row.endpoint)


_STEPS: dict[str, Callable[[Host, str, int], None]] = {
    states.ASKED: _asked,
    states.ENVIRONMENT: _environment,
    states.PROVING: _proving,
    states.STARTING: _starting,
}


def _still(db: Session, revision_id: str, state: str) -> Revision | None:
    """The revision if it still is in that state, for writing."""
    row = db.get(Revision, revision_id)
    return row if row is not None and row.state == state and row.endpoint.removed_at == 0 else None


def _enter(db: Session, row: Revision, state: str, now: int) -> None:
    row.state, row.began_at = state, now
    service.changed(db, row.endpoint)


def _fail(host: Host, revision_id: str, state: str, reason: str, hint: str) -> None:
    with host.database.write() as db:
        if (row := _still(db, revision_id, state)) is not None:
            service.end(db, row, states.FAILED, reason, hint)
            service.changed(db, row.endpoint)


# ---- routes and replicas ----


def routes_file(host: Host) -> Path:
    """The snapshot that the gateway reads."""
    return host.settings.path("gateway", "routes.json")


def write_routes(host: Host, now: int) -> None:
    """Writes the snapshot if the rows say something else than the one in force."""
    secret = platform_key(host)
    path = routes_file(host)
    present = read_json(path)
    before = present.get("generation", 0) if isinstance(present, dict) else 0
    with host.database.read() as db:
        wanted = compose.routes(db, host, digest(secret), before).to_json()
    if wanted != present:
        write_atomic(path, wanted | {"generation": max(now, before + 1)})


def _links(host: Host) -> dict[str, bool]:
    """Which replicas the gateway that runs now can reach."""
    state = read_json(host.settings.path("gateway", "state.json"))
    if not isinstance(state, dict) or not Path(f"/proc/{state.get('pid')}").exists():
        return {}
    links = state.get("links")
    return links if isinstance(links, dict) else {}


def _replicas(host: Host) -> bool:
    """Wants the replicas of what runs; stops those of what does not once the gateway lets go of them. Whether it has yet to."""
    links = _links(host)
    with host.database.read() as db:
        running = list(db.scalars(select(Revision).where(Revision.state.in_(states.RUNS))))
        wanted = {processes.replica_key(r.id, i): (r.id, i) for r in running for i in range(r.replicas)}
        rows = db.scalars(select(Process).where(Process.kind == "replica", Process.wanted == "running"))
        present = {p.key: p.id for p in rows}
    missing = wanted.keys() - present.keys()
    superfluous = present.keys() - wanted.keys()
    extra = [present[k] for k in superfluous if not links.get(processes.socket_of_key(host, k))]
    if missing or extra:
        _start_and_stop(host, {key: wanted[key] for key in sorted(missing)}, extra)
    return len(extra) < len(superfluous)


def _start_and_stop(host: Host, missing: dict[str, tuple[str, int]], extra: list[str]) -> None:
    with host.database.write() as db:
        for revision_id, index in missing.values():
            row = db.get(Revision, revision_id)
            if row is not None and row.state in states.RUNS:
                python = environments.by_id(db, row.environment_id or "").python
                spec = processes.replica(host, row, index, python)
                keeper.want(db, kind="replica", owner_id=row.id, spec=spec, project_id=row.endpoint.project_id)
        for process_id in extra:
            if (process := db.get(Process, process_id)) is not None:
                keeper.stop(db, process)


def _clear(host: Host) -> None:
    """Removed endpoints go for good once none of their processes is left."""
    with host.database.read() as db:
        gone = []
        for endpoint in db.scalars(select(Endpoint).where(Endpoint.removed_at > 0)):
            owned = [
                p for r in endpoint.revisions for kind in ("replica", "build") for p in keeper.of_owner(db, kind, r.id)
            ]
            if all(p.settled for p in owned):
                gone.append((endpoint.id, [r.id for r in endpoint.revisions]))
    for endpoint_id, revision_ids in gone:
        for revision_id in revision_ids:
            shutil.rmtree(processes.folder(host, revision_id), ignore_errors=True)
        shutil.rmtree(host.settings.path("predictions", endpoint_id), ignore_errors=True)
        with host.database.write() as db:
            for key in db.scalars(select(EndpointKey).where(EndpointKey.endpoint_id == endpoint_id)):
                db.delete(key)
            for revision in db.scalars(select(Revision).where(Revision.endpoint_id == endpoint_id)):
                db.delete(revision)
            db.flush()
            if (row := db.get(Endpoint, endpoint_id)) is not None:
                db.delete(row)
