"""Endpoints: deploy, follow, ask, promote, roll back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from headway.errors import Unavailable
from headway.sdk.client import Client, part

Json = dict[str, Any]
UNDER_WAY = frozenset({"asked", "environment", "proving", "starting"})


class Endpoints:
    """The endpoints of one project. What comes back is the API's JSON: `name`, `url`, `state`, `revision`, `revisions`."""

    def __init__(self, client: Client, project: str) -> None:
        self.client = client
        self.base = f"/api/v1/projects/{part(project)}/endpoints"
        self._serves = f"/endpoints/{part(project)}"

    def deploy(
        self,
        *,
        model: str = "",
        run_id: str = "",
        choice: str = "",
        name: str = "",
        canary: float | None = None,
        replicas: int = 1,
        memory_mb: int | None = None,
    ) -> Json:
        """Ask for a revision of a model (`churn/3`, `churn@champion`, `churn`) or of a run's model; `deployed` is its number.

        `canary` is the percentage of the traffic that it takes once it is live; None: all.
        """
        body = {"model": model, "run_id": run_id, "choice": choice, "name": name, "canary": canary, "replicas": replicas,
                "memory_mb": memory_mb}  # fmt: skip
        found: Json = self.client.post(self.base, body)
        return found

    def all(self) -> list[Json]:
        """All endpoints of the project."""
        found: list[Json] = self.client.get(self.base)["endpoints"]
        return found

    def get(self, name: str) -> Json:
        """One endpoint. Raises `NotFound`."""
        found: Json = self.client.get(self._at(name))
        return found

    def wait(
        self, name: str, number: int, *, timeout: float = 1800.0, told: Callable[[Json], None] | None = None
    ) -> Json:
        """The endpoint once revision `number` is live or has failed. `told` hears of each change of its state.

        Raises `Unavailable` if that takes more than `timeout` seconds; the deployment goes on.
        """
        until, state = time.monotonic() + timeout, ""
        while True:
            found = self.get(name)
            revision = revision_of(found, number)
            if revision["state"] != state:
                state = revision["state"]
                if told is not None:
                    told(revision)
            if state not in UNDER_WAY:
                return found
            if time.monotonic() > until:
                raise Unavailable(
                    f"Revision {number} of {name} is still {state} after {timeout:.0f} s.",
                    hint=f"It goes on. headway endpoints show {name}",
                )
            time.sleep(0.25)

    def promote(self, name: str, revision: int | None = None) -> Json:
        """All traffic to a live revision; None: the newest live one."""
        found: Json = self.client.post(f"{self._at(name)}/promote", {"revision": revision}, again=True)
        return found

    def canary(self, name: str, revision: int, percent: float) -> Json:
        """A share of the traffic to a live revision, the rest to the one that has most."""
        found: Json = self.client.post(
            f"{self._at(name)}/canary", {"revision": revision, "percent": percent}, again=True
        )
        return found

    def rollback(self, name: str, revision: int | None = None) -> Json:
        """All traffic back to an earlier revision; None: the one before. `rolled_back_to` is its number."""
        found: Json = self.client.post(f"{self._at(name)}/rollback", {"revision": revision})
        return found

    def scale(self, name: str, replicas: int) -> Json:
        """Another number of replicas."""
        found: Json = self.client.post(f"{self._at(name)}/scale", {"replicas": replicas}, again=True)
        return found

    def remove(self, name: str) -> Json:
        """Take the endpoint away, with its revisions, keys and prediction log."""
        found: Json = self.client.delete(self._at(name))
        return found

    def logs(self, name: str, *, revision: int | None = None, kind: str = "all") -> str:
        """What build, proof and replicas of a revision printed; None: of the newest. `kind`: all, build, proof, replica."""
        answer = self.client.request("GET", f"{self._at(name)}/logs", query={"revision": revision, "kind": kind})
        return answer.body.decode("utf-8", "replace")

    def create_key(self, name: str, called: str) -> Json:
        """A key for whoever asks the endpoint; `key` is its secret, shown only here."""
        found: Json = self.client.post(f"{self._at(name)}/keys", {"name": called})
        return found

    def keys(self, name: str) -> list[Json]:
        """The keys that work, without their secrets."""
        found: list[Json] = self.client.get(f"{self._at(name)}/keys")["keys"]
        return found

    def revoke_key(self, name: str, key_id: str) -> Json:
        """End a key."""
        found: Json = self.client.delete(f"{self._at(name)}/keys/{part(key_id)}")
        return found

    def predict(self, name: str, payload: Json | bytes, content_type: str = "application/json") -> Json:
        """The endpoint's answer to a payload: MLflow's forms as JSON, or bytes with their type (`text/csv`)."""
        path = f"{self._serves}/{part(name)}/invocations"
        if isinstance(payload, dict):
            found: Json = self.client.json("POST", path, payload, again=True)
            return found
        import json

        answer = self.client.request("POST", path, payload, headers={"Content-Type": content_type}, again=True)
        read: Json = json.loads(answer.body)
        return read

    def _at(self, name: str) -> str:
        return f"{self.base}/{part(name)}"


def revision_of(endpoint: Json, number: int) -> Json:
    """One of the endpoint's revisions."""
    found: Json = next(one for one in endpoint["revisions"] if one["number"] == number)
    return found
