"""Idempotency keys: per account, for as long as is asked, forgotten together."""

from __future__ import annotations

from dataclasses import replace

from appliance.store import idempotency
from appliance.store.idempotency import KeyRow
from tests.appliance.store.rows import add_account, add_session, database


def test_keys(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        add_account(connection, "ac_2")
        add_session(connection, 1)
        row = KeyRow("ac_1", b"k", b"b", "tb_1", "text", 100)
        other = replace(row, account_id="ac_2", wg_config=None, created_at_ns=200)
        idempotency.add(connection, row, 0)
        idempotency.add(connection, other, 99)
        assert idempotency.find(connection, "ac_1", b"k", 99) == row
        assert idempotency.find(connection, "ac_2", b"k", 99) == other
        assert idempotency.find(connection, "ac_1", b"k", 100) is None
        assert idempotency.find(connection, "ac_1", b"x", 0) is None
        assert [idempotency.count(connection, "ac_1", since) for since in (99, 100)] == [1, 0]
        again = replace(row, body_sha256=b"c", created_at_ns=300)
        idempotency.add(connection, again, 100)
        assert idempotency.find(connection, "ac_1", b"k", 0) == again
        idempotency.forget(connection, "ac_1", b"k")
        assert idempotency.find(connection, "ac_1", b"k", 0) is None
        assert idempotency.find(connection, "ac_2", b"k", 0) == other
