"""The house keeps its order: imports run one way, rooms stay small, only the edge commits."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import headway

ROOT = Path(headway.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "versions" not in path.parts and "sample" not in path.parts)

# Left may import right, never back.
CHAIN = [
    "up", "server", "loops", "home", "deployments", "imports", "models", "workspaces", "runs", "traces", "tracking",
    "environments", "projects", "people", "web", "engines", "backup", "storage", "transcript", "events", "settings", "clock",
    "bundle", "signature", "frames", "errors", "parts", "late",
]  # fmt: skip
# Other processes: what each may import of ours.
OUTSIDE = {
    "cli": {"moving", "backup", "sdk", "errors", "bundle", "signature", "up", "settings", "late"},
    "moving": {"sdk", "errors"},
    "runner": {"sdk", "transcript", "bundle", "signature", "errors"},
    "capture": {"sdk", "bundle", "signature", "errors"},
    "modelserver": {"bundle", "signature", "frames", "errors"},
    "sdk": {"bundle", "signature", "errors", "modelserver", "parts"},
    "boot": {"capture", "runner"},
    "__init__": {"sdk", "errors"},
    "__main__": {"cli"},
}
# Words of another process that the server must know: the build writes the line that starts `boot`.
BRIDGES = {("environments", "boot")}
SERVER_LIBRARIES = {"sqlalchemy", "fastapi", "starlette", "jinja2", "uvicorn", "alembic", "psycopg", "httpx"}
MAY_COMMIT = {"storage/database.py"}
FILE_LINES, FUNCTION_LINES = 450, 70


def unit(path: Path) -> str:
    """The slice, or top-level module, that a file belongs to."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import, inside functions too, but for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for node in ast.walk(guard)
    }
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def ours(path: Path) -> list[tuple[int, str]]:
    """(line, unit) of every import of our own package."""
    found = []
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] == "headway" and len(parts) > 1:
            exists = (ROOT / parts[1]).is_dir() or (ROOT / f"{parts[1]}.py").exists()
            found.append((line, parts[1] if exists else "__init__"))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    me = unit(path)
    for line, other in ours(path):
        if other in (me, "__init__") or (me, other) in BRIDGES:
            continue
        if me in CHAIN:
            assert other in CHAIN, f"{path}:{line}: {me} runs in the server, {other} does not"
            assert CHAIN.index(me) < CHAIN.index(other), f"{path}:{line}: {me} may not import {other}"
        else:
            assert other in OUTSIDE[me], f"{path}:{line}: {me} may not import {other}"


# Within tracking, the largest slice: what stands further right may be imported.
TRACKING = [
    {"api", "mlflow_api", "pages", "loop", "__init__"}, {"wire", "live", "show", "points_api"},
    {"service", "experiments", "logged_models", "inputs", "artifacts", "bulk_import"}, {"find"}, {"store"},
    {"limits", "naming", "states"}, {"tables"},
]  # fmt: skip


def test_tracking_is_in_order() -> None:
    place = {name: at for at, names in enumerate(TRACKING) for name in names}
    for path in (ROOT / "tracking").rglob("*.py"):
        me = path.relative_to(ROOT / "tracking").parts[0].removesuffix(".py")
        for line, module in imports(path):
            parts = module.split(".")
            if parts[:2] == ["headway", "tracking"]:
                assert place[me] <= place[parts[2]], f"{path}:{line}: {me} may not import {parts[2]}"


def test_every_unit_has_its_place() -> None:
    units = {unit(path) for path in FILES}
    assert units <= set(CHAIN) | set(OUTSIDE), units - set(CHAIN) - set(OUTSIDE)


@pytest.mark.parametrize(
    "path", [path for path in FILES if unit(path) in OUTSIDE], ids=lambda p: str(p.relative_to(ROOT))
)
def test_other_processes_import_no_server_library(path: Path) -> None:
    for line, module in imports(path):
        assert module.split(".")[0] not in SERVER_LIBRARIES, f"{path}:{line}: {module}"


STDLIB_ONLY = [
    path
    for path in FILES
    if unit(path) in ("capture", "sdk", "bundle", "signature", "frames", "errors", "parts", "boot", "modelserver")
    or path.relative_to(ROOT) in (Path("runner/kernelside.py"), Path("engines/shim.py"))
]


@pytest.mark.parametrize("path", STDLIB_ONLY, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_runs_in_users_processes_needs_nothing_but_python(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:  # at the top level: a library that the user's process has may be used inside a function
        names = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )  # fmt: skip
        for name in names:
            first = name.split(".")[0]
            assert first in sys.stdlib_module_names or first == "headway", f"{path}:{node.lineno}: {name}"


def test_the_gateway_holds_no_sql() -> None:
    seen, todo = set(), [ROOT / "deployments/gateway.py"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for line, module in imports(path):
            assert module.split(".")[0] not in {"sqlalchemy", "alembic", "psycopg", "sqlite3"}, (
                f"{path}:{line}: {module}"
            )
            parts = module.split(".")
            for end in range(len(parts), 1, -1):
                candidate = ROOT.joinpath(*parts[1:end]).with_suffix(".py")
                if parts[0] == "headway" and candidate.exists():
                    todo.append(candidate)
                    break


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_edge_commits(path: Path) -> None:
    if str(path.relative_to(ROOT)) in MAY_COMMIT:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit":
            raise AssertionError(f"{path}:{node.lineno}: commit() belongs to the edge")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES, f"{path} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{path}:{node.lineno}: {node.name} has {length} lines"


@pytest.mark.parametrize("name", [entry.name for entry in ROOT.iterdir() if (entry / "service.py").exists()])
def test_pages_and_apis_hold_no_sql(name: str) -> None:
    for role in ("pages.py", "api.py"):
        path = ROOT / name / role
        if not path.exists():
            continue
        for line, module in imports(path):
            allowed = {"sqlalchemy.orm.Session"}
            assert module.split(".")[0] != "sqlalchemy" or module in allowed, f"{path}:{line}: {module}"
