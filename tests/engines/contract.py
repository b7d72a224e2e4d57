"""What every engine must do. A test module of an engine derives from `EngineContract` and gives the fixture `engine`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headway.engines.base import Engine, Limits, Spec, Status

from .waiting import wait_for

Start = Callable[..., str]


class EngineContract:
    """The suite. Every program is a real process; every end is told by its true cause."""

    @pytest.fixture
    def start(self, engine: Engine, tmp_path: Path) -> Start:
        def start(source: str, key: str = "k1", **more: object) -> str:
            spec = Spec(
                key=key, argv=(sys.executable, "-c", source), cwd=str(tmp_path), folder=str(tmp_path / key), **more
            )  # type: ignore[arg-type]
            return engine.submit(spec)

        return start

    def over(self, engine: Engine, handle: str) -> Status:
        def settled() -> Status | None:
            status = engine.status(handle)
            return status if status.over and status.settled else None

        return wait_for(settled, what="the end of the process")

    def saw(self, engine: Engine, handle: str, text: bytes) -> None:
        wait_for(lambda: text in engine.logs(handle), what=f"{text!r} in the log")

    def test_an_exit_is_told_with_its_code_output_and_times(self, engine: Engine, start: Start) -> None:
        handle = start("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
        status = self.over(engine, handle)
        assert (status.state, status.cause, status.exit_code, status.signal) == ("exited", "exited", 3, None)
        assert sorted(engine.logs(handle).split()) == [b"err", b"out"]
        assert status.started_at is not None and status.ended_at is not None and status.started_at <= status.ended_at
        assert status.peak_memory_mb and status.peak_memory_mb > 1

    def test_a_running_process_is_running(self, engine: Engine, start: Start) -> None:
        handle = start("import time; print('up', flush=True); time.sleep(600)")
        self.saw(engine, handle, b"up")
        assert engine.status(handle).state == "running"
        engine.cancel(handle, 0.1)
        assert self.over(engine, handle).cause == "cancelled"

    def test_who_watches_is_told_of_the_end_once(self, engine: Engine, start: Start) -> None:
        handle = start("import time; print('up', flush=True); time.sleep(600)")
        self.saw(engine, handle, b"up")
        told: list[str] = []
        assert engine.watch(handle, lambda: told.append("first"))
        assert engine.watch(handle, lambda: told.append("second")), "it is watched already"
        assert not told and engine.status(handle).state == "running"
        engine.cancel(handle, 0.1)
        wait_for(lambda: told, what="the call")
        self.over(engine, handle)
        assert told == ["first"]
        assert not engine.watch(handle, lambda: told.append("late")), "its end was told: who asks late looks by itself"
        assert not engine.watch("no such handle", lambda: None)

    def test_submitting_a_key_twice_starts_one_process(self, engine: Engine, start: Start) -> None:
        source = "import time; print('up', flush=True); time.sleep(600)"
        first = start(source)
        second = start(source)
        assert first == second
        self.saw(engine, first, b"up")
        engine.cancel(first, 0.1)
        self.over(engine, first)
        assert start(source) == first, "a key that is over is not started again"
        assert engine.logs(first).count(b"up\n") == 1

    def test_cancel_interrupts_first_and_lets_the_program_clean_up(self, engine: Engine, start: Start) -> None:
        handle = start(
            "import time\nprint('up', flush=True)\n"
            "try: time.sleep(600)\nexcept KeyboardInterrupt: print('cleaned up', flush=True)"
        )
        self.saw(engine, handle, b"up")
        engine.cancel(handle)
        status = self.over(engine, handle)
        assert status.cause == "cancelled" and b"cleaned up" in engine.logs(handle)

    def test_cancel_ends_a_program_that_will_not_end_and_all_its_children(
        self, engine: Engine, start: Start, tmp_path: Path
    ) -> None:
        handle = start(
            "import os, signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
            "open('child', 'w').write(str(child.pid)); print('up', flush=True); time.sleep(600)"
        )
        self.saw(engine, handle, b"up")
        child = int((tmp_path / "child").read_text())
        engine.cancel(handle, 0.2)
        status = self.over(engine, handle)
        assert (status.cause, status.signal) == ("cancelled", 9)
        assert gone(child)

    def test_a_second_cancel_and_one_after_the_end_change_nothing(self, engine: Engine, start: Start) -> None:
        handle = start("import time; print('up', flush=True); time.sleep(600)")
        self.saw(engine, handle, b"up")
        engine.cancel(handle, 0.1)
        engine.cancel(handle, 0.1)
        status = self.over(engine, handle)
        engine.cancel(handle)
        assert engine.status(handle) == status

    def test_the_time_limit(self, engine: Engine, start: Start) -> None:
        handle = start("import time; time.sleep(600)", limits=Limits(timeout_s=0.3), grace_s=0.5)
        assert self.over(engine, handle).cause == "timed_out"

    def test_the_memory_limit_counts_the_whole_tree(self, engine: Engine, start: Start) -> None:
        source = (
            "import subprocess, sys, time\n"
            "hog = 'held = b\"x\" * (80 << 20)\\nimport time\\ntime.sleep(600)'\n"
            "for _ in range(3): subprocess.Popen([sys.executable, '-c', hog], start_new_session=True)\n"
            "time.sleep(600)"
        )
        status = self.over(engine, start(source, limits=Limits(memory_mb=180)))
        assert status.cause == "out_of_memory"
        assert status.peak_memory_mb and status.peak_memory_mb > 180

    def test_a_process_within_its_memory_limit_is_left_alone(self, engine: Engine, start: Start) -> None:
        status = self.over(engine, start("held = b'x' * (60 << 20)\nprint(len(held))", limits=Limits(memory_mb=250)))
        assert (status.cause, status.exit_code) == ("exited", 0)

    def test_a_kill_from_outside_is_told_as_killed(self, engine: Engine, start: Start) -> None:
        handle = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        status = self.over(engine, handle)
        assert (status.cause, status.signal, status.exit_code) == ("killed", 9, None)
        assert "SIGKILL" in status.detail

    def test_what_the_process_leaves_behind_is_ended(self, engine: Engine, start: Start, tmp_path: Path) -> None:
        handle = start(
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
            "open('child', 'w').write(str(child.pid))"
        )
        assert self.over(engine, handle).exit_code == 0
        assert gone(int((tmp_path / "child").read_text()))

    def test_a_program_that_is_not_there(self, engine: Engine, tmp_path: Path) -> None:
        handle = engine.submit(Spec("none", ("/nowhere/program",), str(tmp_path), str(tmp_path / "none")))
        status = self.over(engine, handle)
        assert status.exit_code == 127
        assert b"cannot start: No such file or directory: /nowhere/program" in engine.logs(handle)

    def test_logs_are_read_by_offset(self, engine: Engine, start: Start) -> None:
        handle = start("print('0123456789')")
        self.over(engine, handle)
        assert engine.logs(handle, 4, 3) == b"456"
        assert engine.logs(handle, 1000) == b""

    def test_the_environment_is_an_allow_list(
        self, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HEADWAY_SECRET_OF_THE_SERVER", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        handle = start("import os; print(sorted(os.environ))", env={"MINE": "1"})
        self.over(engine, handle)
        said = engine.logs(handle).decode()
        assert "'MINE'" in said and "'PATH'" in said
        assert "SECRET" not in said

    def test_a_secret_reaches_the_process_and_no_record(self, engine: Engine, start: Start, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("s3cr3t-value")
        handle = start("import os; print(len(os.environ['KEY']))", secrets={"KEY": str(tmp_path / "secret")})
        self.over(engine, handle)
        assert engine.logs(handle) == b"12\n"
        for file in (tmp_path / "k1").iterdir():
            assert b"s3cr3t-value" not in file.read_bytes()

    def test_a_sidecar_learns_of_the_end_and_finishes(self, engine: Engine, start: Start, tmp_path: Path) -> None:
        sidecar = "import sys; sys.stdin.read(); open('shipped', 'w').write('all')"
        handle = start("print('work')", sidecar=(sys.executable, "-c", sidecar))
        assert self.over(engine, handle).exit_code == 0
        assert (tmp_path / "shipped").read_text() == "all"

    def test_a_sidecar_that_never_ends_is_ended(self, engine: Engine, start: Start) -> None:
        handle = start("print('work')", sidecar=(sys.executable, "-c", "import time; time.sleep(600)"), sidecar_s=0.3)
        assert self.over(engine, handle).exit_code == 0

    def test_respawn_takes_up_after_a_signal_and_not_after_an_exit(
        self, engine: Engine, start: Start, tmp_path: Path
    ) -> None:
        source = (
            "import os, signal, sys\n"
            "tries = int(open('tries').read()) + 1 if os.path.exists('tries') else 1\n"
            "open('tries', 'w').write(str(tries))\n"
            "os.kill(os.getpid(), signal.SIGKILL) if tries < 3 else sys.exit(5)"
        )
        status = self.over(engine, start(source, respawn=5))
        assert (status.cause, status.exit_code) == ("exited", 5)
        assert (tmp_path / "tries").read_text() == "3"

    def test_respawn_ends_when_used_up(self, engine: Engine, start: Start) -> None:
        status = self.over(
            engine, start("import os, signal; print('x', flush=True); os.kill(os.getpid(), signal.SIGKILL)", respawn=2)
        )
        assert status.cause == "killed"

    def test_list_finds_by_prefix(self, engine: Engine, start: Start) -> None:
        first, second = start("pass", key="run-1.a1"), start("pass", key="replica-1")
        self.over(engine, first)
        self.over(engine, second)
        assert [(key, handle) for key, handle, _ in engine.list("run-")] == [("run-1.a1", first)]
        assert {key for key, _, _ in engine.list()} == {"run-1.a1", "replica-1"}
        engine.forget(first)
        assert engine.list("run-") == []

    def test_an_unknown_handle_is_lost_and_resources_are_real(self, engine: Engine, tmp_path: Path) -> None:
        assert engine.status(str(tmp_path / "never")).state == "lost"
        engine.cancel(str(tmp_path / "never"))
        assert engine.logs(str(tmp_path / "never")) == b""
        node = engine.resources()[0]
        assert node.cpu >= 1 and node.memory_mb >= node.free_memory_mb > 0


def gone(pid: int) -> bool:
    """Whether no process of this number lives (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"
