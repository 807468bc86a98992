"""Sessions: live until their one end is written."""

from __future__ import annotations

from appliance.store import sessions
from appliance.store.sessions import End
from tests.appliance.store.rows import add_account, add_session, database


def test_live_and_ended(tmp_path):
    with database(tmp_path) as connection:
        add_account(connection, "ac_1")
        add_account(connection, "ac_2")
        two, one = add_session(connection, 2), add_session(connection, 1)
        assert sessions.load_live(connection) == [one, two]
        assert (sessions.any_live(connection, "ac_1"), sessions.any_live(connection, "ac_2")) == (True, False)
        assert sessions.ended(connection, "tb_1") is None
        its = End(99, "client_closed", lasted_seconds=3, quota_bytes_used=2**62, quota_seconds_used=4)
        sessions.end(connection, "tb_1", its)
        assert sessions.ended(connection, "tb_1") == (one, its)
        assert sessions.load_live(connection) == [two]
        sessions.end(connection, "tb_2", its)
        assert not sessions.any_live(connection, "ac_1")
        assert sessions.account_of(connection, "tb_2") == "ac_1"
        assert sessions.account_of(connection, "tb_9") is None
