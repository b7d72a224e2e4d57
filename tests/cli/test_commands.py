"""The other nouns, in the order in which somebody would use them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

CAR = {
    "cylinders": 4,
    "litres": 1.6,
    "horsepower": 75,
    "weight_kg": 950,
    "seconds_to_60": 15.5,
    "year": 1980,
    "from_japan": True,
}


def test_projects(cli: Cli) -> None:
    made = cli.json("project", "create", "Churn of 2026", "--description", "who leaves")
    assert made["slug"] == "churn-of-2026"
    assert made["slug"] in [p["slug"] for p in cli.json("project", "list")["projects"]]
    # A second project changes nothing about which one is meant by default.
    assert cli.json("runs", "list")["runs"] == cli.json("runs", "list", "-P", "sample-project")["runs"]
    assert cli.json("runs", "list", HEADWAY_PROJECT=made["slug"])["runs"] == []
    assert cli.json("runs", "list", cwd=cli.home / "projects" / made["slug"])["runs"] == []


def test_tokens(cli: Cli) -> None:
    made = cli.json("token", "create", "ci", "--scope", "read", "--days", "3")
    assert made["token"].startswith("hw_")
    assert cli("project", "list", HEADWAY_TOKEN=made["token"]).returncode == 0
    refused = cli("project", "create", "Mine", HEADWAY_TOKEN=made["token"])
    assert refused.returncode == 1
    assert "This token may not" in refused.stderr
    assert made["token"] not in json.dumps(cli.json("token", "list"))
    cli.ok("token", "revoke", "ci")
    assert cli("project", "list", HEADWAY_TOKEN=made["token"]).returncode == 1
    assert cli.ok("token", "create", "plain").startswith("hw_")


def test_login_from_elsewhere(cli: Cli, tmp_path: Path) -> None:
    url, token = cli.json("status")["url"], cli.json("token", "create", "laptop")["token"]
    elsewhere = {"HEADWAY_HOME": "", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert "headway login" in cli("project", "list", **elsewhere).stderr
    assert cli("login", url, input="hw_wrong\n", **elsewhere).returncode == 1
    assert not (tmp_path / "config" / "headway" / "login.json").exists()
    assert cli.json("login", url, input=token + "\n", **elsewhere)["you"] == "owner"
    assert cli.json("project", "list", **elsewhere)["projects"]
    refused = cli("login", "http://127.0.0.1:1", input=token + "\n", **elsewhere)
    assert refused.returncode == 1
    assert "nothing listens there" in refused.stderr


def test_people(cli: Cli) -> None:
    made = cli.json("people", "add", "mia", "--full-name", "Mia Berg")
    assert "/welcome?token=" in made["sign_in_link"]
    assert {"owner", "mia"} <= {u["name"] for u in cli.json("people", "list")["users"]}
    assert "/" in cli.json("people", "invite", "--role", "editor")["url"]
    assert [m["name"] for m in cli.json("people", "members")["members"]] == ["owner"]
    refused = cli("people", "role", "mia", "owner")
    assert refused.returncode == 1
    assert "Nobody called 'mia'" in refused.stderr
    assert cli.json("people", "link", "mia")["url"]


def test_the_environment(cli: Cli, finished: dict[str, Any]) -> None:
    found = cli.json("env", "show")
    assert found["state"] == "ready"
    lock = cli.ok("env", "lock")
    assert any(line.startswith("scikit-learn==") for line in lock.splitlines())
    wish = cli.work / "requirements.txt"
    wish.write_text("tqdm\n")
    built = cli.json("env", "build", str(wish), "--no-use")
    assert built["state"] == "ready"
    assert cli.json("env", "show")["id"] == found["id"]
    assert cli.json("env", "show", built["id"])["requirements"] == ["tqdm"]
    wish.write_text("no-such-package-as-this-one==1.0\n")
    failed = cli.json("env", "build", str(wish), "--no-use", code=1)
    assert failed["state"] == "failed"
    assert "no-such-package-as-this-one" in failed["message"]


def test_runs_are_found_compared_exported_and_deleted(cli: Cli, finished: dict[str, Any]) -> None:
    other = cli.json("run", "train.py", "-p", "lr=0.3", "-p", "trees=40")
    found = cli.json("runs", "list", "--filter", "params.lr = '0.3' and metrics.rmse < 9")["runs"]
    assert [run["run_id"] for run in found] == [other["run_id"]]
    ordered = cli.json("runs", "list", "--filter", "metrics.rmse < 9", "--order", "metrics.rmse")["runs"]
    values = [run["metrics"]["rmse"] for run in ordered]
    assert len(values) >= 2
    assert values == sorted(values)
    rows = {
        row["name"]: row["values"] for row in cli.json("runs", "compare", finished["run_id"], other["run_id"])["rows"]
    }
    assert rows["lr"] == [0.2, 0.3]
    assert "trees" not in rows
    table = list(csv.DictReader(io.StringIO(cli.ok("runs", "export"))))
    assert {row["run_id"] for row in table} >= {finished["run_id"], other["run_id"]}
    assert {row["params.lr"] for row in table} >= {"0.2", "0.3"}
    assert cli.json("runs", "rm", other["run_id"], "--yes")["removed"] is True
    assert cli.json("runs", "list", "--filter", "params.lr = '0.3'")["runs"] == []


def test_schedules(cli: Cli) -> None:
    made = cli.json(
        "schedule", "add", "train.py", "0 7 * * 1-5", "--zone", "Europe/Berlin", "--name", "mornings", "-p", "lr=0.1"
    )
    assert len(made["upcoming"]) == 5
    assert made["params"] == {"lr": 0.1}
    assert [one["name"] for one in cli.json("schedule", "list")["schedules"]] == ["mornings"]
    assert cli.json("schedule", "pause", "mornings")["paused"] is True
    assert cli.json("schedule", "resume", "mornings")["upcoming"] == made["upcoming"]
    assert "mornings: train.py" in cli.ok("schedule", "resume", "mornings")
    assert cli.json("schedule", "rm", "mornings")["removed"] is True
    assert cli.json("schedule", "list")["schedules"] == []


def test_notebook_open_says_where(cli: Cli) -> None:
    url = cli.json("notebook", "open", "train.ipynb")["url"]
    assert url.endswith("/p/sample-project/notebooks/train.ipynb/open")


@pytest.mark.story
def test_from_a_run_to_an_endpoint_and_back(cli: Cli, finished: dict[str, Any]) -> None:
    first = cli.json("deploy", finished["run_id"], "--as", "cars")
    assert first.keys() >= {"name", "url", "revision", "revisions", "state"}
    assert (first["state"], first["revision"]) == ("live", 1)
    record = json.dumps({"dataframe_records": [CAR]})
    answer = cli.json("predict", "cars", "-", input=record)
    assert 10 < answer["predictions"][0] < 60
    table = cli.work / "cars.csv"
    table.write_text(",".join(CAR) + "\n" + ",".join(str(value) for value in CAR.values()) + "\n")
    assert float(cli.ok("predict", "cars", str(table))) == pytest.approx(answer["predictions"][0])
    for body, said in (('{"dataframe_records": [{"cylinders": 4}]}', "litres"), ("{", ""), ("", "")):
        refused = cli("predict", "cars", "-", input=body)
        assert refused.returncode == 1
        assert said in refused.stderr

    name = cli.json("models", "list")["models"][0]["name"]
    assert cli.json("models", "show", name)["versions"][0]["run_id"] == finished["run_id"]
    assert cli.json("models", "alias", f"{name}/1", "champion")["version"] == 1
    got = cli.json("models", "download", f"{name}@champion", "--to", "model")
    assert {"MLmodel", "requirements.txt"} <= set(got["files"])
    assert (cli.work / "model" / "MLmodel").is_file()
    refused = cli("models", "download", name, "--to", "model")
    assert refused.returncode == 1
    assert "is there already" in refused.stderr

    second = cli.json("deploy", f"{name}@champion", "--as", "cars", "--canary", "25")
    shares = {one["number"]: one["weight"] for one in second["revisions"]}
    assert shares == {2: 25, 1: 75}
    assert cli.json("endpoints", "canary", "cars", "2", "50")["revisions"][0]["weight"] == 50
    assert cli.json("endpoints", "promote", "cars")["revision"] == 2
    assert cli.json("endpoints", "rollback", "cars")["revision"] == 1
    assert cli.json("predict", "cars", "-", input=record)["predictions"] == answer["predictions"]
    assert [one["name"] for one in cli.json("endpoints", "list")["endpoints"]] == ["cars"]
    assert "== " in cli.ok("endpoints", "logs", "cars")
    made = cli.json("endpoints", "keys", "create", "cars", "shop")
    assert [one["name"] for one in cli.json("endpoints", "keys", "list", "cars")["keys"]] == ["shop"]
    assert made["key"] not in json.dumps(cli.json("endpoints", "keys", "list", "cars"))
    assert cli.json("endpoints", "keys", "revoke", "cars", "shop")["revoked"] is True
    assert cli.json("endpoints", "rm", "cars", "--yes")["removed"] is True
    assert cli.json("endpoints", "list")["endpoints"] == []


PROGRAM = """
import headway

run = headway.run("count.py", n=3)
assert run.ok and run.params["n"] == 3, run
assert run.output() == "logged\\n", run.output()
assert run.metrics["total"] == 6.0, run
table = headway.runs("metrics.total = 6")
assert list(table["run_id"]) == [run.run_id] and table["params.n"][0] == "3", table
try:
    headway.log(x=1)
except headway.errors.Conflict as error:
    assert "headway run" in error.hint
else:
    raise AssertionError("logged outside of a run")
failed = headway.run("count.py", params={"n": -1})
assert not failed.ok and "n is negative" in failed.cause, failed
print("done", sorted(name for name in dir(headway) if name in headway.__all__) == sorted(headway.__all__))
"""
COUNT = """
import argparse, headway
parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=1)
n = parser.parse_args().n
if n < 0:
    raise ValueError("n is negative")
for step in range(n + 1):
    headway.log({"total": sum(range(step + 1))}, step=step)
print("logged")
"""


def test_import_headway(cli: Cli) -> None:
    """The public names, in a process and in runs of their own."""
    folder = cli.work / "program"
    folder.mkdir()
    (folder / "count.py").write_text(COUNT)
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], env=cli.env, cwd=folder, capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done True\n"
