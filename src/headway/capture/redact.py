"""Secrets never reach the disk: a fact is redacted before its first write."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["HIDDEN", "redact", "redact_code", "secret_name"]

HIDDEN = "[redacted]"

_NAME = re.compile(
    r"(?:^|[_\W])(?:api_?keys?|access_?keys?|secret_?keys?|private_?keys?|auth_?keys?|api_?tokens?|key|token|auth|passwords?|passwd|passw|pwd|"
    r"passphrase|secrets?|credentials?|creds?|dsn|connection_?string|bearer|cookies?)(?:$|[_\W])",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHAPES = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JWT
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:ghp|gho|ghs|ghu|github_pat|glpat|xox[abpr]|hf|sk|pk|rk|hw|npm|pypi)[-_][A-Za-z0-9_-]{16,}"
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*",
    re.DOTALL,
)
_USERINFO = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^/\s@\"']+@", re.IGNORECASE)
_QUERY = re.compile(
    r"([?&](?:[\w-]*(?:key|token|secret|passw|signature|sig|credential)[\w-]*)=)[^&\s\"']+", re.IGNORECASE
)
_ASSIGN = re.compile(
    r"""(["']?([A-Za-z_][\w-]*)["']?\s*(?:\]\s*)?(?:=|:)\s*)([bru]{0,2})(\"\"\"|'''|"|')((?:(?!\4).)+?)\4"""
)
# `add_argument("--api-key", default="...")`, `os.environ.setdefault("TOKEN", "...")`: what follows a secret's name on its line.
_KEYED = re.compile(r"""((?:"|')-{0,2}([A-Za-z_][\w-]*)(?:"|'))([^\n]*)""")
_LITERAL = re.compile(r"""([bru]{0,2})("|')(?:(?!\2)[^\n]){3,}\2""")
_ARGUMENT = re.compile(r"^--?([\w-]+)(?:=(.*))?$", re.DOTALL)

# Names of sampling and sequence models that only look like secrets.
_INNOCENT = re.compile(
    r"(?:max|min|num|n|new|pad|eos|bos|unk|mask|sep|cls|total)_?(?:new_?)?tokens?(?:_?ids?)?$|tokens?_per|keys?_?dim|n_?keys",
    re.I,
)


def secret_name(name: str) -> bool:
    """Whether a variable, argument or key by this name is taken for a secret."""
    words = _CAMEL.sub("_", name)
    return bool(_NAME.search(words)) and not _INNOCENT.search(words)


def _clean(value: str) -> str:
    if len(value) < 8:
        return value
    value = _SHAPES.sub(HIDDEN, value)
    if "://" in value:
        value = _QUERY.sub(rf"\1{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", value))
    return value


def redact(value: Any, name: str = "") -> Any:
    """`value` (JSON) with each secret by name or shape replaced. Numbers under a secret name stay: no secret is a float."""
    if isinstance(value, str):
        return HIDDEN if value and name and secret_name(name) else _clean(value)
    if isinstance(value, dict):
        return {k: redact(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(v, name) for v in value]
    return value


def redact_code(source: str) -> str:
    """Source code with the string literals that are assigned to secret names, and secrets by shape, replaced."""

    def literal(match: re.Match[str]) -> str:
        if not secret_name(match[2]):
            return match[0]
        return f"{match[1]}{match[3]}{match[4]}{HIDDEN}{match[4]}"

    def after_name(match: re.Match[str]) -> str:
        return match[0] if not secret_name(match[2]) else match[1] + _LITERAL.sub(rf"\1\2{HIDDEN}\2", match[3])

    return _clean(_KEYED.sub(after_name, _ASSIGN.sub(literal, source)))


def redact_argv(argv: list[str]) -> list[str]:
    """A command line with the values of secret options replaced (`--token X`, `--token=X`)."""
    found: list[str] = []
    hide = False
    for word in argv:
        match = _ARGUMENT.match(word)
        if hide and not word.startswith("-"):
            found.append(HIDDEN)
        elif match and match[2] is not None and secret_name(match[1]):
            found.append(f"{word.split('=', 1)[0]}={HIDDEN}")
        else:
            found.append(_clean(word))
        hide = bool(match and match[2] is None and secret_name(match[1]))
    return found
