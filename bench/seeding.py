"""Many runs, put straight into the tables: what a server would have written in hours of logging, in seconds. Benches only.

Run `i` is the same whoever writes it, so an answer can be checked without any server: `Runs` tells its parameters and metrics.
`lr`, `depth` and `model` drive the metric `acc`; the rest is noise.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import make_url, text

from headway.storage.database import Database
from headway.tracking.store import series

EPOCH = 1_700_000_000_000
RATES = ("0.1", "0.01", "0.001", "0.0001")
MODELS = ("forest", "boost", "mlp", "linear", "svm")
PIECE = 2000  # runs that are written at once
COLUMNS = {
    "runs": "id, uuid, experiment_id, project_id, name, user_id, status, cause, start_time, end_time, lifecycle, artifact_uri, "
            "version",
    "params": "run_id, key_id, experiment_id, value",
    "tags": "run_id, key_id, experiment_id, value",
    "summaries": "run_id, key_id, experiment_id, last, is_nan, step, time, low, high, points, loose",
    "series_chunks": "id, run_id, key_id, points, step_low, step_high, data, sketch",
}  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """`count` runs, each with `metrics` metrics (`acc` and others out of `names` names) and `params` parameters."""

    count: int
    metrics: int = 50
    params: int = 20
    names: int = 0  # distinct names of metrics; 0: as many as a run has

    def metric_names(self) -> list[str]:
        """All names, `acc` first."""
        return ["acc", *(f"m{j:05d}" for j in range(1, self.names or self.metrics))]

    def param_names(self) -> list[str]:
        """All names of parameters."""
        return ["lr", "depth", "model", *(f"p{j:02d}" for j in range(3, self.params))]

    def uuid(self, i: int) -> str:
        """The id of run `i`."""
        return f"{i:08x}" + f"{(i * 2654435761) % 2**96:024x}"

    def piece(self, start: int, stop: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """(metrics, parameters as numbers) of the runs from `start` (a multiple of `PIECE`) to `stop`, a row each."""
        rng = np.random.default_rng(start)
        numbers = rng.integers(0, 4, (PIECE, max(3, self.params)))
        values = np.round(rng.normal(size=(PIECE, self.metrics)), 6)
        effect = 0.6 - 0.12 * numbers[:, 0] + 0.05 * numbers[:, 1] + 0.02 * (numbers[:, 2] % 2)
        values[:, 0] = np.round(np.clip(effect + 0.06 * values[:, 0], 0, 1), 6)
        return values[: stop - start], numbers[: stop - start]

    def told(self, column: int, number: int) -> str:
        """A parameter's text."""
        return RATES[number] if column == 0 else MODELS[number] if column == 2 else str(number)

    def keys_of(self, i: int) -> list[int]:
        """Which of the names run `i` has: `acc`, and others in turn."""
        if not self.names or self.names <= self.metrics:
            return list(range(self.metrics))
        start = i * (self.metrics - 1)
        return [0, *(1 + (start + j) % (self.names - 1) for j in range(self.metrics - 1))]


def fill(database: Database, experiment_id: int, runs: Runs, *, points: int = 0) -> None:
    """Write the runs, and one run with a series `loss` of `points` points. The tables may hold others."""
    with database.write() as db:
        project = str(
            db.execute(text("SELECT project_id FROM experiments WHERE id = :id"), {"id": experiment_id}).scalar_one()
        )
        have = {name: i for i, name in db.execute(text("SELECT id, name FROM keys"))}
        first_key, names = max(have.values(), default=0) + 1, [*runs.metric_names(), *runs.param_names(), "mlflow.runName",
                                                               "mlflow.user", "team", "loss"]  # fmt: skip
        new = [name for name in names if name not in have]
        ids = have | {name: first_key + at for at, name in enumerate(new)}
        if new:
            db.execute(
                text("INSERT INTO keys (id, name) VALUES (:id, :name)"), [{"id": ids[n], "name": n} for n in new]
            )
        run_id = int(db.execute(text("SELECT COALESCE(MAX(id), 0) FROM runs")).scalar_one()) + 1
        chunk_id = int(db.execute(text("SELECT COALESCE(MAX(id), 0) FROM series_chunks")).scalar_one()) + 1
    sink = _Sqlite(database, many=runs.count > PIECE) if database.sqlite else _Postgres(database)
    for start in range(0, runs.count, PIECE):
        chunk_id = _piece(sink, runs, ids, (experiment_id, project), run_id, chunk_id, start)
    _long(sink, ids["loss"], (experiment_id, project), run_id + runs.count, chunk_id, points)
    sink.close()


