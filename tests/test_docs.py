"""The docs are complete and true: what is made of the program is up to date, links lead somewhere, the README's snippets run."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import headway
from headway.cli import reference
from headway.cli.nouns import NOUNS
from headway.sdk import public
from tests.cli.conftest import Cli, cli  # noqa: F401  the fixture

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("docs_script", str(ROOT / "scripts" / "docs"))
    spec = importlib.util.spec_from_loader("docs_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "errors.md", "cli.md", "python.md", "index.md"])
def test_what_is_made_of_the_program_is_up_to_date(name: str) -> None:
    made = script()
    text = (DOCS / name).read_text(encoding="utf-8")
    assert text == made.filled(text, made.pages()[name]), f"docs/{name} is old: run .venv/bin/python scripts/docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if not link.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page}: {link}"


@pytest.mark.parametrize(
    ("path", "command"), list(reference.commands()), ids=[path for path, _ in reference.commands()]
)
def test_every_command_explains_itself(path: str, command: object) -> None:
    assert getattr(command, "help", ""), f"{path} says nothing about itself"
    examples = [line.strip() for line in (getattr(command, "epilog", "") or "").splitlines()[2:] if line.strip()]
    assert examples, f"{path} has no example"
    for example in examples:
        assert path in example, f"{path}: '{example}' is an example of something else"
    params = {parameter.name: parameter for parameter in command.params}  # type: ignore[attr-defined]
    assert "as_json" in params, f"{path} has no --json"
    for parameter in params.values():
        if parameter.name != "help" and not getattr(parameter, "hidden", False):
            assert parameter.help, f"{path}: {parameter.name} says nothing about itself"


def test_examples_are_commands_that_exist() -> None:
    """Each `headway ...` in README, docs and the program's own hints names a command that is there."""
    known = {path for path, _ in reference.commands()}
    sources = [*PAGES, *(ROOT / "src" / "headway").rglob("*.py"), *(ROOT / "src" / "headway").rglob("*.html")]
    for source in sources:
        for words in re.findall(r"(?:`|\$ )headway ([a-z]+)(?: ([a-z]+))?", source.read_text(encoding="utf-8")):
            noun, verb = words
            assert noun in NOUNS, f"{source}: headway {noun}"
            if f"headway {noun}" not in known and verb:
                assert any(path.startswith(f"headway {noun} {verb}") for path in known), (
                    f"{source}: headway {noun} {verb}"
                )


def test_public_names_are_what_the_package_offers() -> None:
    for name in headway.__all__:
        assert getattr(public, name).__doc__, name


def test_help_imports_no_server_and_no_rich() -> None:
    """What makes `headway --help` start at once."""
    code = "import sys\nfrom headway.cli.main import run\ntry:\n    run(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(said.splitlines()[-1].split())
    assert not loaded & {
        "sqlalchemy",
        "fastapi",
        "uvicorn",
        "rich",
        "pandas",
        "numpy",
        "http.client",
        "headway.cli.runs",
    }


def snippets(title: str, language: str) -> list[str]:
    """The code blocks of a language below a heading of the README."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", section, flags=re.S)
    assert found
    return found


@pytest.mark.story
def test_the_readmes_snippets_run(cli: Cli) -> None:  # noqa: F811
    """All commands and the Python of the README, in their order, in one shell, against a real server."""
    where = cli.json("status")["url"]
    port = int(where.rpartition(":")[2])
    gateway = cli.env["TEST_GATEWAY_PORT"]
    lines = [
        line.removeprefix("$ ")
        for title in ("The same from the command line", "From a program")
        for block in snippets(title, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    python = "\n".join(snippets("From a program", "python"))
    at = next(i for i, line in enumerate(lines) if line.startswith("KEY="))
    lines.insert(at, f"{shlex.quote(sys.executable)} -c {shlex.quote(python)}")
    shell = "set -euo pipefail\nheadway() { " + shlex.quote(sys.executable) + ' -m headway "$@"; }\n'
    for line in lines:
        shell += f"echo {shlex.quote('+ ' + line)} >&2\n"
        # A key that was just made is known to the gateway within a second.
        shell += (
            f"for i in $(seq 50); do {line} && break; sleep 0.2; [ $i != 50 ]; done\n"
            if "curl" in line
            else line + "\n"
        )
    shell = shell.replace("127.0.0.1:8640", f"127.0.0.1:{port}").replace("127.0.0.1:8641", f"127.0.0.1:{gateway}")
    env = cli.env | {"PYTHONWARNINGS": "error"}
    done = subprocess.run(
        ["bash", "-c", shell], env=env, cwd=cli.work, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"predictions"' in done.stdout
