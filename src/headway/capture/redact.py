"""Secrets never reach the disk: a fact is redacted before its first write."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # neither `typing` nor `re` is imported into the user's process for nothing
if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from typing import Any

__all__ = ["HIDDEN", "redact", "redact_argv", "redact_code", "secret_held", "secret_name"]

HIDDEN = "[redacted]"

# A name without any of the marks is no secret's, and a text without a shape's marks holds none of that shape: most programs need
# no regular expression, whose module takes longer to import than capture to start.
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
_KEYS_OF = ("api", "access", "secret", "private", "auth")
# A name is a secret's by one of its words, or by two in a row.
_WORDS = frozenset(
    ("key", "token", "auth", "password", "passwords", "passwd", "passw", "pwd", "passphrase", "secret", "secrets", "credential",
     "credentials", "cred", "creds", "dsn", "bearer", "cookie", "cookies", "connectionstring", "apitoken", "apitokens",
     *(f"{of}{key}" for of in _KEYS_OF for key in ("key", "keys")))
)  # fmt: skip
_PAIRS = frozenset([("api", "tokens"), ("connection", "string"), *((of, "keys") for of in _KEYS_OF)])
# Words before `token` in names of sampling and sequence models that only look like secrets: `max_new_tokens`, `pad_token_id`.
_COUNTED = frozenset(("max", "min", "num", "n", "new", "pad", "eos", "bos", "unk", "mask", "sep", "cls", "total"))
_INNOCENT_PAIRS = frozenset([("token", "per"), ("tokens", "per"), ("key", "dim"), ("keys", "dim"), ("n", "keys")])
_PREFIXES = ("ghp", "gho", "ghs", "ghu", "ghr", "github_pat", "glpat", "xoxa", "xoxb", "xoxp", "xoxr", "hf", "sk", "pk", "rk",
             "hw", "npm", "pypi")  # fmt: skip
_SHAPE_MARKS = (
    "eyJ",
    "AKIA",
    "ASIA",
    "-----BEGIN",
    "AIza",
    "earer",
    "EARER",
    *(f"{p}{sign}" for p in _PREFIXES for sign in "_-"),
)
_SHORTEST = 16  # characters of a secret after its mark
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
    words = _words(name)
    pairs = list(zip(words, words[1:], strict=False))  # noqa: RUF007  `itertools` is a library to load
    if _WORDS.isdisjoint(words) and _PAIRS.isdisjoint(pairs):
        return False
    told = words[:-1] if words[-1] in ("id", "ids") else words
    counts = len(told) > 1 and told[-1] in ("token", "tokens") and told[-2] in _COUNTED
    return not counts and _INNOCENT_PAIRS.isdisjoint(pairs)


def _words(name: str) -> list[str]:
    """`maxNewTokens`, `max_new_tokens` -> max, new, tokens."""
    found, before = "", ""
    for sign in name:
        camel = sign.isupper() and (before.islower() or before.isdigit())
        found += f" {sign}" if camel else sign if sign.isalnum() else " "
        before = sign
    return found.lower().split()


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
    if _may_be_shaped(value):
        value = _re(_SHAPES).sub(HIDDEN, value)
    if "://" in value:
        value = _re(_QUERY).sub(rf"\1{HIDDEN}", _re(_USERINFO).sub(rf"\1{HIDDEN}@", value))
    return value


def _may_be_shaped(value: str) -> bool:
    """Whether a shape's mark stands at the start of a word and goes on: in `sk-0123456789abcdef`, not in `task-1`."""
    for mark in _SHAPE_MARKS:
        at = value.find(mark)
        while at >= 0:
            if mark[-1] not in "_-":
                return True
            before, after = value[max(at - 1, 0) : at], value[at + len(mark) : at + len(mark) + _SHORTEST]
            if len(after) == _SHORTEST and _is_of_token(after) and not (before.isalnum() or before == "_"):
                return True
            at = value.find(mark, at + 1)
    return False


def _is_of_token(text: str) -> bool:
    """Whether letters, digits, `_` and `-` are all there is: in a list of packages, `hf-xet==1.2` is no token's beginning."""
    signs = text.replace("_", "").replace("-", "")
    return not signs or signs.isalnum()


def _are_plain(values: Sequence[Any], name: str) -> bool:
    """Whether many texts hold no secret: what holds none in one holds none in any."""
    if len(values) < 8 or (name and secret_name(name)) or set(map(type, values)) != {str}:
        return False
    text = "\n".join(values)
    return _clean(text) == text


def redact(value: Any, name: str = "") -> Any:
    """`value` (JSON) with each secret by name or shape replaced. Numbers under a secret name stay: no secret is a float."""
    if isinstance(value, str):
        return HIDDEN if value and name and secret_held(name, value) else _clean(value)
    if isinstance(value, dict):
        return {k: redact(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return list(value) if _are_plain(value, name) else [redact(v, name) for v in value]
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
