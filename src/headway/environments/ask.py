"""What was asked for: requirements, checked line by line before anything is run.

A requirement is a name, versions, extras and a marker (PEP 508), and nothing else: no other index, no URL, no path, no
option. Such lines would run code or reach hosts that the owner of this machine did not choose, so they are refused with the
reason, and never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from headway.errors import BadInput, TooLarge

MAX_BYTES = 256 * 1024
MAX_REQUIREMENTS = 1_000
_HASH = re.compile(r"\s--hash[= ](?P<hash>[a-z0-9]+:[0-9A-Fa-f]+)")
_OPTION = re.compile(r"^-{1,2}[A-Za-z]")
_VCS = re.compile(r"\b(git|hg|svn|bzr)\+", re.IGNORECASE)
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")

_OPTIONS: dict[str, str] = {
    "-i": "sets another package index",
    "--index-url": "sets another package index",
    "--extra-index-url": "adds another package index",
    "--index": "adds another package index",
    "--default-index": "sets another package index",
    "--no-index": "switches the package index off",
    "-f": "adds another place for packages",
    "--find-links": "adds another place for packages",
    "--trusted-host": "switches the check of a host's certificate off",
    "-e": "installs from a folder, which would not be the same at the next build",
    "--editable": "installs from a folder, which would not be the same at the next build",
    "-r": "reads another file",
    "--requirement": "reads another file",
    "-c": "reads another file",
    "--constraint": "reads another file",
    "--pre": "allows pre-releases of everything",
    "--no-binary": "asks for building from source",
}
_OPTION_HINTS: dict[str, str] = {
    "-r": "Paste that file's lines here.",
    "--requirement": "Paste that file's lines here.",
    "-c": "Put the versions beside the names, e.g. numpy<2.",
    "--constraint": "Put the versions beside the names, e.g. numpy<2.",
    "-e": "Put the code into the project's folder and import it from there, or publish a wheel to the package index.",
    "--editable": "Put the code into the project's folder and import it from there, or publish a wheel to the package index.",
    "--pre": "Name the one pre-release that you want, e.g. polars==2.0.0b1.",
    "--no-binary": "Remove the line; building from source is a switch of the whole environment.",
}
_INDEX_HINT = (
    "Remove the line. Packages come from the index that this machine's administrator configured (uv or pip settings)."
)
_URL_HINT = "Name the package and a version from the package index instead, e.g. name==1.2.3."


@dataclass(frozen=True)
class Asked:
    """What somebody asked for.

    `requirements` are PEP 508 strings; `python` is a version specifier such as `>=3.11,<3.13` (empty: any); `hashes` holds, by
    normalised name, the only file hashes that were allowed; `notes` say in words what was read but does not take part.
    """

    requirements: tuple[str, ...]
    python: str = ""
    hashes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def requirement(text: str, where: str) -> str:
    """One requirement, checked and normalised. `where` ("Line 3") begins the message of the `BadInput` it may raise."""
    line = text.strip()
    _refuse_foreign(line, where)
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        raise BadInput(
            f"{where}: can't read {_short(line)} as a requirement.",
            hint="Expected a name, and versions if you like: pandas, pandas>=2, pandas==2.3.1, fastapi[standard].",
        ) from None
    if parsed.url:
        raise BadInput(f"{where}: {_short(line)} points to a file or an address.", hint=_URL_HINT)
    return str(parsed)


def _refuse_foreign(line: str, where: str) -> None:
    if _OPTION.match(line):
        option = re.split(r"[=\s]", line, maxsplit=1)[0]
        if option not in _OPTIONS and option[:2] in _OPTIONS and not option.startswith("--"):
            option = option[:2]  # -rfile.txt, -ehttps://...
        what = _OPTIONS.get(option, "is an option of pip, and only requirements can stand here")
        raise BadInput(f"{where}: {option} {what}.", hint=_OPTION_HINTS.get(option, _INDEX_HINT))
    if _VCS.search(line.partition(";")[0]):
        raise BadInput(
            f"{where}: {_short(line)} installs from a repository, which builds code of any commit.", hint=_URL_HINT
        )
    if (
        _URL.match(line)
        or line.startswith(("./", "../", "/", "~", ".\\"))
        or line.endswith((".whl", ".tar.gz", ".zip"))
    ):
        raise BadInput(f"{where}: {_short(line)} is a path or an address, not a package of the index.", hint=_URL_HINT)


def read_requirements(text: str) -> Asked:
    """A requirements.txt: comments, continued lines, markers, extras and `--hash` are understood."""
    found: list[str] = []
    hashes: dict[str, tuple[str, ...]] = {}
    for number, line in _logical_lines(text):
        where = f"Line {number}"
        given = tuple(match["hash"].lower() for match in _HASH.finditer(line))
        line = _HASH.sub("", line)
        found.append(requirement(line, where))
        if given:
            hashes[canonicalize_name(Requirement(found[-1]).name)] = given
    return Asked(tuple(found), hashes=hashes)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """(number of its first line, line without comment) of each line that says something; a `\\` at its end continues it."""
    lines: list[tuple[int, str]] = []
    start, held = 0, ""
    for number, raw in enumerate(text.splitlines(), 1):
        start = start or number
        line = re.sub(r"(^|\s)#.*$", "", raw)
        if line.rstrip().endswith("\\") and line == raw:
            held += line.rstrip()[:-1] + " "
            continue
        if whole := (held + line).strip():
            lines.append((start, whole))
        start, held = 0, ""
    if held.strip():
        lines.append((start, held.strip()))
    return lines


def python_specifier(text: str, where: str) -> str:
    """A version specifier for Python, checked: `>=3.11`, `3.12`, `==3.11.*`."""
    text = text.strip()
    if re.fullmatch(r"\d+\.\d+", text):
        text = f"=={text}.*"
    elif re.fullmatch(r"\d+\.\d+\.\d+", text):
        text = f"=={text}"
    try:
        return str(SpecifierSet(text))
    except InvalidSpecifier:
        raise BadInput(f"{where}: can't read {_short(text)} as a Python version.", hint="e.g. >=3.11 or 3.12") from None


def guard_text(text: str) -> str:
    """The text without a byte order mark; `TooLarge` or `BadInput` for what can't be a text of requirements."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise TooLarge(f"That is more than {MAX_BYTES // 1024} KiB of requirements.")
    if "\0" in text:
        raise BadInput("The text holds a NUL byte; it is not a text file.")
    return text.removeprefix("\ufeff")


def checked(asked: Asked) -> Asked:
    """`asked` without repetitions; `BadInput` if there are too many or nothing at all."""
    unique = tuple(dict.fromkeys(asked.requirements))
    if len(unique) > MAX_REQUIREMENTS:
        raise TooLarge(f"{len(unique)} requirements; {MAX_REQUIREMENTS} is the most.")
    if not unique:
        raise BadInput("No requirement was found.", hint="Write at least one package name, e.g. pandas.")
    return Asked(unique, asked.python, asked.hashes, asked.notes)


def _short(text: str) -> str:
    text = re.sub(r"//[^/@\s]+@", "//***@", text)  # an address may hold a password, and messages are logged
    return f"'{text[:80]}…'" if len(text) > 80 else f"'{text}'"


Reader = Callable[[str], Asked]
