"""The gateway's link to a replica, against sockets that behave as replicas do when they come and go."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

from headway.deployments.links import Link
from headway.frames import HEADER, HEALTH, pack


class Lost:
    """A request that notes how it ended."""

    deadline = 0.0

    def __init__(self) -> None:
        self.ended: list[str] = []

    def answered(self, status: int, body: bytes) -> None:
        self.ended.append(f"{status} {body.decode()}")

    def lost(self) -> None:
        self.ended.append("lost")


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    made.bind(str(path))
    made.listen(4)
    made.settimeout(10)
    return made


def in_thread(scene: object) -> None:
    """Runs a coroutine away from the test's thread, where the browser's loop may run."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(scene)  # type: ignore[arg-type]
        except BaseException as problem:
            failed.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_a_link_is_up_once_its_replica_has_answered(tmp_path: Path) -> None:
    """The socket of a process that is being killed still takes connections: no request may go to it."""

    async def scene() -> None:
        path, loop = tmp_path / "r", asyncio.get_running_loop()
        dying = listening(path)
        changed = asyncio.Event()
        link = Link(str(path), changed.set)
        held = (await loop.run_in_executor(None, dying.accept))[0]  # connected: it is in the dying process's queue
        held.settimeout(10)  # a link that asks nothing fails here, and does not hang
        head = await loop.run_in_executor(None, held.recv, HEADER.size)
        assert HEADER.unpack(head)[2] == HEALTH and not link.usable

        alive = listening(path)
        dying.close()
        held.close()
        replica = (await loop.run_in_executor(None, alive.accept))[0]
        number = HEADER.unpack(await loop.run_in_executor(None, replica.recv, HEADER.size))[1]
        assert not link.usable
        changed.clear()
        replica.sendall(pack(number, 200, 0, 0.0, b"{}"))
        await changed.wait()
        assert link.usable

        request = Lost()
        link.ask(request, 1, 0, b"{}")
        number = HEADER.unpack((await loop.run_in_executor(None, replica.recv, HEADER.size + 2))[: HEADER.size])[1]
        changed.clear()
        replica.sendall(pack(number, 200, 0, 0.0, b"fine"))
        replica.close()
        await changed.wait()
        assert request.ended == ["200 fine"] and not link.usable
        link.close()
        alive.close()

    in_thread(scene())
