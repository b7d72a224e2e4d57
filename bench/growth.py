"""How headway grows: the same questions at 1,000, 10,000 and 100,000 runs (and a million when asked), in one run.

    python bench/growth.py [--from 1000] [--to 100000] [--metrics 50] [--params 20] [--names 0] [--points 1000000]
                           [--postgres URL] [--keep FOLDER]

For each size a fresh server (`headway up`) is started, runs are written straight into its tables (`seeding.py`: what a server
would have written in hours), and it is asked over HTTP, as a page or a client would ask. Every answer is checked. The table has
the median and the 95th percentile of the answer's time, the server's own CPU time for each, bytes on the disk for each run,
and the memory that the server holds after all of it; it is drawn into docs/pictures/growth.svg.

A million runs of 50 metrics take some 12 GB and a quarter of an hour to write: `--keep FOLDER` leaves what was written there and
takes it again the next time. `--names 12000` spreads the metrics over so many different names. `--postgres` is the URL of an
empty database for each size, with {n} in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import starting
from seeding import Runs, disk_bytes, fill
from sqlalchemy import text
from starting import free_port, launch

from headway.storage.database import Database

API = "/api/2.0/mlflow/"
TABLE = "/api/v1/projects/bench/runs/table"
CHART = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval"
NOTES = ("chart of the long series, first", "walk of 10,000 runs, s", "bytes a run", "memory at rest, MB", "memory, MB",
         "memory after whole reads, MB", "filled in s")  # fmt: skip
SIZES = (1_000, 10_000, 100_000, 1_000_000)
TICK = os.sysconf("SC_CLK_TCK")
PICTURE = Path(__file__).parent.parent / "docs/pictures/growth.svg"


@dataclass
class Server:
    """A server with so many runs, and what was measured of it."""

    runs: Runs
    http: httpx.Client
    pid: int
    experiment: str
    long_run: str
    times: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / TICK

    def rss_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def ask(self, what: str, rounds: int, work: Callable[[int], Any], check: Callable[[Any], bool]) -> None:
        """Ask so many times; the first answer, which may find nothing ready, is noted apart."""
        began = time.perf_counter()
        if not check(work(0)):
            raise SystemExit(f"{what}: a wrong answer at {self.runs.count} runs")
        self.notes[f"{what}, first"] = (time.perf_counter() - began) * 1e3
        before = self.cpu_s()
        for n in range(1, rounds + 1):
            began = time.perf_counter()
            work(n)
            self.times.setdefault(what, []).append((time.perf_counter() - began) * 1e3)
        self.cpu[what] = (self.cpu_s() - before) * 1e3 / rounds


def start(folder: Path, database: str) -> tuple[subprocess.Popen[bytes], httpx.Client, Database]:
    """A server on an empty home with a project; its process, a client of it, and its database."""
    port, home = free_port(), folder / "home"
    env = os.environ | ({"HEADWAY_DATABASE_URL": database} if database else {})
    url = f"http://127.0.0.1:{port}"
    home.mkdir(mode=0o700, exist_ok=True)
    process, _ = launch(starting.headway(home, port), env, home, url)
    token = json.loads((home / "cli.json").read_text())["token"]
    http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=600)
    if not (folder / "filled.json").exists():
        http.post("/api/v1/projects", json={"name": "Bench"}).raise_for_status()
    return process, http, Database(database or f"sqlite:///{home / 'headway.db'}")


def measure(server: Server, rounds: int) -> None:
    """All questions."""
    runs, http = server.runs, server.http
    names = runs.metric_names()
    metrics, _ = runs.piece(0, min(runs.count, 2000))
    first = {runs.uuid(i): metrics[i][0] for i in range(len(metrics))}

    def post(path: str, body: dict[str, Any]) -> Any:
        return http.post(API + path, json={"experiment_ids": [server.experiment], **body}).raise_for_status().content

    def get(path: str, **query: Any) -> Any:
        return http.get(path, params=query).raise_for_status().content

    def runs_of(content: bytes) -> list[Any]:
        return json.loads(content).get("runs", [])

    def falling(content: bytes) -> bool:
        found = [{m["key"]: m["value"] for m in run["data"]["metrics"]}["acc"] for run in runs_of(content)]
        return len(found) == 100 and found == sorted(found, reverse=True)

    def right(content: bytes) -> bool:
        found = json.loads(content)
        cells = dict(zip(found["run_id"], found["columns"][0]["values"], strict=True))
        return len(cells) == 100 and all(first.get(run, value) == value for run, value in cells.items())

    def counted(content: bytes) -> bool:
        return sum(group["runs"] for group in json.loads(content)["groups"]) == runs.count + 1

    def drawn(content: bytes) -> bool:
        return 300 < len(json.loads(content)["series"][0]["x"]) <= 1000

    ask, few, base = server.ask, max(3, rounds // 3), TABLE.removesuffix("table")
    lr = {"filter": "metrics.acc > 0.3 and params.lr = '0.1'", "order_by": ["metrics.acc DESC"], "max_results": 100}
    one_of = [f"metrics.{names[(n * 7) % len(names)]}" for n in range(rounds + 1)]
    like = [f"run_name LIKE '%{n % 10}7%' and params.model LIKE '%oos%'" for n in range(rounds + 1)]
    mlp = {"filter": "params.model = 'mlp'", "order": "metrics.acc DESC", "count": True}
    chart = {"run_ids": server.long_run, "metric_key": "loss", "max_results": 1000}
    zoom = {"run": server.long_run, "key": "loss"}
    ask(
        "latest 100 runs", rounds, lambda _: post("runs/search", {"max_results": 100}), lambda c: len(runs_of(c)) == 100
    )
    ask("filtered, ordered search", rounds, lambda _: post("runs/search", lr), falling)
    ask(
        "search by part of a text",
        rounds,
        lambda n: post("runs/search", {"filter": like[n]}),
        lambda c: len(runs_of(c)) > 5,
    )
    ask("table: first page, counted", rounds, lambda _: get(TABLE, count=True, column="metrics.acc"), right)
    ask("table: by any metric", rounds, lambda n: get(TABLE, order=f"{one_of[n]} DESC"), lambda c: b'"next"' in c)
    ask(
        "table: by highest value",
        rounds,
        lambda n: get(TABLE, order=f"max({one_of[n]}) DESC", column="metrics.acc"),
        right,
    )
    ask(
        "table: filtered, counted",
        rounds,
        lambda _: get(TABLE, **mlp),
        lambda c: json.loads(c)["total"] > runs.count / 8,
    )
    ask("names of columns", rounds, lambda n: get(f"{base}columns", q=str(n % 10), limit=50), lambda c: b'"total"' in c)
    ask(
        "completion of a name",
        rounds,
        lambda n: get(f"{base}complete", text=one_of[n][:-1]),
        lambda c: b"metrics." in c,
    )
    ask("the runs page", few, lambda _: get("/p/bench/runs"), lambda c: b"</html>" in c)
    ask("a run's metrics", few, lambda n: get(f"/p/bench/runs/{runs.uuid(n)}?tab=metrics"), lambda c: b"</html>" in c)
    ask("groups with a metric", few, lambda _: get(f"{base}groups", by="params.model", metric="metrics.acc"), counted)
    ask(
        "importance",
        few,
        lambda _: get(f"{base}importance", metric="metrics.acc"),
        lambda c: json.loads(c)["params"][0]["key"] == "lr",
    )
    ask(
        "chart of the long series",
        rounds,
        lambda _: get(CHART, **chart),
        lambda c: len(json.loads(c)["metrics"]) == 1000,
    )
    ask(
        "its zoom", rounds, lambda n: get(f"{base}series", **zoom, **{"from": n * 1000, "to": n * 1000 + 20_000}), drawn
    )
    new = http.post(API + "runs/create", json={"experiment_id": server.experiment}).json()["run"]["info"]["run_id"]
    point = {"run_id": new, "key": "acc", "value": 0.5, "timestamp": 1}
    server.ask(
        "log_metric",
        rounds * 4,
        lambda n: http.post(API + "runs/log-metric", json=point | {"step": n}).raise_for_status(),
        bool,
    )
    before = server.rss_mb()
    with http.stream(
        "GET", API + "metrics/get-history", params={"run_id": server.long_run, "metric_key": "loss"}
    ) as answer:
        server.notes["bytes of the whole series"] = sum(len(part) for part in answer.iter_raw())
    token, seen = "", 0
    began = time.perf_counter()
    while seen < min(10_000, runs.count):
        page = json.loads(post("runs/search", {"max_results": 1000, "page_token": token}))
        seen, token = seen + len(page["runs"]), page.get("next_page_token", "")
    server.notes["walk of 10,000 runs, s"] = time.perf_counter() - began
    http.post(API + "runs/delete", json={"run_id": new}).raise_for_status()  # a kept home is asked again
    server.notes |= {"memory, MB": before, "memory after whole reads, MB": server.rss_mb()}


# ------------------------------------------------------------------ one size, and all of them
def filled(http: httpx.Client, database: Database, folder: Path, runs: Runs, points: int) -> dict[str, Any]:
    """Write the runs, unless this folder has them; tells the experiment, the run with the long series, bytes and seconds."""
    note = folder / "filled.json"
    if note.exists():
        return dict(json.loads(note.read_text()))
    experiment = (
        http.post(API + "experiments/create", json={"name": "bench"}).raise_for_status().json()["experiment_id"]
    )
    empty, began = disk_bytes(database), time.perf_counter()
    fill(database, int(experiment), runs)
    size, seconds = (disk_bytes(database) - empty) / max(1, runs.count), time.perf_counter() - began
    fill(database, int(experiment), Runs(0), points=points)
    long = text("SELECT r.uuid FROM runs r JOIN summaries s ON s.run_id = r.id WHERE s.points = :n")
    with database.read() as db:
        run = str(db.execute(long, {"n": points}).scalar_one())
    about = {"experiment": experiment, "long_run": run, "bytes": size, "seconds": seconds}
    note.write_text(json.dumps(about))
    return about


def grown(count: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start, fill, ask; what was measured."""
    runs = Runs(count, args.metrics, args.params, args.names)
    url = args.postgres.replace("{n}", str(count)) if args.postgres else ""
    process, http, database = start(folder, url)
    try:
        about = filled(http, database, folder, runs, args.points)
        server = Server(runs, http, process.pid, about["experiment"], about["long_run"])
        server.notes |= {
            "bytes a run": about["bytes"],
            "filled in s": about["seconds"],
            "memory at rest, MB": server.rss_mb(),
        }
        measure(server, args.rounds)
    finally:
        process.terminate()
        process.wait(20)
        http.close()
        database.close()
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    rows = {what: {"p50": statistics.median(times), "p95": percentile(times, 0.95), "cpu": server.cpu[what]}
            for what, times in server.times.items()}  # fmt: skip
    return {"runs": count, "metrics": runs.metrics, "params": runs.params, "names": runs.names or runs.metrics, "rows": rows,
            "notes": server.notes}  # fmt: skip


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def report(found: list[dict[str, Any]]) -> str:
    """The table, in Markdown: median / 95th percentile in ms, and the server's CPU time."""
    sizes = [f"{one['runs']:,} x {one['metrics']}" for one in found]
    lines = ["| ms: median / p95 [server CPU] | " + " | ".join(sizes) + " |", "|---|" + "---|" * len(found)]
    for what in found[0]["rows"]:
        cells = [
            f"{row['p50']:.1f} / {row['p95']:.1f} [{row['cpu']:.1f}]" for row in (one["rows"][what] for one in found)
        ]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    for note in NOTES:
        lines.append(f"| {note} | " + " | ".join(f"{one['notes'][note]:,.1f}" for one in found) + " |")
    return "\n".join(lines)


