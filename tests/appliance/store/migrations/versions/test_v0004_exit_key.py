"""The fourth step: a column more; what is known of older sessions stays, and their key is unknown."""

from __future__ import annotations

from sqlalchemy import create_engine

from appliance.store import sessions
from appliance.store.upgrade import migrate


def test_a_column_more_and_older_rows_get_their_key_at_the_next_start(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/db")
    try:
        migrate(engine, "0003")
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO accounts VALUES ('ac_1', 'paid', 1, 2, 3, 4, 5, 6, 7)")
            for name, end in (("tb_1", "NULL"), ("tb_2", "9")):
                connection.exec_driver_sql(
                    f"INSERT INTO sessions VALUES ('{name}', 'ac_1', 'paid', 'local', '192.0.2.1', "
                    f"x'{name[-1] * 64}', '10.0.0.2', 1, 2, {end}, NULL, NULL, NULL, NULL)"
                )
        migrate(engine, "0004")
        with engine.begin() as connection:
            (row,) = sessions.load_live(connection)
            assert (row.id, row.public_key, row.exit_key) == ("tb_1", b"\x11" * 32, b"")
            sessions.note_exit_key(connection, b"k" * 32)
            sessions.note_exit_key(connection, b"another")
            assert [row.exit_key for row in sessions.load_live(connection)] == [b"k" * 32]
            assert sessions.made(connection, "tb_2").exit_key == b""
    finally:
        engine.dispose()
