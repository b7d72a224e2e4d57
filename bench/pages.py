"""How soon the runs explorer is there, with 5, 500 and 100,000 runs: in headless Chromium, against a real server.

    make bench-pages            ARGS="--runs 5 500 100000 --rounds 5"

For each size, after one visit that warms the server and the browser's cache: first contentful paint, the moment at which the
table is alive (its own rows are in the document and can be worked with), and the charts' end; then scrolling: how long a frame
takes (95th percentile of 40), and how long after a jump of the scroll bar to the middle the rows there are seen.
Medians of the rounds, in milliseconds. One JSON object goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import seeding  # noqa: E402
from tests.conftest import CHROMIUM, CHROMIUM_ARGS, free_port  # noqa: E402
from tests.world import World  # noqa: E402

from headway.people import sessions  # noqa: E402
from headway.tracking import experiments  # noqa: E402

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
ALIVE = "document.querySelector('.runs.alive .runs-table colgroup ~ tbody tr[data-place] td.main a')"
WHEEL = """async () => {
  const box = document.querySelector('.runs-scroll');
  const frames = [];
  let last = performance.now();
  for (let i = 0; i < 40; i += 1) {
    box.scrollTop += 300;
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""
JUMP = """async () => {
  const box = document.querySelector('.runs-scroll');
  const began = performance.now();
  box.scrollTop = box.scrollHeight / 2;
  while (performance.now() - began < 20000) {
    await new Promise((done) => requestAnimationFrame(done));
    const rows = [...document.querySelectorAll('.runs-table tr[data-place]')];
    if (rows.length && Math.abs(rows[0].dataset.place * 34 - box.scrollTop) < 2000 && rows.every((row) => row.dataset.id)) break;
  }
  return performance.now() - began;
}"""


def main() -> None:
    """Seed, serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[5, 500, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headway-bench-pages-") as home:
        world = World(Path(home))
        who = world.user("bench", admin=True)
        slugs = {count: seed(world, who, count) for count in options.runs}
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(world.app, port=port, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            found = measure(f"http://127.0.0.1:{port}", world.session(who), slugs, options.rounds)
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            world.host.database.close()
    for count, times in found.items():
        print(
            f"{int(count):>8,} runs  " + "  ".join(f"{name} {value:,.0f} ms" for name, value in times.items()),
            file=sys.stderr,
        )
    print(json.dumps(found))


class Some(seeding.Runs):
    """Runs whose ids are those of no other size."""

    def uuid(self, i: int) -> str:
        return f"{self.count:08x}{super().uuid(i)[8:24]}{i:08x}"


def seed(world: World, who: Any, count: int) -> str:
    """A project with so many runs of 20 metrics and 8 parameters; its slug."""
    project = world.project(f"Runs {count}", who)
    with world.host.database.write() as db:
        experiment = experiments.ensure(db, project.id, "sweep").id
    seeding.fill(world.host.database, experiment, Some(count, metrics=20, params=8))
    return project.slug


def measure(url: str, session: str, slugs: dict[int, str], rounds: int) -> dict[str, dict[str, float]]:
    """Medians for each size; the sizes take turns, so that a busy moment of the machine is shared by all."""
    found: dict[int, list[dict[str, float]]] = {count: [] for count in slugs}
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        context = browser.new_context(base_url=url, viewport={"width": 1400, "height": 900}, bypass_csp=True)
        context.add_cookies([{"name": sessions.PLAIN_COOKIE, "value": session, "url": url}])
        page = context.new_page()
        for turn in range(rounds + 1):
            for count, slug in slugs.items():
                times = visit(page, slug)
                if turn:
                    found[count].append(times)
        browser.close()
    return {
        str(count): {name: round(statistics.median(one[name] for one in rows), 1) for name in rows[0]}
        for count, rows in found.items()
    }


def visit(page: Page, slug: str) -> dict[str, float]:
    """One visit to the page of a project."""
    page.goto(f"/p/{slug}/runs", wait_until="commit")
    alive = page.wait_for_function(f"({ALIVE}) && performance.now()").json_value()
    paint = page.wait_for_function(PAINT).json_value()
    page.wait_for_function("document.querySelector('.panel-body')?.childElementCount")
    drawn = page.evaluate("performance.now()")
    frames = sorted(page.evaluate(WHEEL))
    return {"first paint": paint, "table alive": alive, "charts": drawn, "frame p95": frames[int(len(frames) * 0.95) - 1],
            "jump to the middle": page.evaluate(JUMP)}  # fmt: skip


if __name__ == "__main__":
    main()