DRAWN = {"latest 100 runs": "#0072b2", "filtered, ordered search": "#d55e00", "table: first page, counted": "#009e73",
         "table: by highest value": "#cc79a7", "groups with a metric": "#b58900", "chart of the long series": "#56b4e9",
         "log_metric": "#7f7f7f"}  # fmt: skip
TITLES = {"p50": "median time of an answer over HTTP, ms, by the number of runs (both axes logarithmic)",
          "cpu": "processor time of the server for an answer, ms, by the number of runs (both axes logarithmic)"}  # fmt: skip
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.axis{stroke:#ccc}.goal{stroke:#999;stroke-dasharray:4 4}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.axis{stroke:#444}}"
)


def draw(found: list[dict[str, Any]], figure: str) -> str:
    """The times (`figure`: p50 or cpu) over the number of runs, both on logarithmic axes, each line named at its end."""
    left, top, wide, high = 60, 30, 460, 360
    low, most = 0.5, 2000.0
    xs = [math.log10(one["runs"]) for one in found]
    first, last = min(xs), max(max(xs), min(xs) + 1)

    def x(runs: float) -> float:
        return left + wide * (math.log10(runs) - first) / (last - first)

    def y(ms: float) -> float:
        return top + high * (1 - math.log10(min(max(ms, low), most) / low) / math.log10(most / low))

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 430" width="780" height="430"><style>{STYLE}</style>',
             f'<text x="{left}" y="16">{TITLES[figure]}</text>']  # fmt: skip
    for ms in (1, 10, 100, 1000):
        parts.append(f'<line class="axis" x1="{left}" x2="{left + wide}" y1="{y(ms):.1f}" y2="{y(ms):.1f}"/>'
                     f'<text x="{left - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms:,}</text>')  # fmt: skip
    parts.append(f'<line class="goal" x1="{left}" x2="{left + wide}" y1="{y(200):.1f}" y2="{y(200):.1f}"/>'
                 f'<text x="{left + 4}" y="{y(200) - 5:.1f}">goal for the table: 200 ms</text>')  # fmt: skip
    for one in found:
        parts.append(
            f'<text x="{x(one["runs"]):.1f}" y="{top + high + 22}" text-anchor="middle">{one["runs"]:,}</text>'
        )
    ends = sorted((y(found[-1]["rows"][what][figure]), what) for what in DRAWN)
    place = -1e9
    for end, what in ends:
        points = " ".join(f"{x(one['runs']):.1f},{y(one['rows'][what][figure]):.1f}" for one in found)
        place = max(end + 4, place + 17)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{DRAWN[what]}" stroke-width="2.5"/>')
        parts.append(f'<circle cx="{left + wide}" cy="{end:.1f}" r="3.5" fill="{DRAWN[what]}"/>')
        parts.append(f'<text x="{left + wide + 12}" y="{place:.1f}" style="fill:{DRAWN[what]}">{what}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", type=int, default=1000, dest="first")
    parser.add_argument("--to", type=int, default=100_000)
    parser.add_argument("--metrics", type=int, default=50)
    parser.add_argument("--params", type=int, default=20)
    parser.add_argument("--names", type=int, default=0)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--postgres", default="")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--draw", choices=TITLES, default="p50", help="cpu: on a machine that has other work to do")
    parser.add_argument("--no-picture", action="store_true")
    args = parser.parse_args()
    found = []
    for count in [size for size in SIZES if args.first <= size <= args.to] or [args.to]:
        folder = args.keep / str(count) if args.keep else Path(tempfile.mkdtemp(prefix="bench-growth-"))
        folder.mkdir(parents=True, exist_ok=True)
        found.append(grown(count, args, folder))
        print(report(found), f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    if not args.no_picture:
        PICTURE.write_text(draw(found, args.draw), encoding="utf-8")


if __name__ == "__main__":
    main()
