"""Secrets at rest: AES-256-GCM under a key file that only this user may read, and keyed hashes for cookies and forms."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from headway.errors import BadInput

_PREFIX = "v1:"


class Vault:
    """Seals and unseals text with the home folder's key. Losing the key file loses the secrets, and nothing else."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise BadInput("The key file must hold 32 bytes.", hint="Restore it from your backup.")
        self._key = key

    @classmethod
    def open(cls, path: Path) -> Vault:
        """The vault of the key file at `path`; the file is made, readable by this user alone, if there is none."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        return cls(path.read_bytes())

    def seal(self, text: str) -> str:
        """`text`, encrypted, as a printable string."""
        # Imported where it is used: 6 MiB that a server without secrets does without.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(12)
        return _PREFIX + base64.b64encode(nonce + AESGCM(self._key).encrypt(nonce, text.encode(), None)).decode()

    def unseal(self, sealed: str) -> str:
        """The text that `seal` was given. Raises `BadInput` if it was sealed with another key or changed since."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            raw = base64.b64decode(sealed.removeprefix(_PREFIX), validate=True)
            return AESGCM(self._key).decrypt(raw[:12], raw[12:], None).decode()
        except (InvalidTag, ValueError):
            raise BadInput("A secret can't be read: it was sealed with another key.",
                           hint="Restore the file 'key' of the home folder, or set the secret anew.") from None  # fmt: skip

    def sign(self, purpose: str, text: str) -> str:
        """A keyed hash (HMAC-SHA-256, hexadecimal) of `text` for one `purpose`."""
        return hmac.new(self._key, f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()
