"""Queries about leases: which session holds an address, and the order in which freed ones queue."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from appliance.store.schema import leases

# Statements of every create, made once: making them anew costs more than running them.
_CLEAR: Final = delete(leases).where(leases.c.address == bindparam("wanted"))
_LEASE: Final = insert(leases)


def lease(connection: Connection, address: IPv4Address, session_id: str) -> None:
    """The address belongs to a session."""
    connection.execute(_CLEAR, {"wanted": str(address)})
    connection.execute(_LEASE, {"address": str(address), "session_id": session_id})


def free(connection: Connection, address: IPv4Address) -> int:
    """The address goes to the tail of the queue; returns its number there (1, 2, ...)."""
    queued = leases.c.freed_order.is_not(None)  # spelled out, so that the index serves
    last = connection.execute(select(func.max(leases.c.freed_order)).where(queued)).scalar_one()
    number = (last or 0) + 1
    connection.execute(
        update(leases).where(leases.c.address == str(address)).values(session_id=None, freed_order=number)
    )
    return number


def load_freed(connection: Connection) -> list[tuple[int, IPv4Address]]:
    """The queue, oldest first."""
    query = (
        select(leases.c.freed_order, leases.c.address)
        .where(leases.c.freed_order.is_not(None))
        .order_by(leases.c.freed_order)
    )
    return [(row.freed_order, IPv4Address(row.address)) for row in connection.execute(query)]
