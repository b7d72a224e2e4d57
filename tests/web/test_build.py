"""Browser assets: by lock file, without addresses, and in the wheel."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import headway
from headway.web import assets

ROOT = Path(headway.__file__).parents[2]


def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_pins_by_content_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    for name, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


def test_what_was_built_is_of_this_lock() -> None:
    assert hook().is_fresh(ROOT), "run: python hatch_build.py"


def test_the_wheel_carries_templates_and_assets(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
                          cwd=ROOT, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        f"headway/web/static/{path.relative_to(assets.FOLDER)}" for path in assets.FOLDER.rglob("*") if path.is_file()
    }
    assert here - names == set()
    assert "headway/web/templates/layout.html" in names
    assert "headway/web/static/vendor/LICENSES.txt" in names


def test_an_icon_that_does_not_exist_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "x.svg").write_text('<!-- c --><svg width="24"\n>\n <path d="M0 0" />\n</svg>')
    sprite = hook().sprite(tmp_path, iter(["x"]))
    assert '<symbol id="x" viewBox="0 0 24 24"><path d="M0 0" /></symbol>' in sprite
    try:
        hook().sprite(tmp_path, iter(["y"]))
    except SystemExit as stopped:
        assert "'y'" in str(stopped)
    else:
        raise AssertionError("the missing icon was not noticed")
