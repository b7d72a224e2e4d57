"""Secrets we hand out: made here, shown once, kept only as a digest.

They hold 256 random bits, so one round of SHA-256 is as good as any slow hash (passwords, which people choose, use argon2).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

TOKEN_PREFIX = "hw_"  # noqa: S105  a prefix, so that scanners of leaked secrets can know ours


def new_secret(prefix: str = "") -> str:
    """A fresh secret: the prefix and 43 URL-safe characters."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret: 64 hex characters."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_for(session_secret: str) -> str:
    """The CSRF token of a session: only who holds the session's secret (its cookie, or our page) can know it."""
    return hmac.new(session_secret.encode(), b"headway csrf", hashlib.sha256).hexdigest()


def same(a: str, b: str) -> bool:
    """Compare in constant time; never raises on what a stranger sends."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
