"""Runs through the server: the API, the pages, following the output, and who may."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from .conftest import Site

TICKS = "import time\nfor i in range({n}):\n    print('tick', i, flush=True)\n    time.sleep(0.02)\n"


def events(response: httpx.Response) -> list[tuple[str, str, Any]]:
    """(name, id, data) of each server-sent event, until the stream ends."""
    found, name, mark, data = [], "", "", ""
    for line in response.iter_lines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "id":
            mark = value
        elif key == "data":
            data += value
        elif not line and data:
            found.append((name, mark, json.loads(data)))
            name = mark = data = ""
    return found


def follow(client: httpx.Client, url: str, **more: Any) -> list[tuple[str, str, Any]]:
    with client.stream("GET", url, **more) as response:
        assert response.status_code == 200
        return events(response)


@pytest.fixture(scope="module")
def api(site: Site) -> httpx.Client:
    return site.api


def finished(api: httpx.Client, site: Site, run_id: str) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        run = api.get(f"runs/{run_id}").json()
        return run if run["status"] not in ("queued", "running") else None

    return site.until(over)


def test_submit_follow_and_read(site: Site, api: httpx.Client) -> None:
    path = site.script("import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\n"
                       "print(p.parse_args())\n" + TICKS.format(n=20), "ticks.py")  # fmt: skip
    answer = api.post("runs", json={"path": path, "params": {"lr": "0.25"}})
    assert answer.status_code == 202
    run = answer.json()
    assert (run["status"], run["params"], run["kind"]) == ("queued", {"lr": 0.25}, "script")
    heard = follow(api, f"runs/{run['run_id']}/logs?follow=true")
    text = "".join(data["text"] for name, _, data in heard if name == "output")
    expected = "Namespace(lr=0.25)\n" + "".join(f"tick {i}\n" for i in range(20))
    assert text == expected
    assert heard[-1][0] == "end" and heard[-1][2] == {"status": "finished", "cause": ""}
    middle = heard[len(heard) // 2]
    again = follow(api, f"runs/{run['run_id']}/logs?follow=true", headers={"Last-Event-ID": middle[1]})
    before = "".join(data["text"] for name, _, data in heard[: len(heard) // 2 + 1] if name == "output")
    assert before + "".join(data["text"] for name, _, data in again if name == "output") == expected
    plain = api.get(f"runs/{run['run_id']}/logs")
    assert plain.text == expected and int(plain.headers["x-next-offset"]) == len(expected)
    assert api.get(f"runs/{run['run_id']}/logs?offset=19").text == expected[19:]
    shown = finished(api, site, run["run_id"])
    for name in ("run_id", "status", "cause", "params", "metrics", "models", "trainings"):
        assert name in shown
    assert run["run_id"] in [one["run_id"] for one in api.get("runs?status=finished").json()["runs"]]


def test_a_notebooks_log_is_what_it_printed(site: Site, api: httpx.Client) -> None:
    path = site.notebook("print('one')\n2", "1/0", name="fails.ipynb")
    run_id = api.post("runs", json={"path": path}).json()["run_id"]
    heard = follow(api, f"runs/{run_id}/logs?follow=true")
    text = "".join(data["text"] for name, _, data in heard if name == "output")
    assert text.startswith("one\n2\n") and "ZeroDivisionError" in text
    assert heard[-1][2] == {"status": "failed", "cause": "ZeroDivisionError: division by zero in cell 2"}
    assert api.get(f"runs/{run_id}/logs").text == text


def test_cancel_over_the_api(site: Site, api: httpx.Client) -> None:
    path = site.script("import time; print('up', flush=True); time.sleep(600)", "sleep.py")
    run_id = api.post("runs", json={"path": path}).json()["run_id"]
    site.until(lambda: "up" in api.get(f"runs/{run_id}/logs").text)
    assert api.post(f"runs/{run_id}/cancel").status_code == 200
    assert finished(api, site, run_id)["status"] == "cancelled"
    assert api.post(f"runs/{run_id}/cancel").status_code == 409
    assert api.post(f"runs/{run_id}/rerun").status_code == 202
    again = api.get("runs?limit=1").json()["runs"][0]["run_id"]
    assert api.post(f"runs/{again}/cancel").status_code == 200


def test_parameters_of_a_file(site: Site, api: httpx.Client) -> None:
    path = site.notebook(
        "print(1)", name="params.ipynb", parameters="epochs: int = 3  # how often\nname = 'a'\nconn = connect()"
    )
    found = api.get("runs/parameters", params={"path": path}).json()
    assert found["complete"] and [p["name"] for p in found["parameters"]] == ["epochs", "name"]
    assert found["parameters"][0] == {
        "name": "epochs",
        "type": "int",
        "default": 3,
        "required": False,
        "help": "how often",
        "choices": [],
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"path": "nothing.py"}, 404),
        ({"path": "../x.py"}, 400),
        ({"path": "broken.ipynb"}, 422),
        ({"path": "ok.py", "limits": {"memory_mb": "lots"}}, 422),
        ({"path": "ok.py", "limits": {"memory_mb": 1}}, 422),
        ({"path": "ok.py", "params": {"a b": 1}}, 422),
        ({"path": "ok.py", "environment": "0" * 32}, 404),
        ({"path": "ok.py", "source": "0" * 64}, 404),
        ({"path": "ok.py", "source": "../../etc"}, 404),
    ],
)
def test_bad_submissions_are_answered_and_leave_nothing(site: Site, api: httpx.Client, body: dict, status: int) -> None:
    site.script("", "ok.py")
    (site.folder / "broken.ipynb").write_text('{"cells": [,]}')
    before = len(api.get("runs?limit=500").json()["runs"])
    answer = api.post("runs", json=body)
    assert answer.status_code == status, answer.text
    assert "Traceback" not in answer.text and answer.json()["error"]["message"]
    assert len(api.get("runs?limit=500").json()["runs"]) == before


def test_schedules_over_the_api(site: Site, api: httpx.Client) -> None:
    path = site.script("print('by itself')", "scheduled.py")
    answer = api.post("schedules", json={"path": path, "cron": "30 2 * * *", "zone": "Europe/Berlin"})
    assert answer.status_code == 201
    made = answer.json()
    assert (
        len(made["upcoming"]) == 5 and made["upcoming"] == sorted(set(made["upcoming"])) and made["name"] == "scheduled"
    )
    one = f"schedules/{made['id']}"
    assert api.post(f"{one}/pause").json()["upcoming"] == []
    assert api.post(f"{one}/pause").json()["paused"]
    assert len(api.post(f"{one}/resume").json()["upcoming"]) == 5
    assert made["id"] in [row["id"] for row in api.get("schedules").json()["schedules"]]
    for bad in (
        {"cron": "every day"},
        {"cron": "61 * * * *"},
        {"cron": "0 0 30 2 *"},
        {"zone": "Mars/Base"},
        {"path": "no.py"},
    ):
        refused = api.post("schedules", json={"path": path, "cron": "0 7 * * *"} | bad)
        assert refused.status_code in (404, 422), (bad, refused.text)
    assert api.delete(one).status_code == 204
    assert api.get(one).status_code == 404


ROUTES = [
    ("GET", "/api/v1/projects/{slug}/runs", "view"),
    ("POST", "/api/v1/projects/{slug}/runs", "run"),
    ("GET", "/api/v1/projects/{slug}/runs/parameters?path=ok.py", "view"),
    ("GET", "/api/v1/projects/{slug}/runs/{run}", "view"),
    ("GET", "/api/v1/projects/{slug}/runs/{run}/logs", "view"),
    ("POST", "/api/v1/projects/{slug}/runs/{run}/cancel", "run"),
    ("POST", "/api/v1/projects/{slug}/runs/{run}/rerun", "run"),
    ("GET", "/api/v1/projects/{slug}/schedules", "view"),
    ("POST", "/api/v1/projects/{slug}/schedules", "run"),
    ("POST", "/api/v1/projects/{slug}/schedules/{schedule}/pause", "run"),
    ("POST", "/api/v1/projects/{slug}/schedules/{schedule}/resume", "run"),
    ("DELETE", "/api/v1/projects/{slug}/schedules/{schedule}", "run"),
    ("GET", "/p/{slug}/new-run", "run"),
    ("POST", "/p/{slug}/new-run", "run"),
    ("GET", "/p/{slug}/schedules", "view"),
    ("GET", "/p/{slug}/runs/{run}/output", "view"),
    ("GET", "/p/{slug}/runs/{run}/output/live", "view"),
    ("GET", "/p/{slug}/runs/{run}/output/log", "view"),
    ("POST", "/p/{slug}/runs/{run}/cancel", "run"),
    ("POST", "/p/{slug}/runs/{run}/rerun", "run"),
    ("POST", "/p/{slug}/schedules/{schedule}/pause", "run"),
    ("POST", "/p/{slug}/schedules/{schedule}/run", "run"),
    ("POST", "/p/{slug}/schedules/{schedule}/remove", "run"),
]


@pytest.fixture(scope="module")
def ids(site: Site, api: httpx.Client) -> dict[str, str]:
    path = site.script("print('ok')", "ok.py")
    run = api.post("runs", json={"path": path}).json()["run_id"]
    schedule = api.post("schedules", json={"path": path, "cron": "@yearly"}).json()["id"]
    finished(api, site, run)
    return {"slug": site.project.slug, "run": run, "schedule": schedule}


@pytest.mark.parametrize(("method", "route", "verb"), ROUTES, ids=[f"{m} {r}" for m, r, _ in ROUTES])
def test_who_may(site: Site, ids: dict[str, str], method: str, route: str, verb: str) -> None:
    url = route.format(**ids)

    def ask(role: str | None, url: str) -> int:
        body = {"path": "ok.py", "cron": "@yearly"} if method == "POST" else None
        return site.client(role).request(method, url, json=body).status_code

    assert ask(None, url) == 404 and ask(None, route.format(**ids | {"slug": "no-such-project"})) == 404
    assert ask("viewer", url) == (403 if verb == "run" else 200)
    assert ask("expert", url) == 403
    for name in ("run", "schedule"):
        if "{" + name + "}" in route:
            missing = route.format(**ids | {name: "0" * 32})
            expected = 200 if route.endswith("/output") else 404
            assert ask("viewer", missing) == expected


def test_the_form_of_a_new_run(site: Site, api: httpx.Client) -> None:
    browser, base = site.client("editor"), f"/p/{site.project.slug}"
    path = site.notebook(
        "print(epochs, fast, name)", name="form.ipynb", parameters="epochs = 3  # rounds\nfast = True\nname = 'a'"
    )
    page = browser.get(f"{base}/new-run", params={"path": path})
    assert page.status_code == 200
    assert 'name="param-epochs"' in page.text and 'value="3"' in page.text and "rounds" in page.text
    refused = browser.post(
        f"{base}/new-run", data={"path": path, "param-epochs": "many", "param-name": "a", "when": "now"}
    )
    assert refused.status_code == 422 and "must be a whole number" in refused.text and 'value="many"' in refused.text
    sent = browser.post(
        f"{base}/new-run",
        data={"path": path, "param-epochs": "5", "param-name": "a", "when": "now", "timeout_min": "5"},
    )
    assert sent.status_code == 303
    run_id = sent.headers["location"].rsplit("/", 1)[1]
    run = finished(api, site, run_id)
    assert (run["params"], run["limits"], run["status"]) == (
        {"epochs": 5, "fast": False},
        {"timeout_s": 300.0},
        "finished",
    )
    part = browser.get(f"{base}/runs/{run_id}/output")
    assert "5 False a" in part.text and "data-run-output" not in part.text and "injected" not in part.text
    notebook = browser.get(f"{base}/runs/{run_id}/output/notebook")
    assert notebook.json()["cells"][2]["outputs"][0]["text"] == "5 False a\n"


def test_a_schedule_from_the_form_and_its_page(site: Site) -> None:
    browser, base = site.client("editor"), f"/p/{site.project.slug}"
    site.script("print(1)", "nightly.py")
    data = {
        "path": "nightly.py",
        "when": "schedule",
        "preset": "0 7 * * 1-5",
        "zone": "Europe/Berlin",
        "name": "Every <b>morning</b>",
    }
    refused = browser.post(f"{base}/new-run", data=data | {"cron": "99 * * * *"})
    assert refused.status_code == 422 and "is not a schedule" in refused.text
    assert browser.post(f"{base}/new-run", data=data).status_code == 303
    page = browser.get(f"{base}/schedules").text
    assert "Every &lt;b&gt;morning&lt;/b&gt;" in page and "Working days at 7:00" in page and page.count(", 07:00") >= 5
    preview = browser.get(f"{base}/schedules/preview?cron=0+9+*+*+*&zone=Asia/Tokyo").text
    assert preview.count(", 09:00") == 5
    assert "five fields" in browser.get(f"{base}/schedules/preview?cron=x&zone=UTC").text


def test_hostile_output_is_harmless_on_the_page(site: Site, api: httpx.Client) -> None:
    browser, base = site.client("viewer"), f"/p/{site.project.slug}"
    path = site.notebook(
        "from IPython.display import HTML, Javascript, display\n"
        'display(HTML(\'<img src=x onerror=alert(1)><script>alert(2)</script><iframe srcdoc="<script>alert(3)</script>"></iframe>'
        "<table><tr><td>kept</td></tr></table>'), Javascript('alert(4)'))\n"
        "print('<script>alert(5)</script>\\x1b[31mred\\x1b[0m\\x1b]0;title\\x07')",
        name="hostile.ipynb",
    )
    run_id = api.post("runs", json={"path": path}).json()["run_id"]
    heard = follow(browser, f"{base}/runs/{run_id}/output/live")
    assert heard[-1][0] == "end"
    drawn = [data["html"] for name, _, data in heard if name == "cell"][-1]
    part = browser.get(f"{base}/runs/{run_id}/output").text
    for html in (drawn, part.split('class="cell-outputs"')[1]):
        assert "<td>kept</td>" in html and "&lt;script&gt;alert(5)" in html
        assert '<span class="ansi-31">red</span>' in html
        assert not re.search(r"<script|onerror|<iframe|srcdoc|\x1b", html)
    hostile_name = browser.get(f"{base}/new-run", params={"path": "<script>x</script>.py"})
    assert "<script>x" not in hostile_name.text


def test_a_viewer_that_comes_back_gets_what_it_missed(site: Site, api: httpx.Client) -> None:
    browser, base = site.client("viewer"), f"/p/{site.project.slug}"
    run_id = api.post(
        "runs", json={"path": site.notebook(TICKS.format(n=60), "print('last')", name="ticking.ipynb")}
    ).json()["run_id"]
    with browser.stream("GET", f"{base}/runs/{run_id}/output/live") as response:
        for line in response.iter_lines():
            if line.startswith("id: "):
                mark = line[4:]
            if line.startswith("data: ") and "tick 5" in line:
                break
    heard = follow(browser, f"{base}/runs/{run_id}/output/live", headers={"Last-Event-ID": mark})
    cells = {data["cell"]: data for name, _, data in heard if name == "cell"}
    assert cells[0]["state"] == "done" and "tick 59" in cells[0]["html"] and "tick 0\n" in cells[0]["html"]
    assert "last" in cells[1]["html"] and heard[-1][2]["status"] == "finished"
