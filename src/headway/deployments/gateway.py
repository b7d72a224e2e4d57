"""The gateway: a process of its own between the world and the replicas. If the platform dies, predictions go on.

It knows only `routes.json`, the replicas' sockets and its own files: no database. For each request it checks the key,
picks a revision, forwards the body unparsed in a frame, and appends to the prediction log.

    python -m headway.deployments.gateway --home DIR --host 127.0.0.1 --port 8641
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

import uvloop

from headway import frames
from headway.deployments import describe, noticing
from headway.deployments.counters import Counter, prometheus
from headway.deployments.http import Connection, Exchange
from headway.deployments.links import Link
from headway.deployments.prediction_log import Entry, PredictionLog
from headway.deployments.snapshot import State, Watch
from headway.deployments.traffic import Endpoint, Key, Revision, Routes

_IDLE_S, _REQUEST_S = 75.0, 60.0
_SWEEP_S = 0.25  # while requests are under way
_TURN_S = 1.0
_RELOAD_S = 0.05  # where the system does not tell of a new snapshot
_TRIES = 2
_NO_ENDPOINT_BYTES = 1 << 20
_POSTS = {b"invocations": frames.INVOCATIONS, b"v2/infer": frames.V2_INFER}
_GETS = {
    b"",
    b"health",
    b"ping",
    b"schema",
    b"openapi.json",
    b"v2",
    b"v2/health/live",
    b"v2/health/ready",
    b"v2/model",
    b"v2/model/ready",
}


class Call:
    """One request under way to a replica: what a link answers or loses."""

    __slots__ = (
        "body", "content", "deadline", "endpoint", "exchange", "gateway", "id", "key", "kind", "revision", "started",
        "then", "tries",
    )  # fmt: skip

    def __init__(
        self, gateway: Gateway, exchange: Exchange, endpoint: Endpoint, key: str, kind: int, content: int
    ) -> None:
        self.gateway = gateway
        self.exchange = exchange
        self.endpoint = endpoint
        self.key = key
        self.kind = kind
        self.content = content
        self.body = exchange.body
        self.started = time.time()
        self.deadline = self.started + endpoint.timeout_s
        self.revision: Revision | None = None
        self.tries = 0
        self.id = ""
        self.then: describe.Then | None = None

    def answered(self, status: int, body: bytes) -> None:
        self.gateway.finish(self, status, body)

    def lost(self) -> None:
        """The replica died with this under way."""
        if self.tries < _TRIES and (self.revision is None or self.revision.pure):
            self.gateway.send(self)
        else:
            self.gateway.fail(self, 503, "REPLICA_DIED", "The replica that had this request ended before it answered.")


class Gateway:
    """Routes, links, limits and counters, on one event loop."""

    def __init__(self, home: Path) -> None:
        self.connections: set[Connection] = set()
        self.routes = Routes()
        self.log = PredictionLog(home / "predictions")
        self.links: dict[str, Link] = {}
        self.counters: dict[tuple[str, int], Counter] = {}
        self.in_flight: dict[str, int] = {}
        self._watch = Watch(home / "gateway" / "routes.json")
        self._state = State(home / "gateway")
        self._paths: dict[bytes, tuple[Endpoint | None, bytes]] = {}
        self._keys: dict[bytes, Key] = {}
        self._held: deque[Call] = deque()
        self._count = 0
        self._prefix = f"{int(time.time()):08x}{os.urandom(3).hex()}"
        self._loop = asyncio.get_running_loop()
        self._state_due = False
        self._sweeping = False
        self.counters = self._state.load_counters()
        self.reload()

    # ---- routes ----

    def reload(self) -> None:
        """Swaps in the snapshot if it changed; links of replicas that left close after their last answer."""
        routes = self._watch.changed()
        if routes is None:
            return
        self.routes = routes
        self._paths.clear()
        self._keys.clear()
        wanted = {p.socket for e in routes.endpoints.values() for r in e.revisions for p in r.replicas}
        for path in wanted - self.links.keys():
            self.links[path] = Link(path, self._links_changed)
        for path in self.links.keys() - wanted:
            self.links.pop(path).retire()
        self._links_changed()

    def _links_changed(self) -> None:
        if not self._state_due:
            self._state_due = True
            self._loop.call_soon(self._tell_state)

    def _tell_state(self) -> None:
        self._state_due = False
        self._state.write(self.routes.generation, {path: link.up for path, link in self.links.items()})
        held, self._held = self._held, deque()
        for call in held:
            self.send(call)

    def body_limit(self, path: bytes) -> int:
        """The largest body that a path takes, in bytes."""
        endpoint, _ = self._find(path)
        return endpoint.body_bytes if endpoint is not None else _NO_ENDPOINT_BYTES

    def _find(self, path: bytes) -> tuple[Endpoint | None, bytes]:
        """(endpoint, action) of a path; remembered, since the same few come again and again."""
        found = self._paths.get(path)
        if found is None:
            if len(self._paths) > 4096:
                self._paths.clear()
            found = self._paths[path] = self._split(path.split(b"?", 1)[0])
        return found

    def _split(self, path: bytes) -> tuple[Endpoint | None, bytes]:
        parts = path.split(b"/", 4)
        if len(parts) < 4 or parts[1] != b"endpoints":
            return None, path
        name = b"/".join(parts[2:4]).decode("latin-1")
        action = parts[4] if len(parts) > 4 else b""
        if action.startswith(b"v2/models/"):
            _, _, rest = action[10:].partition(b"/")
            action = b"v2/" + rest if rest == b"infer" else b"v2/model" + (b"/" + rest if rest else b"")
        return self.routes.endpoints.get(name), action

    # ---- one request ----

    def handle(self, exchange: Exchange) -> None:
        """Answers an exchange, now or when its replica has."""
        endpoint, action = self._find(exchange.path)
        if endpoint is None and action == b"/health":
            exchange.respond(200, b'{"status": "ok"}')
            return
        key = self._key(exchange)
        if endpoint is None:
            self._elsewhere(exchange, action, key)
            return
        if not (endpoint.public or (key is not None and (key.endpoints is None or endpoint.id in key.endpoints))):
            _refuse_key(exchange, key)
            return
        kind = _POSTS.get(action)
        if kind is None:
            if action not in _GETS:
                exchange.refuse(
                    404,
                    "NOT_FOUND",
                    "There is nothing at this path.",
                    "POST to invocations; GET schema, openapi.json, health.",
                )
            elif exchange.method != b"GET":
                exchange.refuse(405, "METHOD", "Use GET here.", extra=b"Allow: GET\r\n")
            else:
                self._describe(exchange, endpoint, action, key)
            return
        if exchange.method != b"POST":
            exchange.refuse(405, "METHOD", "Use POST here.", extra=b"Allow: POST\r\n")
            return
        content = frames.JSON
        if sent := exchange.headers.get(b"content-type"):
            sent = sent.split(b";", 1)[0].strip().lower()
            if sent == b"text/csv":
                content = frames.CSV
        self._start(Call(self, exchange, endpoint, key.id if key is not None else "", kind, content))

    def _key(self, exchange: Exchange) -> Key | None:
        """The key that a request carries, if it is known. Only hashes are kept; a token seen before is found by itself."""
        raw = exchange.headers.get(b"authorization")
        if raw is None:
            if not (token := exchange.headers.get(b"x-api-key", b"").strip()):
                return None
            raw = b"Bearer " + token
        if (found := self._keys.get(raw)) is not None:
            return found
        scheme, _, token = raw.partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip():
            return None
        # Looked up by hash: how long that takes tells nothing about a key that is not known.
        found = self.routes.keys.get(hashlib.sha256(token.strip()).hexdigest())
        if found is not None:
            if len(self._keys) > 4096:
                self._keys.clear()
            self._keys[raw] = found
        return found

    def _elsewhere(self, exchange: Exchange, path: bytes, key: Key | None) -> None:
        """No such endpoint. Who has no key learns nothing; the platform's key may read the metrics."""
        if path == b"/metrics" and key is not None and key.endpoints is None:
            named = [
                (e.project, e.name, number, counter)
                for e in self.routes.endpoints.values()
                for (endpoint, number), counter in self.counters.items()
                if endpoint == e.id
            ]
            flights = {(e.project, e.name): self.in_flight.get(e.id, 0) for e in self.routes.endpoints.values()}
            exchange.respond_text(prometheus(named, flights))
        else:
            _refuse_key(exchange, key)

    def _start(self, call: Call) -> None:
        endpoint = call.endpoint
        flying = self.in_flight.get(endpoint.id, 0)
        self._count += 1
        call.id = f"{self._prefix}{self._count:08x}"
        self._stir()
        if flying >= endpoint.in_flight:
            self._finished(call, 503, b"")
            message = f"{endpoint.in_flight} requests are in flight already."
            call.exchange.refuse(503, "OVERLOADED", message, "Try again in a second.", b"Retry-After: 1\r\n")
            return
        if timeout := call.exchange.headers.get(b"x-headway-timeout-ms"):
            if timeout.isdigit() and len(timeout) < 10:
                call.deadline = min(call.deadline, call.started + int(timeout) / 1000)
            else:
                call.exchange.refuse(400, "BAD_INPUT", "X-Headway-Timeout-Ms must be a whole number of milliseconds.")
                return
        self.in_flight[endpoint.id] = flying + 1
        call.revision = endpoint.pick(call.exchange.headers.get(b"x-headway-entity"), self._count)
        if call.revision is None:
            self.fail(call, 503, "UNAVAILABLE", "No revision of this endpoint is live.")
        else:
            self.send(call)

    def send(self, call: Call) -> None:
        """Asks the least busy replica of the call's revision, else of another that has traffic; else holds the call."""
        link = self._link(call.revision)
        if link is None:
            current = self.routes.endpoints.get(f"{call.endpoint.project}/{call.endpoint.name}")
            if current is None:
                self.fail(call, 404, "NOT_FOUND", "The endpoint was removed.")
                return
            by_number = {r.number: r for r in current.revisions}
            chosen = by_number.get(call.revision.number if call.revision else -1)
            others = [r for r in reversed(current.revisions) if r is not chosen and r.weight]
            for revision in ([chosen] if chosen else []) + others:
                if (link := self._link(revision)) is not None:
                    call.revision = revision
                    break
            else:
                if call.deadline < time.time():
                    self.fail(call, 503, "UNAVAILABLE", "No replica is ready for this endpoint.")
                else:
                    self._held.append(call)
                return
        call.tries += 1
        link.ask(call, call.kind, call.content, call.body)

    def _link(self, revision: Revision | None) -> Link | None:
        best: Link | None = None
        if revision is not None:
            for replica in revision.replicas:
                link = self.links.get(replica.socket)
                if link is not None and link.usable and (best is None or len(link.pending) < len(best.pending)):
                    best = link
        return best

    def finish(self, call: Call, status: int, body: bytes) -> None:
        """A replica's answer: to the client, the counters and the log."""
        if call.then is not None:
            self.in_flight[call.endpoint.id] -= 1
            call.then(call.exchange, status, body)
            return
        number = call.revision.number if call.revision is not None else 0
        extra = b"X-Headway-Prediction-Id: %b\r\nX-Headway-Revision: %d\r\n" % (call.id.encode(), number)
        call.exchange.respond(status, body, extra)
        self.in_flight[call.endpoint.id] -= 1
        self._finished(call, status, body)

    def fail(self, call: Call, status: int, code: str, message: str) -> None:
        """An answer of our own for a call that no replica answered."""
        extra = b"X-Headway-Prediction-Id: %b\r\n" % call.id.encode() + (
            b"Retry-After: 1\r\n" if status == 503 else b""
        )
        call.exchange.refuse(status, code, message, "Try again." if status >= 500 else "", extra)
        self.in_flight[call.endpoint.id] -= 1
        if call.then is None:
            self._finished(call, status, b"")

    def _finished(self, call: Call, status: int, body: bytes) -> None:
        now = time.time()
        number = call.revision.number if call.revision is not None else 0
        counter = self.counters.get((call.endpoint.id, number))
        if counter is None:
            counter = self.counters[call.endpoint.id, number] = Counter()
        counter.add(status, now - call.started, int(now) // 60)
        if call.endpoint.log:
            is_json = call.content == frames.JSON
            self.log.add(
                Entry(
                    call.endpoint.id,
                    call.id,
                    now,
                    number,
                    call.key,
                    now - call.started,
                    status,
                    call.body,
                    is_json,
                    body,
                )
            )

    def _describe(self, exchange: Exchange, endpoint: Endpoint, action: bytes, key: Key | None) -> None:
        """Health, schema and documents come from the replica that would answer."""
        answer = describe.at_once(action, endpoint, any(self._link(r) for r in endpoint.revisions))
        if answer is not None:
            exchange.respond(*answer)
            return
        kind = frames.HEALTH if action in (b"health", b"ping", b"v2/health/ready", b"v2/model/ready") else frames.SCHEMA
        call = Call(self, exchange, endpoint, key.id if key is not None else "", kind, frames.JSON)
        call.body = b""
        call.deadline = min(call.deadline, call.started + 5)
        call.then = describe.later(action, endpoint)
        self._stir()
        self.in_flight[endpoint.id] = self.in_flight.get(endpoint.id, 0) + 1
        call.revision = endpoint.pick(None, 0)
        if call.revision is None:
            self.fail(call, 503, "UNAVAILABLE", "No revision of this endpoint is live.")
        else:
            self.send(call)

    # ---- time ----

    def _stir(self) -> None:
        """A request is under way: deadlines are looked at until none is."""
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep_on)

    def _sweep_on(self) -> None:
        self._sweeping = False
        self.sweep()
        if self._held or any(link.pending for link in self.links.values()):
            self._stir()

    def sweep(self) -> None:
        """Deadlines, silent clients, held requests; also writes the counters now and then, if they have changed."""
        now = time.time()
        for link in self.links.values():
            for waiting in link.expire(now):
                assert isinstance(waiting, Call)
                self.fail(waiting, 504, "DEADLINE", "The model did not answer in time.")
        held, self._held = self._held, deque()
        for call in held:
            self.send(call)
        moment = self._loop.time()
        for connection in list(self.connections):
            connection.expire(moment, _IDLE_S, _REQUEST_S)
        self._state.write_counters(self.counters, self.log.dropped, self._known())

    def _known(self) -> set[str]:
        return {e.id for e in self.routes.endpoints.values()}

    def close(self) -> None:
        """Writes what is still to be written."""
        self.log.close()
        self._state.write_counters(self.counters, self.log.dropped, self._known(), force=True)


