"""The build: `python -m headway.environments.build FOLDER`, a process of its own under the engine.

It reads `ask.json` in FOLDER, locks, builds unless the store has that environment already, and leaves `result.json`. What it
prints is the log that people watch; `state.json` says where it is. It may be killed at any moment: nothing that it leaves has
the look of an environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from headway.boot import PTH_LINE
from headway.environments import bytecode, index, interpreters, lock
from headway.environments.explain import explain
from headway.environments.interpreters import Interpreter
from headway.environments.store import LOCK_FILE, Store, size_of
from headway.errors import HeadwayError

ASK, STATE, RESULT = "ask.json", "state.json", "result.json"
KERNEL = "ipykernel"
NICE = 5


@dataclass(frozen=True)
class Ask:
    """What a build is told: see `ask.Asked`. `store` is the folder of all environments."""

    store: str
    requirements: tuple[str, ...]
    python: str = ""
    hashes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    from_source: bool = False
    kernel: bool = True


@dataclass(frozen=True)
class Result:
    """How a build ended: `ready` with the environment's name, or `failed` with what went wrong and what to do."""

    state: str
    hash: str = ""
    python: str = ""
    lock: str = ""
    size: int = 0
    packages: int = 0
    reused: bool = False
    message: str = ""
    hint: str = ""


class Failed(Exception):
    """uv could not do it; the text is what it said."""


def write_ask(folder: Path, ask: Ask) -> None:
    """Put `ask.json` into the build's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / ASK, asdict(ask))


def read_ask(folder: Path) -> Ask:
    """The `ask.json` of a folder."""
    value = json.loads((folder / ASK).read_text(encoding="utf-8"))
    hashes = {name: tuple(found) for name, found in value.pop("hashes").items()}
    return Ask(**value | {"requirements": tuple(value["requirements"]), "hashes": hashes})


def read_result(folder: Path) -> Result | None:
    """How the build ended, None if it has left no word."""
    try:
        return Result(**json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def read_state(folder: Path) -> str:
    """`locking` or `building`; empty before it has begun."""
    try:
        return str(json.loads((folder / STATE).read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError):
        return ""


def build(folder: Path, environ: Mapping[str, str] | None = None) -> Result:
    """Do it, and say how it ended. Never raises for what a person's requirements can cause."""
    folder = folder.absolute()
    builder = _Builder(folder, os.environ if environ is None else environ)
    try:
        result = builder.run()
    except Failed as failure:
        told = explain(str(failure))
        result = Result("failed", message=told.message, hint=told.hint)
    except HeadwayError as error:
        result = Result("failed", message=error.message, hint=error.hint)
    except OSError as error:
        told = explain(str(error))
        result = Result("failed", message=told.message, hint=told.hint)
    if result.state == "failed":
        say(f"\nFailed: {result.message}\n{result.hint}")
    _write(folder / RESULT, asdict(result))
    return result


