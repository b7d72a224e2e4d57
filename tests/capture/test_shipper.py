"""The shipper against a server that speaks the protocol, goes away, refuses, and counts what it was told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headway.capture.outbox import Sent
from headway.capture.shipper import main
from headway.sdk.points import unpack

SOURCE = Path(__file__).resolve().parents[2] / "src"


class Recorder:
    """A server that keeps what it was sent. `away`: it answers 503; `refuse`: parameter names that it answers 400 for."""

    def __init__(self) -> None:
        self.away = False
        self.refuse: set[str] = set()
        self.runs: dict[str, dict[str, Any]] = {"r1": {"experiment_id": "7"}}
        self.params: dict[tuple[str, str], str] = {}
        self.points: list[tuple[str, str, int, float]] = []
        self.tags: dict[tuple[str, str], str] = {}
        self.files: dict[str, bytes] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.inputs: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.calls = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.calls += 1
                owner.tokens.add(self.headers.get("Authorization", ""))
                status, value = (503, {}) if owner.away else owner.handle(self.command, self.path, body)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def handle(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        if method == "PUT":
            self.files[path.split("/artifacts/", 1)[1]] = body
            return 200, {}
        if path.endswith("/points"):
            run = path.split("/")[-2]
            for key, columns in unpack(body):
                self.points += [(run, key, step, value) for step, _, value in zip(*columns, strict=True)]
            return 200, {}
        name = path.split("/api/2.0/mlflow/")[1].split("?")[0]
        data = json.loads(body or b"{}")
        match name:
            case "runs/get":
                run = path.split("run_id=")[1]
                return 200, {
                    "run": {
                        "info": {
                            "run_id": run,
                            "experiment_id": "7",
                            "artifact_uri": f"mlflow-artifacts:/7/{run}/artifacts",
                        }
                    }
                }
            case "runs/create":
                run = f"r{len(self.runs) + 1}"
                self.runs[run] = data
                self.tags |= {(run, t["key"]): t["value"] for t in data["tags"]}
                return 200, {"run": {"info": {"run_id": run}}}
            case "runs/update":
                self.runs[data["run_id"]] = {**self.runs[data["run_id"]], **data}
                return 200, {}
            case "runs/log-batch":
                if self.refuse & {p["key"] for p in data["params"]}:
                    return 400, {"message": "no"}
                self.params |= {(data["run_id"], p["key"]): p["value"] for p in data["params"]}
                self.tags |= {(data["run_id"], t["key"]): t["value"] for t in data["tags"]}
                return 200, {}
            case "runs/log-inputs":
                self.inputs += data["datasets"]
                return 200, {}
            case "experiments/get-by-name":
                return 404, {}
            case "experiments/create":
                return 200, {"experiment_id": "7"}
            case "logged-models":
                number = f"m{len(self.models)}"
                self.models[number] = data
                return 200, {
                    "model": {
                        "info": {"model_id": number, "artifact_uri": f"mlflow-artifacts:/7/models/{number}/artifacts"}
                    }
                }
        if name.startswith("logged-models/"):
            self.models[name.split("/")[1]] |= data
        return 200, {}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder()
    monkeypatch.setenv("HEADWAY_URL", recorder.url)
    monkeypatch.setenv("HEADWAY_RUN", "r1")
    (tmp_path / "token").write_text("hw_secret\n")
    monkeypatch.setenv("HEADWAY_TOKEN_FILE", str(tmp_path / "token"))
    yield recorder
    recorder.http.shutdown()
    recorder.http.server_close()


def spool(folder: Path, steps: int = 6, *, ended: bool = True) -> Path:
    """A spool as a program leaves it that prints a loss in a loop."""
    folder.mkdir(exist_ok=True)
    source = "import math\nlr = 0.5\nfor epoch in range(9):\n    loss = math.exp(-lr * epoch)\n    print(epoch, loss)\n"
    facts: list[dict[str, Any]] = [
        {
            "k": "start",
            "t": 1,
            "pid": 5,
            "role": "main",
            "main": "/w/a.py",
            "cwd": str(folder),
            "argv": ["python", "a.py", "decay=0.1"],
        },
        {"k": "source", "t": 2, "file": "/w/a.py", "text": source},
        {"k": "site", "t": 3, "s": 0, "file": "/w/a.py", "at": [5, 4, 5, 22], "fn": "<module>", "names": [], "up": []},
    ]
    for step in range(steps):
        value = 2.718281828459045 ** (-0.5 * step)
        facts.append({"k": "print", "t": 10 + step, "s": 0, "v": [step, value], "n": {"epoch": step, "loss": value}})
    if ended:
        facts += [{"k": "env", "t": 90, "python": "3.11.7", "packages": ["numpy==2.0"]}, {"k": "end", "t": 99}]
    (folder / "facts.5.jsonl").write_text("".join(json.dumps(f) + "\n" for f in facts))
    return folder


def drain(folder: Path, *more: str) -> int:
    return main(["--spool", str(folder), "--drain", *more])


def test_all_of_a_record_arrives_with_steps_and_the_bearer_token(server: Recorder, tmp_path: Path) -> None:
    assert drain(spool(tmp_path / "spool")) == 0
    assert [(k, s) for _, k, s, _ in server.points] == [("loss", n) for n in range(6)]
    assert server.params[("r1", "lr")] == "0.5"
    assert server.params[("r1", "decay")] == "0.1"
    assert server.params[("r1", "epochs")] == "9"
    assert {
        "7/r1/artifacts/headway/capture.json",
        "7/r1/artifacts/headway/code/a.py",
        "7/r1/artifacts/headway/environment.txt",
    } <= set(server.files)
    record = json.loads(server.files["7/r1/artifacts/headway/capture.json"])
    assert record["metrics"]["loss"]["witnesses"][0]["line"] == 5
    assert server.tokens == {"Bearer hw_secret"}
    assert len(server.runs) == 1


def test_a_second_drain_sends_nothing_twice(server: Recorder, tmp_path: Path) -> None:
    folder = spool(tmp_path / "spool")
    assert drain(folder) == 0
    points, files = list(server.points), dict(server.files)
    assert drain(folder) == 0
    assert (server.points, server.files) == (points, files)


def test_what_came_later_is_added(server: Recorder, tmp_path: Path) -> None:
    drain(spool(tmp_path / "spool", 4))
    drain(spool(tmp_path / "spool", 6))
    assert [s for _, _, s, _ in server.points] == list(range(6))


def test_a_server_that_is_away_keeps_the_spool(
    server: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = spool(tmp_path / "spool")
    server.away = True
    assert drain(folder, "--patience", "0") == 1
    assert "the server is away" in capsys.readouterr().err
    assert not Sent.load(folder / "shipped.json").finished
    server.away = False
    assert drain(folder) == 0
    assert len(server.points) == 6


def test_one_bad_value_does_not_lose_the_others(server: Recorder, tmp_path: Path) -> None:
    server.refuse = {"lr"}
    assert drain(spool(tmp_path / "spool")) == 0
    assert ("r1", "lr") not in server.params
    assert server.params[("r1", "epochs")] == "9"
    record = json.loads(server.files["7/r1/artifacts/headway/capture.json"])
    assert any("lr" in text for text in record["refused"])


def test_a_half_written_line_waits(server: Recorder, tmp_path: Path) -> None:
    folder = spool(tmp_path / "spool")
    with (folder / "facts.5.jsonl").open("a") as stream:
        stream.write('{"k": "print", "t": 200, "s": 0, "v": [6, 0.')
    assert drain(folder) == 0
    assert len(server.points) == 6


def test_an_interactive_session_gets_a_run_of_its_own(
    server: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWAY_RUN")
    assert drain(spool(tmp_path / "spool")) == 0
    assert server.tags[("r2", "headway.source")] == "interactive"
    assert server.runs["r2"]["status"] == "FINISHED"
    assert {run for run, *_ in server.points} == {"r2"}


def test_a_spool_without_facts_makes_no_call(server: Recorder, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "facts.5.jsonl").write_text(json.dumps({"k": "start", "t": 1, "role": "main"}) + "\n")
    assert drain(folder) == 0
    assert server.calls == 0


def test_without_an_address_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HEADWAY_URL", raising=False)
    assert main(["--spool", str(tmp_path)]) == 2
    assert "HEADWAY_URL" in capsys.readouterr().err


def test_the_sidecar_sends_while_it_runs_and_ends_with_its_input(server: Recorder, tmp_path: Path) -> None:
    folder = spool(tmp_path / "spool", 4, ended=False)
    command = [sys.executable, "-S", "-m", "headway.capture.shipper", "--spool", str(folder)]
    side = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SOURCE)})
    deadline = time.monotonic() + 60
    while len(server.points) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(server.points) == 4  # it has not ended yet
    assert side.poll() is None
    spool(folder, 7)
    assert side.stdin is not None
    side.stdin.close()
    assert side.wait(60) == 0
    assert [s for _, _, s, _ in server.points] == list(range(7))


def test_with_a_pid_it_ends_when_that_process_is_gone(server: Recorder, tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    command = [
        sys.executable,
        "-S",
        "-m",
        "headway.capture.shipper",
        "--spool",
        str(spool(tmp_path / "spool")),
        "--pid",
        str(worker.pid),
    ]
    side = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(SOURCE)})
    deadline = time.monotonic() + 60
    while not server.points and time.monotonic() < deadline:
        time.sleep(0.05)
    assert side.poll() is None
    worker.communicate(b"\n")
    assert side.wait(60) == 0
    assert "7/r1/artifacts/headway/capture.json" in server.files
