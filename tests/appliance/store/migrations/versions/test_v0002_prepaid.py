"""The second step: accounts that were there are not prepaid, and lose nothing."""

from __future__ import annotations

from sqlalchemy import create_engine, inspect

from appliance.store.upgrade import migrate


def test_what_was_there_stays(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/db")
    try:
        migrate(engine, "0001")
        with engine.begin() as connection:
            before = [column["name"] for column in inspect(connection).get_columns("accounts")]
            connection.exec_driver_sql("INSERT INTO accounts VALUES ('ac_1', 'paid', 1, 2, 3, 4, 5)")
        migrate(engine, "0002")
        with engine.connect() as connection:
            after = [column["name"] for column in inspect(connection).get_columns("accounts")]
            rows = connection.exec_driver_sql("SELECT * FROM accounts").all()
    finally:
        engine.dispose()
    assert after == [*before, "prepaid_bytes", "spent_at_ns"]
    assert rows == [("ac_1", "paid", 1, 2, 3, 4, 5, None, None)]
