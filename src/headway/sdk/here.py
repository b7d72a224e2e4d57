"""The client that module-level functions use: one for each server and token that was in force."""

from __future__ import annotations

from headway.sdk import address
from headway.sdk.address import Address
from headway.sdk.client import Client

_clients: dict[Address, Client] = {}


def client() -> Client:
    """The client of the server in force: `HEADWAY_URL`, this machine's server, or the one of `headway login`."""
    where = address.find()
    return _clients.setdefault(where, Client(address=where))
