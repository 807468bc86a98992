"""Tokens: hashes only, oldest first, revoked once."""

from __future__ import annotations

from dataclasses import replace

from appliance.store import tokens
from appliance.store.tokens import TokenRow
from tests.appliance.store.rows import add_account, database


def test_tokens(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        young = TokenRow("tk_a", "ac_1", b"\1" * 32, 20, None)
        old = TokenRow("tk_b", "ac_1", b"\2" * 32, 10, None)
        tokens.add(connection, young)
        tokens.add(connection, old)
        assert tokens.load(connection) == [old, young]
        tokens.revoke(connection, "tk_a", 77)
        tokens.revoke(connection, "tk_a", 99)
        assert tokens.load(connection) == [old, replace(young, revoked_at_ns=77)]
