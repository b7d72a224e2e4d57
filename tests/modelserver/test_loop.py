"""The replica as a process: frames in, frames out, whatever its peers do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headway import bundle, frames

Start = Callable[[Path], tuple[subprocess.Popen[bytes], str]]


def wait_for(path: str, process: subprocess.Popen[bytes]) -> None:
    """Until the replica answers, at most a minute."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if frames.call(path, frames.HEALTH)[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"the replica did not start: {process.poll()}")


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory, numbers: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    path = str(tmp_path_factory.mktemp("s") / "r")
    process = start(numbers, path)
    yield process, path
    process.kill()
    process.wait()


def start(folder: Path, path: str) -> subprocess.Popen[bytes]:
    root = Path(bundle.__file__).parent.parent
    argv = [sys.executable, "-m", "headway.modelserver", "serve", "--socket", path, str(folder)]
    env = {"PYTHONPATH": f"{root}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(argv, env=env, cwd="/")
    wait_for(path, process)
    return process


BODY = json.dumps({"instances": [[4.5, 1.0]]}).encode()


def ask(path: str) -> tuple[int, Any]:
    return frames.call(path, frames.INVOCATIONS, BODY)


def test_it_answers_health_schema_and_predictions(replica: tuple[Any, str]) -> None:
    _, path = replica
    assert ask(path) == (200, {"predictions": [1]})
    status, schema = frames.call(path, frames.SCHEMA)
    assert status == 200
    assert [f["name"] for f in schema["inputs"]] == ["a", "b"]
    assert schema["methods"] == ["predict", "predict_proba"]
    assert frames.call(path, frames.INVOCATIONS, json.dumps(schema["example"]).encode())[0] == 200


HOSTILE: list[tuple[str, bytes]] = [
    ("noise", os.urandom(4096)),
    ("half a header", b"\x01\x00"),
    ("a frame of four gigabytes", struct.pack("<IIHHd", 0xFFFFFFFF, 1, 1, 0, 0.0)),
    ("a header and no body", frames.HEADER.pack(100, 1, 1, 0, 0.0)),
    ("an unknown kind", frames.pack(1, 999, 0, 0.0, b"{}")),
    ("an unknown content", frames.pack(1, 1, 999, 0.0, b"{}")),
    ("a deadline that is no number", frames.pack(1, 1, 0, float("nan"), BODY)),
    ("nested lists", frames.pack(1, 1, 0, 0.0, b'{"instances": ' + b"[" * 1_000_000)),
    ("a null byte", frames.pack(1, 1, 0, 0.0, b"\0")),
]


@pytest.mark.parametrize("sent", [h[1] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
def test_nothing_that_a_peer_sends_ends_it(replica: tuple[subprocess.Popen[bytes], str], sent: bytes) -> None:
    process, path = replica
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(sent)
        link.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            link.recv(1 << 16)
    assert ask(path) == (200, {"predictions": [1]})
    assert process.poll() is None


def test_a_peer_that_does_not_read_hurts_nobody(replica: tuple[Any, str]) -> None:
    _, path = replica
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.setblocking(False)
        frame = frames.pack(1, frames.SCHEMA, 0, 0.0, b"")
        for _ in range(20_000):
            try:
                link.send(frame)
            except BlockingIOError:
                break
        assert ask(path) == (200, {"predictions": [1]})


def test_many_requests_on_one_link_are_all_answered(replica: tuple[Any, str]) -> None:
    _, path = replica
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.settimeout(20)
        link.sendall(b"".join(frames.pack(n, frames.INVOCATIONS, 0, 0.0, BODY) for n in range(1000)))
        got = bytearray()
        answers: dict[int, int] = {}
        while len(answers) < 1000:
            got += link.recv(1 << 16)
            while len(got) >= frames.HEADER.size:
                length, number, status, _, _ = frames.HEADER.unpack_from(got)
                if len(got) < frames.HEADER.size + length:
                    break
                answers[number] = status
                del got[: frames.HEADER.size + length]
    assert answers == dict.fromkeys(range(1000), 200)


def test_told_to_stop_it_answers_what_is_under_way(tmp_path: Path) -> None:
    import numpy as np

    from tests.modelserver.bundles import save
    from tests.modelserver.oddities import Slow

    folder = save(tmp_path / "b", Slow(), np.zeros((3, 1)), examples=False)
    path = str(tmp_path / "r")
    process = start(folder, path)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.settimeout(20)
        link.sendall(frames.pack(5, frames.INVOCATIONS, 0, 0.0, b'{"inputs": [[0.5]]}'))
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        length, number, status, _, _ = frames.HEADER.unpack(link.recv(frames.HEADER.size))
        assert (number, status) == (5, 200)
        assert json.loads(link.recv(length)) == {"predictions": [0.0]}
    assert process.wait(timeout=20) == 0
    assert not Path(path).exists()


def test_a_bundle_that_can_not_be_served_says_so(tmp_path: Path) -> None:
    root = Path(bundle.__file__).parent.parent
    argv = [sys.executable, "-m", "headway.modelserver", "serve", "--socket", str(tmp_path / "r"), str(tmp_path)]
    done = subprocess.run(argv, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No MLmodel" in done.stderr
