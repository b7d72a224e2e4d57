"""Tables of what can be asked for, and of what is refused with the line and the reason."""

from __future__ import annotations

import pytest

from headway.environments.ask import MAX_BYTES
from headway.environments.formats import kind_of, read
from headway.errors import BadInput, TooLarge


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pandas", ("pandas",)),
        ("  pandas>=2 , <3  # the frame\n\n# nothing\nnumpy\n", ("pandas<3,>=2", "numpy")),
        ("\ufeffpandas\r\nnumpy\r\n", ("pandas", "numpy")),
        ("fastapi[standard]>=0.1", ("fastapi[standard]>=0.1",)),
        ('tomli; python_version < "3.11"', ('tomli; python_version < "3.11"',)),
        ("scikit-learn \\\n   ==1.7.1", ("scikit-learn==1.7.1",)),
        ("pandas\npandas\n", ("pandas",)),
        ("torch==2.13.0+cpu", ("torch==2.13.0+cpu",)),
    ],
)
def test_requirements(text: str, expected: tuple[str, ...]) -> None:
    assert read(text).requirements == expected


def test_hashes_are_kept() -> None:
    asked = read("Six==1.17.0 \\\n    --hash=sha256:AA11 \\\n    --hash=sha256:bb22\nnumpy")
    assert asked.requirements == ("Six==1.17.0", "numpy")
    assert asked.hashes == {"six": ("sha256:aa11", "sha256:bb22")}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--index-url http://evil.example/simple", "--index-url sets another package index"),
        ("--index-url=http://evil.example/simple", "--index-url sets another package index"),
        ("-i http://evil.example/simple", "-i sets another package index"),
        ("--extra-index-url http://evil.example", "adds another package index"),
        ("--find-links /tmp/wheels", "adds another place"),
        ("--trusted-host evil.example", "certificate"),
        ("-e .", "installs from a folder"),
        ("-egit+ssh://evil.example/x", "installs from a folder"),
        ("-r other.txt", "reads another file"),
        ("-rother.txt", "reads another file"),
        ("-c constraints.txt", "reads another file"),
        ("--pre", "pre-releases"),
        ("--no-binary :all:", "from source"),
        ("--global-option=--x", "option of pip"),
        ("git+https://evil.example/x.git", "repository"),
        ("evil @ git+ssh://evil.example/x", "repository"),
        ("evil @ file:///etc/passwd", "file or an address"),
        ("evil @ https://evil.example/x.whl", "path or an address"),
        ("https://evil.example/x.whl", "path or an address"),
        ("./local", "path or an address"),
        ("../local", "path or an address"),
        ("/abs/x.tar.gz", "path or an address"),
        ("~/x", "path or an address"),
        ("x.whl", "path or an address"),
        ("pandas=2", "can't read"),
        ("pandas 2", "can't read"),
        ("$(id)", "can't read"),
        ("; rm -rf /", "can't read"),
    ],
)
def test_refused_with_the_line_and_the_reason(line: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(f"numpy\n\n{line}\n")
    assert caught.value.message.startswith("Line 3: ")
    assert reason in caught.value.message
    assert caught.value.hint


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(BadInput) as caught:
        read("https://user:hunter2@evil.example/x.whl")
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("text", ["", "\n# only words\n", "   "])
def test_nothing_is_no_ask(text: str) -> None:
    with pytest.raises(BadInput, match="No requirement"):
        read(text)


def test_size_and_binary() -> None:
    with pytest.raises(TooLarge):
        read("# " + "x" * MAX_BYTES)
    with pytest.raises(TooLarge, match="1000 is the most"):
        read("\n".join(f"p{n}" for n in range(1001)))
    with pytest.raises(BadInput, match="NUL"):
        read("numpy\0")
    with pytest.raises(BadInput, match="Unknown kind"):
        read("numpy", "npm")


def test_pyproject() -> None:
    text = """
[project]
name = "x"
requires-python = ">=3.11"
dependencies = ["pandas>=2", "scikit-learn"]
[project.optional-dependencies]
dev = ["pytest"]
[dependency-groups]
lint = ["ruff"]
"""
    asked = read(text, "pyproject")
    assert asked.requirements == ("pandas>=2", "scikit-learn")
    assert asked.python == ">=3.11"
    assert asked.notes == (
        "Optional dependencies are not part of it: dev.",
        "Dependency groups are not part of it: lint.",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project\n", "not valid TOML"),
        ("[tool.poetry.dependencies]\npandas = '*'", "no \\[project\\] table"),
        ("[project]\ndynamic = ['dependencies']", "dynamic"),
        ("[project]\ndependencies = 'pandas'", "must be a list of strings"),
        ("[project]\ndependencies = [\n'numpy',\n'x @ file:///y']", "Line 4: "),
        (
            "[project]\ndependencies = ['numpy']\nrequires-python = 'new'",
            "Line 3: can't read 'new' as a Python version",
        ),
        (
            "[project]\ndependencies=['My_Lib']\n[tool.uv.sources]\nmy-lib={git='https://x'}",
            "takes my-lib from elsewhere",
        ),
    ],
)
def test_pyproject_refused(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read(text, "pyproject")


def test_script_header() -> None:
    text = '#!/usr/bin/env python\n# /// script\n# requires-python = "3.12"\n# dependencies = [\n#   "rich",\n# ]\n# ///\nx = 1\n'
    asked = read(text, "pep723")
    assert (asked.requirements, asked.python) == (("rich",), "==3.12.*")
    with pytest.raises(BadInput, match="has no"):
        read("import pandas\n", "pep723")
    with pytest.raises(BadInput, match="has no"):
        read('# /// script\n# dependencies = ["rich"]\nimport rich\n', "pep723")
    with pytest.raises(BadInput, match="more than one"):
        read(text + text, "pep723")


def test_conda() -> None:
    text = """name: x
channels: [conda-forge]
dependencies:
  - python=3.11
  - conda-forge::numpy=1.26
  - pandas=2.1.1=py311h_0
  - scipy >=1.11,<2
  - pytorch
  - librosa
  - pip
  - pip:
      - shap>=0.45
"""
    asked = read(text, "conda")
    assert asked.requirements == ("numpy==1.26.*", "pandas==2.1.1", "scipy<2,>=1.11", "torch", "librosa", "shap>=0.45")
    assert asked.python == "==3.11.*"
    assert asked.notes == ("Line 8: pytorch is called torch in a Python package index.",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "dependencies:\n  - numpy\n  - cudatoolkit=11.8\n  - gcc_linux-64",
            "Line 3: cudatoolkit=11.8; Line 4: gcc_linux-64",
        ),
        ("dependencies: {a: 1}", "no list `dependencies`"),
        ("a: [", "not valid YAML"),
        ("dependencies:\n  - {conda: [a]}", "Line 2: expected a package"),
        ("dependencies:\n  - pip:\n    - -e .", "Line 3: -e"),
        ("dependencies:\n  - numpy=1.2|1.3", "Line 2: can't translate"),
    ],
)
def test_conda_refused(text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(text, "conda")
    assert message in caught.value.message


def test_conda_says_what_could_be_translated() -> None:
    with pytest.raises(BadInput) as caught:
        read("dependencies:\n  - numpy=2\n  - nodejs\n", "conda")
    assert caught.value.details["translated"] == "numpy==2.*"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("requirements.txt", "requirements"),
        ("a/pyproject.toml", "pyproject"),
        ("environment.yml", "conda"),
        ("t.py", "pep723"),
    ],
)
def test_kind_of(name: str, kind: str) -> None:
    assert kind_of(name) == kind
