"""The store: whole or not there, and writable by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.environments.store import Store, make_read_only, remove

from .conftest import World

# what a program tries: change a file, add a file, remove a file; prints what it managed
ATTACK = """
import sys
from pathlib import Path
site = Path(sys.argv[1])
done = []
for name, act in {
    "change": lambda: (site / "iniconfig/__init__.py").open("a").write("# mine"),
    "add": lambda: (site / "mine.py").write_text("x"),
    "remove": lambda: (site / "iniconfig/__init__.py").unlink(),
    "rename": lambda: (site / "iniconfig").rename(site / "moved"),
}.items():
    try:
        act()
        done.append(name)
    except PermissionError:
        pass
assert (site / "iniconfig/__init__.py").read_text()
print(*done)
"""


def _reach(folder: Path) -> None:
    """Let other users come to `folder`, so that only its own permissions are tested."""
    for parent in [folder, *folder.parents]:
        if parent.stat().st_uid == os.getuid() and parent != Path(parent.anchor):
            parent.chmod(parent.stat().st_mode | 0o055)


def _attack(site: Path, tmp_path: Path) -> set[str]:
    """As another user where we are root (root passes over permissions), else as ourselves."""
    program = tmp_path / "attack.py"
    program.write_text(ATTACK)
    other = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}
    python = sys.executable if os.access("/usr/bin/python3", os.X_OK) is False else "/usr/bin/python3"
    said = subprocess.run([python, program, site], capture_output=True, text=True, check=True, **other)  # type: ignore[call-overload]
    return set(said.stdout.split())


def test_a_user_can_not_write_into_an_environment(world: World, tmp_path: Path) -> None:
    (row,) = world.over(world.ask_lock("iniconfig==2.1.0").id)
    site = next(row.path.glob("lib/python*/site-packages"))
    _reach(row.path.parent)
    assert _attack(site, tmp_path) == set()
    writable = [path for path in row.path.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222]
    assert writable == []
    # the control: the same program on a copy that may be written
    copy = tmp_path / "copy"
    (copy / "iniconfig").mkdir(parents=True)
    (copy / "iniconfig/__init__.py").write_text("x = 1\n")
    if os.getuid() == 0:
        for path in [copy, *copy.rglob("*")]:
            os.chown(path, 65534, 65534)
        _reach(copy)
    with pytest.raises(subprocess.CalledProcessError):  # it removed what it reads at the end: it could do everything
        _attack(copy, tmp_path)


def test_environments_share_their_files(world: World) -> None:
    first, second = world.over(
        world.ask_lock("iniconfig==2.1.0").id, world.ask_lock("iniconfig==2.1.0", "wcwidth==0.2.13").id
    )
    files = [next(row.path.glob("lib/python*/site-packages/iniconfig/__init__.py")) for row in (first, second)]
    assert files[0].samefile(files[1])
    bytecode = [sorted(file.parent.glob("__pycache__/__init__.*.pyc")) for file in files]
    assert len(bytecode[0]) == 1 and bytecode[0][0].samefile(bytecode[1][0])
    (third,) = world.over(world.ask_lock("iniconfig==2.1.0", "wcwidth==0.2.13", "six==1.17.0").id)
    program = "import iniconfig, six, wcwidth; print(iniconfig.__cached__)"
    said = subprocess.run([third.python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert Path(said).samefile(bytecode[0][0])
    again = [line for line in world.log(third).splitlines() if "compiled before" in line]
    assert again and int(again[0].split()[0]) <= 1, "only six is new"


def test_sweep_keeps_what_is_needed_and_what_is_being_built(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("kept", "unknown", ".build-dead", "young"):
        (tmp_path / name / "bin").mkdir(parents=True)
        make_read_only(tmp_path / name)
    old = 0.0
    for name in ("kept", "unknown"):
        os.utime(tmp_path / name, (old, old))
    with store.building("busy", waiting=lambda: None) as place:
        place.mkdir()
        assert sorted(store.sweep({"kept"})) == [".build-dead", "unknown"]
        assert place.is_dir()
    assert sorted(one.name for one in tmp_path.iterdir() if one.name != ".locks") == ["kept", "young"]
    remove(tmp_path / "kept")
    remove(tmp_path / "young")


def test_an_unfinished_build_is_not_published(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.building("a" * 32, waiting=lambda: None) as place:
        (place / "lib").mkdir(parents=True)
        raise RuntimeError
    assert store.ready("a" * 32) is None
    assert [one.name for one in tmp_path.iterdir()] == [".locks"]
