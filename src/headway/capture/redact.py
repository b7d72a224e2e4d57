"""Secrets never reach the disk: a fact is redacted before its first write."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # neither `typing` nor `re` is imported into the user's process for nothing
if TYPE_CHECKING:
    import re
    from typing import Any

__all__ = ["HIDDEN", "redact", "redact_argv", "redact_code", "secret_held", "secret_name"]

HIDDEN = "[redacted]"

# Each rule has marks: a text without any of them can't match, and no regular expression is compiled or run for it.
_NAME_MARKS = (
    "key",
    "token",
    "auth",
    "passw",
    "pwd",
    "passphrase",
    "secret",
    "cred",
    "dsn",
    "connection",
    "bearer",
    "cookie",
)
_NAME = (
    r"(?i)(?:^|[_\W])(?:api_?keys?|access_?keys?|secret_?keys?|private_?keys?|auth_?keys?|api_?tokens?|key|token|auth|passwords?|passwd|"
    r"passw|pwd|passphrase|secrets?|credentials?|creds?|dsn|connection_?string|bearer|cookies?)(?:$|[_\W])"
)
_CAMEL = r"(?<=[a-z0-9])(?=[A-Z])"
_SHAPE_MARKS = (
    "eyJ", "AKIA", "ASIA", "-----BEGIN", "gh", "github_pat", "glpat", "xox", "hf_", "hf-", "sk_", "sk-", "pk_", "pk-",
    "rk_", "rk-", "hw_", "hw-", "npm_", "npm-", "pypi", "AIza", "earer", "EARER",
)  # fmt: skip
_SHAPES = (
    r"(?s)eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # JWT
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{35}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:ghp|gho|ghs|ghu|ghr|github_pat|glpat|xox[abpr]|hf|sk|pk|rk|hw|npm|pypi)[-_][A-Za-z0-9_-]{16,}"
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{16,}=*"
)
_USERINFO = r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@\"']+@"
_QUERY = r"(?i)([?&](?:[\w-]*(?:key|token|secret|passw|signature|sig|credential)[\w-]*)=)[^&\s\"']+"
# `name = "..."`, `"name": "..."`, `environ["NAME"] = (\n "..."`, `name: str = "..."`.
_NAMED = r"""(["']?([A-Za-z_][\w-]*)["']?\s*(?:\]\s*)?(?:=|:(?:[^=\n"']{0,60}=)?)\s*(?:\(\s*)?)([bBrRuUfF]{0,2})"""
_ASSIGN = _NAMED + r"""("|')((?:(?!\4).)+?)\4"""
_TRIPLE = "(?s)" + _NAMED + r"""(\"{3}|'{3})(.+?)\4"""
# `add_argument("--api-key", default="...")`, `os.environ.setdefault("TOKEN", "...")`: what follows a secret's name on its line.
_KEYED = r"""((?:"|')-{0,2}([A-Za-z_][\w-]*)(?:"|'))([^\n]*)"""
_LITERAL = r"""([bBrRuUfF]{0,2})("|')(?:(?!\2)[^\n]){3,}\2"""
# Names of sampling and sequence models that only look like secrets.
_INNOCENT = (
    r"(?i)(?:max|min|num|n|new|pad|eos|bos|unk|mask|sep|cls|total)_?(?:new_?)?tokens?(?:_?ids?)?$"
    r"|tokens?_per|keys?_?dim|n_?keys"
)

_values: tuple[str, ...] | None = None
_known: dict[str, bool] = {}
_compiled: dict[str, re.Pattern[str]] = {}


def _re(pattern: str) -> re.Pattern[str]:
    found = _compiled.get(pattern)
    if found is None:
        import re

        found = _compiled[pattern] = re.compile(pattern)
    return found


def secret_name(name: str) -> bool:
    """Whether a variable, argument or key by this name is taken for a secret."""
    known = _known.get(name)
    if known is None:
        known = _secret_name(name)
        if len(_known) < 10_000:
            _known[name] = known
    return known


def _secret_name(name: str) -> bool:
    small = name.lower()
    if not any(mark in small for mark in _NAME_MARKS):
        return False
    words = _re(_CAMEL).sub("_", name)
    return bool(_re(_NAME).search(words)) and not _re(_INNOCENT).search(words)


def secret_held(name: str, value: Any) -> bool:
    """Whether what a variable holds is taken for a secret.

    `for key, value in log.items()`: a key that is a result's name is none.
    """
    if not secret_name(name):
        return False
    if name != "key" or type(value) is not str or len(value) > 40:
        return True
    from headway.capture.lexicon import is_metric_name, is_noise_name

    return not (is_metric_name(value) or is_noise_name(value))


def _of_environment() -> tuple[str, ...]:
    """The values of environment variables under a secret's name: they are hidden wherever they turn up."""
    global _values
    if _values is None:
        _values = tuple(
            v for k, v in os.environ.items() if len(v) >= 8 and secret_name(k) and not v.startswith(("/", "~"))
        )
    return _values


def _clean(value: str) -> str:
    if len(value) < 8:
        return value
    for secret in _of_environment():
        if secret in value:
            value = value.replace(secret, HIDDEN)
    if any(mark in value for mark in _SHAPE_MARKS):
        value = _re(_SHAPES).sub(HIDDEN, value)
    if "://" in value:
        value = _re(_QUERY).sub(rf"\1{HIDDEN}", _re(_USERINFO).sub(rf"\1{HIDDEN}@", value))
    return value


def redact(value: Any, name: str = "") -> Any:
    """`value` (JSON) with each secret by name or shape replaced. Numbers under a secret name stay: no secret is a float."""
    if isinstance(value, str):
        return HIDDEN if value and name and secret_held(name, value) else _clean(value)
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
        return match[0] if not secret_name(match[2]) else match[1] + _re(_LITERAL).sub(rf"\1\2{HIDDEN}\2", match[3])

    small = source.lower()
    if any(mark in small for mark in _NAME_MARKS):
        source = _re(_KEYED).sub(after_name, _re(_ASSIGN).sub(literal, _re(_TRIPLE).sub(literal, source)))
    return _clean(source)


def redact_argv(argv: list[str]) -> list[str]:
    """A command line with the values of secret options replaced (`--token X`, `--token=X`)."""
    found: list[str] = []
    hide = False
    for word in argv:
        option, given, _ = word.partition("=")
        secret = option.startswith("-") and secret_name(option.lstrip("-"))
        if hide and not word.startswith("-"):
            found.append(HIDDEN)
        elif secret and given:
            found.append(f"{option}={HIDDEN}")
        else:
            found.append(_clean(word))
        hide = secret and not given
    return found
