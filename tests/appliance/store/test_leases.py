"""Leases: the queue's numbers go up, and a leased address is not in it."""

from __future__ import annotations

from appliance.store import leases
from tests.appliance.store.rows import add_account, add_session, database


def test_the_queue(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        rows = [add_session(connection, number) for number in (1, 2, 3)]
        for row in rows:
            leases.lease(connection, row.address, row.id)
        assert leases.load_freed(connection) == []
        one, two, three = (row.address for row in rows)
        assert [leases.free(connection, address) for address in (two, one)] == [1, 2]
        assert leases.load_freed(connection) == [(1, two), (2, one)]
        leases.lease(connection, two, rows[2].id)
        assert leases.free(connection, three) == 3
        assert leases.load_freed(connection) == [(2, one), (3, three)]
