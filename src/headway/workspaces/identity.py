"""Who is at a notebook: a token of ours, signed with Ed25519, good for a minute, for one project.

The proxy holds the private key and mints one token for each request; Jupyter holds the public key alone, so what runs inside
it (and a kernel that reads its files or environment) can't make one.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

# Imported where it is used: 6 MiB that a server whose notebooks rest does without.
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

HEADER = "X-Headway-Identity"
LIFE_S = 60
_LEEWAY_S = 5
_CONTEXT = b"headway notebook identity 1\n"  # what is signed here can never be taken for something else


@dataclass(frozen=True)
class Identity:
    """A person, for Jupyter: an id that stays, and the name that others see."""

    user_id: str
    name: str


def new_key() -> bytes:
    """A private key, 32 bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate().private_bytes_raw()


def _private(raw: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(raw)


def public_of(private: bytes) -> bytes:
    """Its public key, 32 bytes."""
    return _private(private).public_key().public_bytes_raw()


def mint(private: bytes, person: Identity, audience: str, now_s: float) -> str:
    """A token for `person` at the workspace `audience`, good for `LIFE_S` seconds."""
    claims = {"aud": audience, "sub": person.user_id, "name": person.name, "exp": int(now_s) + LIFE_S}
    body = json.dumps(claims, separators=(",", ":")).encode()
    signature = _private(private).sign(_CONTEXT + body)
    return f"{_encode(body)}.{_encode(signature)}"


def verify(public: bytes, token: str, audience: str, now_s: float) -> Identity | None:
    """Whom the token stands for; None if it is not ours, for elsewhere, or over."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    body, dot, signature = token.partition(".")
    try:
        raw = _decode(body)
        Ed25519PublicKey.from_public_bytes(public).verify(_decode(signature), _CONTEXT + raw)
        claims = json.loads(raw)
    except (InvalidSignature, ValueError, binascii.Error):
        return None
    if (
        not dot
        or claims.get("aud") != audience
        or not now_s - _LEEWAY_S < claims.get("exp", 0) <= now_s + LIFE_S + _LEEWAY_S
    ):
        return None
    return Identity(str(claims["sub"]), str(claims["name"]))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not base64")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
