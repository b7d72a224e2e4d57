"""Passwords: argon2id, and an answer that takes as long for a stranger as for a user."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from headway.errors import Unprocessable

SHORTEST, LONGEST = 10, 1024
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Each check takes 19 MiB for 20 ms; a crowd at the door must not take all memory, so few are let in at once.
_turns = threading.BoundedSemaphore(4)
# Somebody who doesn't exist has this hash, so that looking them up costs what a real check costs.
_NOBODY = _hasher.hash("nobody has this password")


def hash_password(password: str, field: str = "password") -> str:
    """The argon2id hash of a password (about 20 ms of work); Unprocessable when it is too short or absurdly long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Unprocessable(
            f"The password has {len(password)} characters; it must have {SHORTEST} to {LONGEST}.",
            hint="A few words in a row are easy to remember and hard to guess.",
            field=field,
        )
    return _hasher.hash(password.encode("utf-8", "surrogatepass"))


def matches(stored: str | None, password: str) -> bool:
    """Whether the password is the one stored. The time it takes doesn't tell whether there is a stored one."""
    too_long = len(password) > LONGEST
    try:
        with _turns:
            right = _hasher.verify(stored or _NOBODY, "" if too_long else password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
    return right and stored is not None and not too_long
