"""What the gateway knows: the snapshot of routes as plain records, and the split of traffic. No I/O, no SQL.

The server writes `gateway/routes.json` atomically at each change; the gateway swaps it in whole. A request that names
its entity (header `X-Headway-Entity`) always meets the same revision while the weights stand, and as a canary's weight
grows no entity leaves it; other requests are spread evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

WHOLE = 10_000  # weights are in hundredths of a percent
_GOLDEN = 6_181  # coprime to WHOLE: consecutive counts visit every place of the split evenly


@dataclass(frozen=True, slots=True)
class Replica:
    """One process that answers for a revision."""

    id: str
    socket: str


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision with its share of traffic. `pure`: a request may be asked again when a replica dies."""

    number: int
    weight: int
    replicas: tuple[Replica, ...] = ()
    pure: bool = True


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. `revisions` stand with canaries first, so that a growing canary keeps whom it has."""

    id: str
    project: str
    name: str
    revisions: tuple[Revision, ...]
    public: bool = False
    in_flight: int = 512
    timeout_s: float = 30.0
    body_bytes: int = 32 << 20
    log: bool = True

    def pick(self, entity: bytes | None, count: int) -> Revision | None:
        """The revision for an entity, or for the count-th request without one; None where none has weight."""
        if len(self.revisions) == 1 and self.revisions[0].weight:
            return self.revisions[0]
        place = (crc32(entity, crc32(self.id.encode())) if entity is not None else count * _GOLDEN) % WHOLE
        for revision in self.revisions:
            if place < revision.weight:
                return revision
            place -= revision.weight
        return next((r for r in self.revisions if r.weight), None)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, known by its hash only. `endpoints` is None for the platform's own key, which opens all."""

    id: str
    endpoints: frozenset[str] | None


@dataclass(frozen=True)
class Routes:
    """A whole snapshot."""

    generation: int = 0
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)  # "project/name" -> Endpoint
    keys: Mapping[str, Key] = field(default_factory=dict)  # sha256 in hex -> Key

    def to_json(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "keys": {
                digest: {"id": k.id, "endpoints": None if k.endpoints is None else sorted(k.endpoints)}
                for digest, k in self.keys.items()
            },
            "endpoints": [_endpoint_json(e) for e in self.endpoints.values()],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Routes:
        """Raises KeyError, TypeError or ValueError for a snapshot that is not one."""
        endpoints = [_endpoint(e) for e in value["endpoints"]]
        keys = {
            str(digest): Key(str(k["id"]), None if k["endpoints"] is None else frozenset(k["endpoints"]))
            for digest, k in value["keys"].items()
        }
        return Routes(int(value["generation"]), {f"{e.project}/{e.name}": e for e in endpoints}, keys)


def _endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "project": endpoint.project,
        "name": endpoint.name,
        "public": endpoint.public,
        "in_flight": endpoint.in_flight,
        "timeout_s": endpoint.timeout_s,
        "body_bytes": endpoint.body_bytes,
        "log": endpoint.log,
        "revisions": [
            {
                "number": r.number,
                "weight": r.weight,
                "pure": r.pure,
                "replicas": [{"id": p.id, "socket": p.socket} for p in r.replicas],
            }
            for r in endpoint.revisions
        ],
    }


def _endpoint(value: Mapping[str, Any]) -> Endpoint:
    revisions = tuple(
        Revision(
            int(r["number"]),
            int(r["weight"]),
            tuple(Replica(str(p["id"]), str(p["socket"])) for p in r["replicas"]),
            bool(r["pure"]),
        )
        for r in value["revisions"]
    )
    return Endpoint(
        str(value["id"]),
        str(value["project"]),
        str(value["name"]),
        revisions,
        bool(value["public"]),
        int(value["in_flight"]),
        float(value["timeout_s"]),
        int(value["body_bytes"]),
        bool(value["log"]),
    )
