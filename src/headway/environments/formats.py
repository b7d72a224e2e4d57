"""The files in which people write down what they need, each read into one `Asked`.

`READERS` is the table of kinds: requirements.txt, pyproject.toml, a script's PEP 723 header, and conda's environment.yml.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from headway.environments.ask import (
    Asked,
    Reader,
    checked,
    guard_text,
    python_specifier,
    read_requirements,
    requirement,
)
from headway.errors import BadInput

# Packages whose name in conda differs from the one in a Python package index.
_CONDA_NAMES: dict[str, str] = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "tensorflow-gpu": "tensorflow",
    "matplotlib-base": "matplotlib",
    "psycopg2": "psycopg2-binary",
    "pytables": "tables",
    "dask-core": "dask",
    "msgpack-python": "msgpack",
    "ruamel_yaml": "ruamel.yaml",
    "pyarrow-core": "pyarrow",
    "seaborn-base": "seaborn",
}
# What conda delivers that is no Python package: compilers, libraries, other languages.
_NOT_PYTHON = re.compile(
    r"^(cuda.*|cudatoolkit|cudnn|nccl|pytorch-cuda|cpuonly|gcc.*|gxx.*|clang.*|gfortran.*|compilers|make|cmake|ninja|"
    r"nodejs|openjdk|r|r-.*|libgcc.*|libstdcxx.*|libgfortran.*|libgomp|lib.*blas|liblapack.*|openssl|mkl|blas|openblas|_openmp_mutex|_libgcc_mutex|ld_impl.*|ca-certificates|"
    r"ncurses|readline|sqlite|tk|xz|zlib|bzip2|gdal|hdf5|ffmpeg|graphviz|git|curl|wget|pandoc|texlive.*)$"
)
_CONDA_IGNORED = {"pip", "setuptools", "wheel"}


def read(text: str, kind: str = "requirements") -> Asked:
    """What `text` asks for. Raises `BadInput` with the line and what to do; see `READERS` for the kinds."""
    reader = READERS.get(kind)
    if reader is None:
        raise BadInput(f"Unknown kind {kind!r} of requirements.", hint="Known: " + ", ".join(sorted(READERS)))
    return checked(reader(guard_text(text)))


def kind_of(filename: str) -> str:
    """The kind of a file by its name."""
    name = filename.rsplit("/", 1)[-1].lower()
    if name == "pyproject.toml":
        return "pyproject"
    if name.endswith((".yml", ".yaml")):
        return "conda"
    return "pep723" if name.endswith(".py") else "requirements"


def read_pyproject(text: str) -> Asked:
    """`[project] dependencies` and `requires-python` of a pyproject.toml."""
    document = _toml(text, "pyproject.toml")
    project = document.get("project")
    if not isinstance(project, dict):
        poetry = isinstance(document.get("tool"), dict) and "poetry" in document["tool"]
        hint = (
            "This file keeps them under [tool.poetry]; list them as [project] dependencies, or paste `poetry export`."
            if poetry
            else 'Expected e.g.\n[project]\ndependencies = ["pandas>=2"]'
        )
        raise BadInput("pyproject.toml has no [project] table.", hint=hint)
    if "dependencies" in (project.get("dynamic") or []):
        raise BadInput(
            "pyproject.toml says that its dependencies are dynamic: only a build could tell them.",
            hint="List them under [project] dependencies, or paste a requirements.txt.",
        )
    notes = []
    if extras := sorted(project.get("optional-dependencies") or {}):
        notes.append(f"Optional dependencies are not part of it: {', '.join(map(str, extras))}.")
    if groups := sorted(document.get("dependency-groups") or {}):
        notes.append(f"Dependency groups are not part of it: {', '.join(map(str, groups))}.")
    asked = _listed(text, project.get("dependencies", []), project.get("requires-python", ""), "[project] dependencies")
    _refuse_sources(document, asked)
    return Asked(asked.requirements, asked.python, notes=tuple(notes))


def read_pep723(text: str) -> Asked:
    """The `# /// script` header of a Python script."""
    blocks = _headers(text)
    if not blocks:
        raise BadInput(
            "The script has no `# /// script` header.",
            hint='Begin it with:\n# /// script\n# dependencies = ["pandas"]\n# ///',
        )
    if len(blocks) > 1:
        raise BadInput("The script has more than one `# /// script` header.", hint="Keep one.")
    content = "\n".join(line[2:] for line in blocks[0])
    document = _toml(content, "The script's header")
    asked = _listed(text, document.get("dependencies", []), document.get("requires-python", ""), "dependencies")
    _refuse_sources(document, asked)
    return asked


def _headers(text: str) -> list[list[str]]:
    """The lines between `# /// script` and `# ///`, once for each such block; all of them are comments."""
    blocks: list[list[str]] = []
    block: list[str] | None = None
    for line in text.splitlines():
        line = line.rstrip()
        if block is None:
            block = [] if line == "# /// script" else None
        elif line == "# ///":
            blocks.append(block)
            block = None
        elif line == "#" or line.startswith("# "):
            block.append(line)
        else:
            block = None  # code begins: that header was never closed
    return blocks


def _toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{name} is not valid TOML: {error}.") from None


def _listed(text: str, values: object, python: object, name: str) -> Asked:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise BadInput(f"{name} must be a list of strings.", hint='e.g. dependencies = ["pandas>=2", "scikit-learn"]')
    lines = text.splitlines()
    found = tuple(requirement(value, _where(lines, value)) for value in values)
    specifier = python_specifier(str(python), _where(lines, "requires-python")) if python else ""
    return Asked(found, specifier)


def _where(lines: list[str], value: str) -> str:
    number = next((n for n, line in enumerate(lines, 1) if value in line), 0)
    return f"Line {number}" if number else "dependencies"


def _refuse_sources(document: dict[str, Any], asked: Asked) -> None:
    """uv lets a project say that a dependency comes from elsewhere; leaving that out would install another package."""
    tool = document.get("tool")
    uv = tool.get("uv", {}) if isinstance(tool, dict) else {}
    names = {canonicalize_name(Requirement(text).name) for text in asked.requirements}
    sources = [name for name in (uv.get("sources") or {}) if canonicalize_name(str(name)) in names]
    if sources:
        raise BadInput(
            f"[tool.uv.sources] takes {', '.join(sorted(sources))} from elsewhere than the package index.",
            hint="Remove that table if the package of the index is the one you want.",
        )


def read_conda(text: str) -> Asked:
    """conda's environment.yml as far as a Python package index can follow it.

    `name=version` lines and the pip section are translated. Anything else is named in a `BadInput`, whose detail `translated`
    holds the requirements that could be read, so that a person can decide to go on without the rest.
    """
    entries = _conda_entries(text)
    found: list[str] = []
    notes: list[str] = []
    impossible: list[str] = []
    python = ""
    for number, value, from_pip in entries:
        where = f"Line {number}"
        if from_pip:
            found.append(requirement(value, where))
            continue
        name, version = _conda_split(value, where)
        if name == "python":
            python = python_specifier(version or ">=3.11", where)
        elif name in _CONDA_IGNORED:
            continue
        elif _NOT_PYTHON.match(name):
            impossible.append(f"{where}: {value}")
        else:
            translated = _CONDA_NAMES.get(name, name)
            if translated != name:
                notes.append(f"{where}: {name} is called {translated} in a Python package index.")
            found.append(requirement(translated + version, where))
    if impossible:
        raise BadInput(
            "These come from conda only and can't be had from a Python package index: " + "; ".join(impossible) + ".",
            hint="Remove them if wheels bring what is needed (torch brings CUDA), or install them on this machine.",
            translated="\n".join(dict.fromkeys(found)),
            python=python,
        )
    return Asked(tuple(found), python, notes=tuple(notes))


def _conda_entries(text: str) -> list[tuple[int, str, bool]]:
    """(line, text, whether it stood in the pip section) of each dependency."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f" at line {mark.line + 1}" if mark else ""
        raise BadInput(f"environment.yml is not valid YAML{at}.") from None
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    node = next((value for key, value in pairs if key.value == "dependencies"), None)
    if not isinstance(node, yaml.SequenceNode):
        raise BadInput(
            "environment.yml has no list `dependencies`.", hint="Expected e.g.\ndependencies:\n  - pandas=2.3"
        )
    entries: list[tuple[int, str, bool]] = []
    for item in node.value:
        if isinstance(item, yaml.ScalarNode):
            entries.append((item.start_mark.line + 1, item.value.strip(), False))
            continue
        inner = item.value[0] if isinstance(item, yaml.MappingNode) and len(item.value) == 1 else None
        if inner is None or inner[0].value != "pip" or not isinstance(inner[1], yaml.SequenceNode):
            raise BadInput(f"Line {item.start_mark.line + 1}: expected a package or a `pip:` list.")
        entries += [(node.start_mark.line + 1, str(node.value).strip(), True) for node in inner[1].value]
    return entries


