"""The edge of a request: one request is one transaction, committed before the answer leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from headway.engines.host import Host


def host_of(request: Request) -> Host:
    """The server's host."""
    host: Host = request.app.state.host
    return host


def write_session(request: Request) -> Iterator[Session]:
    """A write transaction for this request; an error in the handler undoes it."""
    with host_of(request).database.write() as session:
        yield session


def read_session(request: Request) -> Iterator[Session]:
    """A snapshot for this request; nothing that happens on it is kept."""
    with host_of(request).database.read() as session:
        yield session


# scope="function": without it FastAPI ends the dependency after the answer was sent, and an answer must not run ahead of its commit.
Db = Annotated[Session, Depends(write_session, scope="function")]
ReadDb = Annotated[Session, Depends(read_session, scope="function")]
HostDep = Annotated[Host, Depends(host_of)]
