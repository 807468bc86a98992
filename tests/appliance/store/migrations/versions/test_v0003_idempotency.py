"""The third step: a table more, and nothing else is touched."""

from __future__ import annotations

from sqlalchemy import create_engine, inspect

from appliance.store.upgrade import migrate


def test_a_table_more(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/db")
    try:
        migrate(engine, "0002")
        before = inspect(engine).get_table_names()
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO accounts VALUES ('ac_1', 'paid', 1, 2, 3, 4, 5, 6, 7)")
        migrate(engine, "0003")
        after = inspect(engine).get_table_names()
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT * FROM accounts").all()
    finally:
        engine.dispose()
    assert set(after) - set(before) == {"idempotency_keys"}
    assert rows == [("ac_1", "paid", 1, 2, 3, 4, 5, 6, 7)]