def _conda_split(value: str, where: str) -> tuple[str, str]:
    """`conda-forge::numpy=1.26=py311_0` -> ("numpy", "==1.26.*"); a build string has no counterpart and must be exact."""
    bare = value.rpartition("::")[2].strip()
    match = re.fullmatch(r"(?P<name>[A-Za-z0-9_.-]+)\s*(?P<rest>.*)", bare)
    if match is None:
        raise BadInput(f"{where}: can't read '{value[:80]}' as a conda package.", hint="e.g. numpy=1.26")
    name, rest = match["name"].lower(), match["rest"].strip()
    if not rest or rest == "*":
        return name, ""
    if rest.startswith("==") or rest[0] in "<>!~":
        return name, ",".join(part.strip() for part in rest.split(","))
    version = rest.lstrip("=").strip().split("=")[0].split()[0]
    if "|" in rest or not re.fullmatch(r"[0-9][A-Za-z0-9.!+*]*", version):
        raise BadInput(
            f"{where}: can't translate the version of '{value[:80]}'.", hint="e.g. numpy=1.26 or numpy>=1.26,<2"
        )
    # conda: `=1.26` means 1.26.*, `=1.26=build` and `==1.26` mean exactly that version
    exact = "=" in rest.lstrip("=") or version.endswith("*")
    return name, f"=={version}" if exact else f"=={version}.*"


READERS: dict[str, Reader] = {
    "requirements": read_requirements,
    "pyproject": read_pyproject,
    "pep723": read_pep723,
    "conda": read_conda,
}
