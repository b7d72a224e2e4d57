"""The edge of a request: one request is one transaction, committed before the answer leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Annotated
from weakref import WeakKeyDictionary

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from sqlalchemy.orm import Session

from headway.engines.host import Host


def host_of(request: Request) -> Host:
    """The server's host."""
    host: Host = request.app.state.host
    return host


async def write_session(request: Request) -> AsyncIterator[Session]:
    """A write transaction for this request; an error in the handler undoes it."""
    async for session in _session(host_of(request).database.write()):
        yield session


async def read_session(request: Request) -> AsyncIterator[Session]:
    """A snapshot for this request; nothing that happens on it is kept."""
    async for session in _session(host_of(request).database.read()):
        yield session


async def _session(block: AbstractContextManager[Session]) -> AsyncIterator[Session]:
    # Entering is cheap: a session gets its turn and its connection at its first statement. Ending may wait for the disk, and it
    # must never wait for a thread that is itself waiting for this transaction to end; so ends have threads of their own.
    session = block.__enter__()
    try:
        yield session
    except BaseException as error:
        await to_thread.run_sync(block.__exit__, type(error), error, error.__traceback__, limiter=_ends())
        raise
    await to_thread.run_sync(block.__exit__, None, None, None, limiter=_ends())


_limiters: WeakKeyDictionary[object, CapacityLimiter] = WeakKeyDictionary()


def _ends() -> CapacityLimiter:
    """One limiter for each event loop: anyio's may not be shared between loops."""
    loop = asyncio.get_running_loop()
    if loop not in _limiters:
        _limiters[loop] = CapacityLimiter(64)
    return _limiters[loop]


# scope="function": without it FastAPI ends the dependency after the answer was sent, and an answer must not run ahead of
# its commit.
Db = Annotated[Session, Depends(write_session, scope="function")]
ReadDb = Annotated[Session, Depends(read_session, scope="function")]
HostDep = Annotated[Host, Depends(host_of)]
