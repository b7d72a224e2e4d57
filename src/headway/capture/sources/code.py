"""The code that ran: the script and the user's modules that it imported, and the packages of this process."""

from __future__ import annotations

import sys

from headway.capture.sites import is_library

TYPE_CHECKING = False  # the module `typing` is not imported into the user's process
if TYPE_CHECKING:
    from headway.capture.session import Session

__all__ = ["install"]

MODULES_LIMIT = 200


def install(session: Session) -> None:
    sent: set[str] = set()

    def look() -> None:
        files = [getattr(m, "__file__", None) for m in list(sys.modules.values())]
        own = [f for f in files if isinstance(f, str) and f.endswith(".py") and not is_library(f)]
        for file in own[:5000]:
            if file not in sent and len(sent) < MODULES_LIMIT and session.sites.is_user(file):
                sent.add(file)
                session.sites.file(file)

    def packages() -> None:
        from headway.capture import environment

        session.fact("env", python=sys.version.split()[0], platform=sys.platform, packages=environment.pins())

    session.at_end += [look, packages]