def _piece(
    sink: Any, runs: Runs, ids: dict[str, int], where: tuple[int, str], run_id: int, chunk_id: int, start: int
) -> int:
    experiment, project = where
    stop = min(start + PIECE, runs.count)
    metrics, numbers = runs.piece(start, stop)
    metric_ids, param_ids = [ids[n] for n in runs.metric_names()], [ids[n] for n in runs.param_names()]
    params = sorted((key, column) for column, key in enumerate(param_ids[: runs.params]))
    name_id, user_id, team_id = ids["mlflow.runName"], ids["mlflow.user"], ids["team"]
    rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
    for at, i in enumerate(range(start, stop)):
        run, began = run_id + i, EPOCH + i * 1000
        uuid, name = runs.uuid(i), f"run-{i:07d}"
        rows["runs"].append((run, uuid, experiment, project, name, "bench", "FINISHED", "", began, began + 900, "active",
                             f"mlflow-artifacts:/{experiment}/{uuid}/artifacts", 1))  # fmt: skip
        its = numbers[at].tolist()
        rows["params"] += [(run, key, experiment, runs.told(column, its[column])) for key, column in params]
        rows["tags"] += [(run, *pair) for pair in sorted([(name_id, experiment, name), (user_id, experiment, "bench"),
                                                          (team_id, experiment, f"team-{i % 7}")])]  # fmt: skip
        shown = sorted(zip([metric_ids[k] for k in runs.keys_of(i)], metrics[at].tolist(), strict=True))
        for key, value in shown:
            rows["summaries"].append((run, key, experiment, value, False, 0, began, value, value, 1, 1))
            rows["series_chunks"].append((chunk_id, run, key, 1, 0, 0, series.pack_rows([0], [began], [value]), None))
            chunk_id += 1
    for table, its_rows in rows.items():
        sink.put(table, its_rows)
    return chunk_id


def point(j: Any) -> Any:
    """The value at step `j` of the long series."""
    return np.sin(np.asarray(j) / 1e4) + 1 + 0.01 * np.sin(np.asarray(j) * 1.7)


def _long(sink: Any, key: int, where: tuple[int, str], run: int, chunk_id: int, points: int) -> None:
    if not points:
        return
    experiment, project = where
    uuid = f"{'f' * 8}{run:024x}"
    place = f"mlflow-artifacts:/{experiment}/{uuid}/artifacts"
    sink.put("runs", [(run, uuid, experiment, project, "long", "bench", "FINISHED", "", 1, 2, "active", place, 1)])
    steps = np.arange(points, dtype=np.int64)
    values = point(steps)
    rows = []
    for at in range(0, points, series.FULL):
        cut = slice(at, at + series.FULL)
        p = series.Points(steps[cut], EPOCH + steps[cut], values[cut])
        sketch = series.sketch(p) if len(p) == series.FULL else None
        rows.append((chunk_id, run, key, len(p), int(p.steps[0]), int(p.steps[-1]), series.pack(p), sketch))
        chunk_id += 1
    sink.put("series_chunks", rows)
    sink.put("summaries", [(run, key, experiment, float(values[-1]), False, points - 1, EPOCH + points - 1, float(values.min()),
                            float(values.max()), points, 0 if points % series.FULL == 0 else 1)])  # fmt: skip


class _Sqlite:
    """Rows into SQLite. Where there are many, indexes are dropped and made again, which sorts once."""

    def __init__(self, database: Database, *, many: bool) -> None:
        self.db = sqlite3.connect(str(database.url.database), timeout=60, isolation_level=None)
        for pragma in ("synchronous=OFF", "cache_size=-200000", "foreign_keys=OFF", "temp_store=MEMORY"):
            self.db.execute(f"PRAGMA {pragma}")
        wanted = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN (?, ?, ?, ?, ?)"
        self.indexes = self.db.execute(wanted, list(COLUMNS)).fetchall() if many else []
        for name, _ in self.indexes:
            self.db.execute(f"DROP INDEX {name}")

    def put(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        if rows:
            self.db.execute("BEGIN")
            names = COLUMNS[table]
            self.db.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(rows[0]))})", rows)
            self.db.execute("COMMIT")

    def close(self) -> None:
        for _, sql in self.indexes:
            self.db.execute(sql)
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()


class _Postgres:
    """Rows into PostgreSQL with COPY."""

    def __init__(self, database: Database) -> None:
        import psycopg

        url = make_url(database.url).set(drivername="postgresql")
        self.db = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def put(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        with self.db.cursor().copy(f"COPY {table} ({COLUMNS[table]}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def close(self) -> None:
        for table in ("runs", "series_chunks", "keys"):
            self.db.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT MAX(id) FROM {table}))")
        self.db.execute("VACUUM ANALYZE")
        self.db.close()


def disk_bytes(database: Database) -> int:
    """What the database takes on the disk."""
    if database.sqlite:
        path = Path(str(database.url.database))
        return sum(p.stat().st_size for p in (path, path.with_name(path.name + "-wal")) if p.exists())
    with database.read() as db:
        return int(db.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