def _refuse_key(exchange: Exchange, key: Key | None) -> None:
    """A key that opens other endpoints gets the answer that a missing endpoint gives; any other must show one first."""
    if key is not None:
        exchange.refuse(404, "NOT_FOUND", "There is no such endpoint, or this key does not open it.")
    else:
        hint = "Send the header Authorization: Bearer <key>. The endpoint's page makes keys."
        exchange.refuse(401, "UNAUTHENTICATED", "An API key is needed.", hint, b"WWW-Authenticate: Bearer\r\n")


async def _run(home: Path, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    gateway = Gateway(home)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Connection(gateway), host, port, backlog=1024, reuse_port=False)
    bound = server.sockets[0].getsockname()[1]
    print(f"listening on {host}:{bound}", flush=True)
    rest = _TURN_S if noticing.hear(loop, home / "gateway", gateway.reload) else _RELOAD_S
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), rest)
        gateway.reload()
        gateway.sweep()
    server.close()
    until = loop.time() + 10
    while loop.time() < until and any(not c.idle for c in gateway.connections):
        await asyncio.sleep(0.02)
    gateway.close()


def main() -> int:
    """Exit status: 0 told to stop, 1 the address is taken."""
    parser = argparse.ArgumentParser(prog="python -m headway.deployments.gateway", description="Serve the endpoints.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    try:
        uvloop.run(_run(args.home, args.host, args.port))
    except OSError as error:
        print(f"the gateway can't listen on {args.host}:{args.port}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
