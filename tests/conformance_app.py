"""headway in a test mode for MLflow's own test suite: `python -m tests.conformance_app PORT HOME`.

Adds what that suite needs and the product must never have: `POST /_test/reset` empties the store, and a request without
credentials is let in as the only user (the suite sends none).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import text
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headway.tracking import experiments
from tests.world import World

# Children before parents: foreign keys are on.
TABLES = """
scorer_versions scorers trace_issues eval_records eval_dataset_experiments eval_datasets webhook_deliveries webhooks
trace_assessments trace_spans trace_links trace_metadata trace_tags traces
model_aliases model_version_tags model_versions registered_model_tags registered_models artifacts logged_model_metrics
logged_model_tags logged_model_params logged_models run_models run_inputs datasets series_chunks summaries tags params runs
experiment_tags experiments"""


class Conformance:
    """The application with a reset, and with credentials put into every request that has none."""

    def __init__(self, world: World) -> None:
        self.world, self.app = world, world.app
        self.who = world.user("root", admin=True)
        self.project = world.project("Default", self.who)
        self.token = world.token(self.who, scope="all").encode()
        self.reset()

    def reset(self) -> None:
        with self.world.host.database.write() as db:
            for table in TABLES.split():
                db.execute(text(f"DELETE FROM {table}"))
        with self.world.host.database.write() as db:
            experiments.default(db, self.project.id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == "/_test/reset":
            await receive()
            self.reset()
            await JSONResponse({})(scope, receive, send)
            return
        headers: list[Any] = [h for h in scope["headers"] if h[0] != b"origin"]
        if not any(name == b"authorization" for name, _ in headers):
            headers.append((b"authorization", b"Bearer " + self.token))
        await self.app({**scope, "headers": headers}, receive, send)


def main(port: int, home: Path) -> None:
    """Serve until stopped."""
    app: ASGIApp = Conformance(
        World(home, body_mb=64)
    )  # the suite sends the largest profile of a dataset that MLflow allows
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp()))
