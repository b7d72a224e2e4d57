"""Every error that headway raises on purpose.

Each carries an HTTP status, a stable code, a sentence that says what was wrong, and a hint that says what *you* can do.
Services raise them, `web/answers.py` turns them into JSON, a page or a fragment, the CLI into a line and an exit status.

    HeadwayError                500  INTERNAL           our own bug
    ├── BadInput                400  BAD_INPUT          the request makes no sense as it stands
    │   └── BadPath             400  BAD_PATH           a path that leaves its folder, or can't be a file name
    ├── Unauthenticated         401  UNAUTHENTICATED    no sign-in, or a token that is unknown, expired or revoked
    ├── Forbidden               403  FORBIDDEN          signed in, but the role does not allow it
    ├── NotFound                404  NOT_FOUND          missing, or not yours to see: the answer is the same
    ├── Conflict                409  CONFLICT           it exists already, or is not in a state that allows this
    ├── TooLarge                413  TOO_LARGE          body, file or number over its limit
    ├── WrongHost               421  WRONG_HOST         a host name that this server does not answer for
    ├── Unprocessable           422  UNPROCESSABLE      well-formed, but a value is not acceptable; names the field
    ├── TooMany                 429  TOO_MANY           slow down; `retry_after` seconds in the details
    ├── NotServed               501  NOT_SERVED         a part of a foreign protocol that headway does not serve
    ├── Unavailable             503  UNAVAILABLE        for the moment; try again
    └── StorageFull             507  STORAGE_FULL       no room on the disk; reads go on
"""

from __future__ import annotations

from typing import Any, ClassVar


class HeadwayError(Exception):
    """Base of the tree. `details` holds what a program may want, e.g. `field`, `row`, `column`, `expected`, `got`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The body of a JSON answer: `{"error": {"code", "message", "hint", ...details}}`."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            error["hint"] = self.hint
        return {"error": error | self.details}


class BadInput(HeadwayError):
    status, code = 400, "BAD_INPUT"


class BadPath(BadInput):
    code = "BAD_PATH"


class Unauthenticated(HeadwayError):
    status, code = 401, "UNAUTHENTICATED"


class Forbidden(HeadwayError):
    status, code = 403, "FORBIDDEN"


class NotFound(HeadwayError):
    status, code = 404, "NOT_FOUND"


class Conflict(HeadwayError):
    status, code = 409, "CONFLICT"


class TooLarge(HeadwayError):
    status, code = 413, "TOO_LARGE"


class WrongHost(HeadwayError):
    status, code = 421, "WRONG_HOST"


class Unprocessable(HeadwayError):
    status, code = 422, "UNPROCESSABLE"


class TooMany(HeadwayError):
    status, code = 429, "TOO_MANY"


class NotServed(HeadwayError):
    status, code = 501, "NOT_SERVED"


class Unavailable(HeadwayError):
    status, code = 503, "UNAVAILABLE"


class StorageFull(HeadwayError):
    status, code = 507, "STORAGE_FULL"


def tree() -> dict[str, type[HeadwayError]]:
    """Every error by its code, for clients that turn an answer back into an exception, and for the docs."""
    found: dict[str, type[HeadwayError]] = {}
    stack: list[type[HeadwayError]] = [HeadwayError]
    while stack:
        kind = stack.pop()
        found.setdefault(kind.code, kind)  # one without a code of its own stands for its parent
        stack.extend(kind.__subclasses__())
    return found
