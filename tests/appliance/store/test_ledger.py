"""The ledger: cumulative values per life, thousands at once."""

from __future__ import annotations

from appliance.core.accounting import Counts
from appliance.store import ledger, sessions
from appliance.store.sessions import End
from tests.appliance.store.rows import add_account, add_session, database


def test_lives(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        for number in (1, 2):
            add_session(connection, number)
        ledger.write(connection, {})
        ledger.write(connection, {("tb_1", 1): Counts(5, 6), ("tb_1", 2): Counts(2**62, 0)})
        ledger.write(connection, {("tb_1", 1): Counts(7, 8), ("tb_2", 1): Counts(1, 1)})
        assert ledger.read(connection, [("tb_1", 1), ("tb_2", 9)]) == {("tb_1", 1): Counts(7, 8)}
        assert ledger.of_session(connection, "tb_1") == {1: Counts(7, 8), 2: Counts(2**62, 0)}
        assert ledger.of_live_sessions(connection) == {
            "tb_1": {1: Counts(7, 8), 2: Counts(2**62, 0)},
            "tb_2": {1: Counts(1, 1)},
        }
        sessions.end(connection, "tb_1", End(5, "admin", 1, 0, 0))
        assert set(ledger.of_live_sessions(connection)) == {"tb_2"}


def test_more_than_fit_one_query(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        add_session(connection, 1)
        values = {("tb_1", generation): Counts(generation, 1) for generation in range(1, 1751)}
        ledger.write(connection, values)
        assert ledger.read(connection, values) == values
