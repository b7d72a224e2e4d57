"""The contract on this machine, and what is special about it: the shim, the server's death, the shim's own death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headway.engines import shim
from headway.engines.base import Limits, Spec, child_environment
from headway.engines.local import LocalEngine, alive
from headway.errors import BadInput, StorageFull
from headway.settings import Settings

from .contract import EngineContract, gone
from .waiting import wait_for

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def engine(tmp_path: Path) -> LocalEngine:
    return LocalEngine(Settings(home=tmp_path))


class TestContract(EngineContract):
    pass


def spec(tmp_path: Path, source: str, key: str = "k", **more: object) -> Spec:
    return Spec(key, (sys.executable, "-c", source), str(tmp_path), str(tmp_path / key), **more)  # type: ignore[arg-type]


def record(handle: str) -> dict:
    return json.loads((Path(handle) / "process.json").read_text())


def started(engine: LocalEngine, wanted: Spec) -> tuple[str, dict]:
    handle = engine.submit(wanted)
    wait_for(lambda: b"up" in engine.logs(handle))
    return handle, record(handle)


def test_the_process_outlives_the_server_that_started_it(tmp_path: Path, engine: LocalEngine) -> None:
    source = (
        "import sys; sys.path.insert(0, 'src')\n"
        "from pathlib import Path\nfrom headway.engines.local import LocalEngine\nfrom headway.engines.base import Spec\n"
        "from headway.settings import Settings\n"
        f"wanted = Spec('k', ({sys.executable!r}, '-c', {SLEEP!r}), '/', {str(tmp_path / 'k')!r})\n"
        f"LocalEngine(Settings(home=Path({str(tmp_path)!r}))).submit(wanted)\n"
        "import os, signal; os.killpg(0, signal.SIGTERM); os.kill(os.getpid(), signal.SIGKILL)"
    )
    server = subprocess.run([sys.executable, "-c", source], start_new_session=True, check=False)
    assert server.returncode < 0
    [(key, handle, status)] = engine.list()
    assert (key, status.state) == ("k", "running")
    wait_for(lambda: b"up" in engine.logs(handle))
    engine.cancel(handle, 0.1)
    assert wait_for(lambda: engine.status(handle).settled and engine.status(handle)).cause == "cancelled"


def test_a_killed_shim_takes_its_child_along_and_is_told_as_lost(tmp_path: Path, engine: LocalEngine) -> None:
    child = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    )
    handle, process = started(engine, spec(tmp_path, child + "open('pid', 'w').write(str(p.pid)); " + SLEEP))
    grandchild = int((tmp_path / "pid").read_text())
    os.kill(process["shim"]["pid"], signal.SIGKILL)
    status = wait_for(lambda: engine.status(handle) if engine.status(handle).over else None)
    assert (status.state, status.cause, status.settled) == ("lost", "lost", True)
    assert "supervisor was killed" in status.detail
    assert gone(process["pid"]) and gone(grandchild)
    assert LocalEngine(Settings(home=tmp_path)).status(handle) == status


@pytest.mark.parametrize("field", ["start", "boot"])
def test_a_pid_given_to_another_process_is_not_ours(tmp_path: Path, engine: LocalEngine, field: str) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    me = {"pid": os.getpid(), "start": shim.start_time(os.getpid())}
    written = {"key": "old", "shim": dict(me), **me, "boot": shim.boot_id(), "started_at": 1}
    assert alive(me, written)
    (folder / "process.json").write_text(json.dumps(written))
    assert engine.status(str(folder)).state == "running"
    if field == "boot":
        written["boot"] = "another-boot"
    else:
        written["shim"]["start"] -= 1
    (folder / "process.json").write_text(json.dumps(written))
    status = engine.status(str(folder))
    assert status.state == "lost"
    assert ("restarted" in status.detail) == (field == "boot")


def test_the_signals_of_a_terminal_do_not_reach_the_shim(tmp_path: Path, engine: LocalEngine) -> None:
    handle, process = started(engine, spec(tmp_path, SLEEP))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(process["shim"]["pid"], number)
    assert engine.status(handle).state == "running"
    assert os.getsid(process["pid"]) == process["session"] != os.getsid(process["shim"]["pid"]) != os.getsid(0)
    engine.cancel(handle, 0.1)
    wait_for(lambda: engine.status(handle).settled)


def test_many_servers_submitting_one_key_start_one_process(tmp_path: Path) -> None:
    wanted = spec(tmp_path, "import os; print(os.getpid(), flush=True)")
    engines = [LocalEngine(Settings(home=tmp_path)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        handles = set(pool.map(lambda engine: engine.submit(wanted), engines))
    [handle] = handles
    wait_for(lambda: engines[0].status(handle).settled)
    assert len(engines[0].logs(handle).split()) == 1


def test_a_shim_that_was_killed_before_it_started_anything_can_be_submitted_again(
    tmp_path: Path, engine: LocalEngine
) -> None:
    wanted = spec(tmp_path, "print('ran')")
    engine._prepare(Path(wanted.folder), wanted)
    assert engine.status(wanted.folder).state == "queued"
    handle = engine.submit(wanted)
    assert wait_for(lambda: engine.status(handle).settled and engine.status(handle)).exit_code == 0


def test_one_allocation_far_beyond_the_limit_fails_at_once(tmp_path: Path, engine: LocalEngine) -> None:
    handle = engine.submit(spec(tmp_path, "bytearray(8 << 30)", limits=Limits(memory_mb=100)))
    status = wait_for(lambda: engine.status(handle).settled and engine.status(handle))
    assert status.exit_code == 1 and b"MemoryError" in engine.logs(handle)


def test_a_folder_that_cannot_be_written_is_an_error_and_no_process(tmp_path: Path, engine: LocalEngine) -> None:
    (tmp_path / "file").write_text("")
    wanted = Spec("k", ("true",), "/", str(tmp_path / "file" / "below"))
    with pytest.raises(StorageFull):
        engine.submit(wanted)
    assert engine.list() == []


@pytest.mark.parametrize(("key", "argv"), [("", ("true",)), ("k" * 300, ("true",)), ("k", ())])
def test_bad_specs(tmp_path: Path, engine: LocalEngine, key: str, argv: tuple[str, ...]) -> None:
    with pytest.raises(BadInput):
        engine.submit(Spec(key, argv, "/", str(tmp_path / "k")))


def test_a_working_folder_that_is_missing(tmp_path: Path, engine: LocalEngine) -> None:
    handle = engine.submit(Spec("k", ("true",), str(tmp_path / "missing"), str(tmp_path / "k")))
    wait_for(lambda: engine.status(handle).settled)
    assert b"cannot start: No such file or directory: " + str(tmp_path / "missing").encode() in engine.logs(handle)


def test_keys_with_slashes_stay_in_the_index(tmp_path: Path, engine: LocalEngine) -> None:
    engine.submit(Spec("../../evil/key", ("true",), "/", str(tmp_path / "k")))
    assert [entry.parent for entry in tmp_path.rglob("*evil*")] == [engine.index]
    assert engine.list("../../evil")[0][0] == "../../evil/key"


def test_a_spec_survives_json() -> None:
    wanted = Spec("k", ("a", "b"), "/", "/f", {"X": "1"}, Limits(1, 2.5, 0.5), ("s",), 3.0, {"K": "/k"}, 9.0, 2, "TERM")
    assert Spec.from_dict(json.loads(json.dumps(wanted.as_dict()))) == wanted
    assert Spec.from_dict(wanted.as_dict() | {"from_a_later_version": 1}) == wanted


def test_child_environment() -> None:
    env = child_environment({"A": "1"}, {"PATH": "/bin", "SECRET": "x", "LC_ALL": "C", "HEADWAY_PORT": "1", "A": "0"})
    assert env["PATH"] == "/bin" and env["LC_ALL"] == "C" and env["A"] == "1" and env["HOME"]
    assert "SECRET" not in env and "HEADWAY_PORT" not in env


def test_a_process_whose_folder_is_removed_is_ended(engine: LocalEngine, tmp_path: Path) -> None:
    handle = engine.submit(spec(tmp_path, "import time; time.sleep(600)"))
    pid = json.loads((Path(handle) / "process.json").read_text())["pid"]
    shutil.rmtree(handle)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="its end")


def test_a_shim_that_rests_for_an_hour_hears_that_it_is_to_stop(
    tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = tmp_path / "calm_shim.py"
    source = Path(shim.__file__).read_text()
    hourly = source.replace("LOOK_S, LOOK_LIMITED_S = 0.1, 1.0, 0.2", "LOOK_S, LOOK_LIMITED_S = 0.1, 3600.0, 3600.0")
    assert hourly != source
    calm.write_text(hourly)
    monkeypatch.setattr(shim, "__file__", str(calm))
    handle, _ = started(engine, spec(tmp_path, SLEEP))
    engine.cancel(handle, 0.1)
    wait_for(lambda: engine.status(handle).settled)
    assert engine.status(handle).cause == "cancelled"