class _Builder:
    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.ask = read_ask(folder)
        self.store = Store(Path(self.ask.store))
        self.uv = find_uv_bin()
        self.started = time.monotonic()
        self.environ = {
            **environ,
            **index.uv_settings(environ),
            "UV_CACHE_DIR": environ.get("UV_CACHE_DIR") or str(self.store.root / ".cache"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.environ.pop("VIRTUAL_ENV", None)

    def run(self) -> Result:
        self.step("locking")
        interpreter = self.interpreter()
        count = len(self.ask.requirements)
        say(f"Python {interpreter.version}, {count} requirement{'' if count == 1 else 's'}")
        locked = self.lock(interpreter)
        pinned = lock.pins(locked)
        digest = lock.digest(pinned, interpreter)
        say(f"{len(pinned)} packages, environment {digest[:12]}")
        self.step("building")
        with self.store.building(
            digest, lambda: say("Another build of this environment is under way; waiting for it.")
        ) as place:
            facts = self.store.ready(digest)
            reused = facts is not None
            if reused:
                self.store.touch(digest)
            if facts is None:
                facts = self.build(place, digest, interpreter, locked)
        say(f"Ready in {time.monotonic() - self.started:.1f} s" + (": it was built before." if reused else "."))
        return Result(
            "ready", digest, interpreter.version, "\n".join(pinned) + "\n", facts["size"], len(pinned), reused
        )

    def interpreter(self) -> Interpreter:
        preferred = interpreters.own()
        with contextlib.suppress(HeadwayError):
            return interpreters.choose(self.ask.python, [], preferred)
        return interpreters.choose(self.ask.python, interpreters.installed(self.uv, self.environ), preferred)

    def lock(self, interpreter: Interpreter) -> str:
        wanted = [*self.ask.requirements, *([KERNEL] if self.ask.kernel else [])]
        source = self.folder / "requirements.in"
        source.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        target = self.folder / "requirements.lock"
        self.call(["pip", "compile", "requirements.in", "--output-file", str(target), "--python", interpreter.path,
                   "--generate-hashes", "--no-header", "--no-annotate", *self.wheels()], quiet_output=True)  # fmt: skip
        return lock.narrowed(target.read_text(encoding="utf-8"), self.ask.hashes)

    def build(self, place: Path, digest: str, interpreter: Interpreter, locked: str) -> dict[str, Any]:
        self.call(["venv", "--quiet", "--no-project", "--relocatable", "--python", interpreter.path, str(place)])
        (place / LOCK_FILE).write_text(locked, encoding="utf-8")
        python = place / "bin" / "python"
        self.call(["pip", "sync", str(place / LOCK_FILE), "--python", str(python), "--require-hashes", "--link-mode",
                   "hardlink", "--allow-empty-requirements", *self.wheels()])  # fmt: skip
        site = bytecode.site_packages(place)
        (site / "headway.pth").write_text(PTH_LINE, encoding="utf-8")
        _explain_pip(site, place / "bin")
        self.check(python, lock.pins(locked))
        say("Preparing for a fast start ...")
        linked, compiled = bytecode.compile_all(place, Path(self.environ["UV_CACHE_DIR"]) / "headway-bytecode")
        say(f"{compiled} modules compiled, {linked} compiled before")
        facts = {"format": lock.FORMAT, "python": interpreter.version, "platform": interpreter.platform,
                 "size": size_of(place), "packages": len(lock.pins(locked))}  # fmt: skip
        self.store.publish(place, digest, facts)
        return facts

    def check(self, python: Path, pinned: list[str]) -> None:
        """The interpreter starts, and every package of the lock is there in its version."""
        program = (
            "import importlib.metadata as m, json, sys\n"
            "found = {d.metadata['Name']: d.version for d in m.distributions()}\n"
            "json.dump(sorted(found.items()), sys.stdout)"
        )
        answer = subprocess.run(
            [python, "-I", "-c", program], env=self.environ, capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise Failed(f"error: The new environment's Python does not start: {answer.stderr.strip()[-500:]}")
        present = set(lock.pins("\n".join(f"{name}=={version}" for name, version in json.loads(answer.stdout))))
        if missing := sorted(set(pinned) - present):
            raise Failed(f"error: After the installation these are missing: {', '.join(missing[:10])}")

    def wheels(self) -> list[str]:
        return [] if self.ask.from_source else ["--only-binary", ":all:"]

    def call(self, arguments: list[str], *, quiet_output: bool = False) -> None:
        """Run uv, print what it says as it says it, and raise `Failed` with it if it fails."""
        said: list[str] = []
        process = subprocess.Popen(
            [self.uv, *arguments],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet_output else None,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
        if process.wait() != 0:
            raise Failed("".join(said[-200:]))

    def step(self, state: str) -> None:
        _write(self.folder / STATE, {"state": state})


_NO_PIP = """\
import sys

if __name__ == "__main__":
    sys.exit(
        "This environment is shared and read-only: nothing can be installed into it from here.\\n"
        "Add the package on the project's Environments page (or: headway env build); kernels that start then have it."
    )
"""


def _explain_pip(site: Path, scripts: Path) -> None:
    """What answers to `%pip install` and `!pip install`. Without it the shell would find some other Python's pip."""
    if (site / "pip").exists():
        return  # it was asked for
    (site / "pip.py").write_text(_NO_PIP, encoding="utf-8")
    for name in ("pip", "pip3"):
        script = scripts / name
        script.write_text('#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n', encoding="utf-8")
        script.chmod(0o755)


def say(text: str) -> None:
    """A line of the log."""
    print(text, flush=True)


def _write(path: Path, value: dict[str, Any]) -> None:
    building = path.with_name(path.name + ".tmp")
    with building.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    building.rename(path)


def main() -> int:
    """0: ready, 1: failed."""
    if len(sys.argv) != 2:
        print("usage: python -m headway.environments.build FOLDER", file=sys.stderr)
        return 2
    os.nice(NICE)  # people are working on this machine
    return 0 if build(Path(sys.argv[1])).state == "ready" else 1


if __name__ == "__main__":
    sys.exit(main())
