"""Bytecode for an environment: compiled once for each package, then shared.

Without it the first `import pandas` of every process in a read-only environment compiles everything again and keeps nothing
(measured: 6.1 s instead of 1.7 s). Compiling costs ten seconds and more, so what was compiled is kept beside uv's cache, by the
package's own list of its files and their hashes (RECORD), and linked into the next environment that has the very same package.
The files are of the "unchecked" kind (PEP 552): a source in the store never changes.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Packages' own tests are a third of all modules, and hardly ever imported; ".." leads out of the folder.
_SKIPPED = frozenset({"..", "tests", "test"})

_PROGRAM = """
import py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for line in sys.stdin:
    try:
        py_compile.compile(line.rstrip("\\n"), doraise=True, quiet=2, invalidation_mode=mode)
    except (py_compile.PyCompileError, OSError, ValueError):
        pass  # templates and code for other Pythons: they would not compile at import either
"""


def compile_all(environment: Path, cache: Path) -> tuple[int, int]:
    """Give every module its bytecode; returns (taken from the cache, compiled now)."""
    site = site_packages(environment)
    tag = "cpython-" + site.parent.name.removeprefix("python").replace(".", "")
    linked, missing = 0, []
    fresh: list[tuple[Path, list[Path]]] = []
    for record in sorted(site.glob("*.dist-info/RECORD")):
        targets = [_bytecode(source, tag) for source in _sources(record)]
        kept = cache / tag / hashlib.sha256(record.read_bytes()).hexdigest()[:32]
        for target in targets:
            if _link(kept / target, site / target):
                linked += 1
            else:
                missing.append(site / target.parent.parent / f"{target.name.removesuffix(f'.{tag}.pyc')}.py")
        if not kept.is_dir():
            fresh.append((kept, targets))
    _compile(environment / "bin" / "python", missing)
    for kept, targets in fresh:
        _keep(site, kept, targets)
    return linked, len(missing)


def site_packages(environment: Path) -> Path:
    """The `site-packages` of an environment."""
    return next(iter(sorted(environment.glob("lib/python*/site-packages"))))


def _sources(record: Path) -> list[Path]:
    """The modules that a package brought, relative to `site-packages`."""
    with record.open(newline="", encoding="utf-8") as lines:
        names = [Path(row[0]) for row in csv.reader(lines) if row]
    return [
        name for name in names if name.suffix == ".py" and not name.is_absolute() and _SKIPPED.isdisjoint(name.parts)
    ]


def _bytecode(source: Path, tag: str) -> Path:
    return source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc"


def _link(source: Path, target: Path) -> bool:
    """The same file under a second name, a copy where the two lie on different disks; False if there is no source."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except FileExistsError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        shutil.copyfile(source, target)
    return True


def _keep(site: Path, kept: Path, targets: list[Path]) -> None:
    """Put a package's bytecode into the cache, whole or not at all; of two builders the first one's stays."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".new-", dir=kept.parent))
    for target in targets:
        _link(site / target, building / target)
    try:
        building.rename(kept)
    except OSError:
        shutil.rmtree(building)


def _compile(python: Path, sources: list[Path]) -> None:
    workers = min(len(os.sched_getaffinity(0)), max(1, len(sources) // 50))
    running = []
    for share in (sources[start::workers] for start in range(workers)):
        with tempfile.TemporaryFile("w+", encoding="utf-8") as names:
            names.write("".join(f"{path}\n" for path in share))
            names.seek(0)
            running.append(subprocess.Popen([python, "-I", "-S", "-c", _PROGRAM], stdin=names))
    for process in running:
        process.wait()
