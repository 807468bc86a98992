"""The writer: grouped commits, one bad change among good ones, the order of what is applied."""

from __future__ import annotations

import pytest
import trio
from sqlalchemy import Engine, text
from sqlalchemy import event as sqlalchemy_event

from appliance.store.store import Store
from appliance.store.writer import StoreFailed


@pytest.fixture
async def store(tmp_path):
    store = Store.open(tmp_path / "state")
    await store.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")) and None)
    yield store
    store.close()


def insert(number):
    def change(connection):
        connection.execute(text("INSERT INTO t VALUES (:n)"), {"n": number})
        return number

    return change


async def numbers(store) -> list[int]:
    return await store.read(lambda c: list(c.execute(text("SELECT n FROM t ORDER BY n")).scalars()))


async def test_many_at_once_are_few_commits(store):
    commits = []
    engine: Engine = store._engine
    sqlalchemy_event.listen(engine, "commit", lambda connection: commits.append(1))
    applied = []
    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(store.write, insert(number), applied.append)
    assert await numbers(store) == list(range(200))
    assert sorted(applied) == list(range(200))
    assert len(commits) <= 3


async def test_one_bad_change_spoils_nobody_elses(store):
    results: dict[int, object] = {}

    async def one(number, change):
        try:
            results[number] = await store.write(change)
        except StoreFailed:
            results[number] = "failed"
        except ZeroDivisionError:
            results[number] = "our bug"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 1, insert(1))
        nursery.start_soon(one, 2, lambda c: c.execute(text("INSERT INTO nowhere VALUES (1)")))
        nursery.start_soon(one, 3, insert(3))
        nursery.start_soon(one, 4, lambda c: 1 // 0)
        nursery.start_soon(one, 5, insert(5))
    assert results == {1: 1, 2: "failed", 3: 3, 4: "our bug", 5: 5}
    assert await numbers(store) == [1, 3, 5]


async def test_a_change_that_fails_half_way_leaves_nothing(store):
    def half(connection):
        insert(1)(connection)
        insert(1)(connection)

    applied = []
    with pytest.raises(StoreFailed, match="IntegrityError"):
        await store.write(half, applied.append)
    assert (await numbers(store), applied) == ([], [])


async def test_applied_in_the_order_of_the_transactions(store):
    seen = []

    def count(connection):
        number = connection.execute(text("SELECT count(*) FROM t")).scalar_one()
        insert(number)(connection)
        return number

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(store.write, count, seen.append)
    assert seen == list(range(50))


async def test_a_write_is_not_cancelled_half_way(store):
    applied = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.write(insert(1), applied.append)
    assert applied == [1]
    assert await numbers(store) == [1]


async def test_what_applied_raises_reaches_its_own_waiter_only(store):
    outcomes = []

    def bad(_):
        raise RuntimeError("bug")

    async def one(number, applied):
        try:
            outcomes.append(await store.write(insert(number), applied))
        except RuntimeError as error:
            outcomes.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 1, None)
        nursery.start_soon(one, 2, bad)
        nursery.start_soon(one, 3, None)
    assert sorted(outcomes, key=str) == [1, 3, "bug"]


async def test_a_full_disk(store, caplog):
    """SQLite rolls back by itself here: nothing of the group may slip out of its transaction."""

    def pages(connection):
        return connection.execute(text("PRAGMA page_count")).scalar_one()

    def fill(number):
        def change(connection):
            insert(number)(connection)
            connection.execute(text("INSERT INTO big VALUES (zeroblob(100000))"))

        return change

    await store.write(lambda c: c.execute(text("CREATE TABLE big (b)")) and None)
    full = await store.read(pages) + 2
    await store.read(lambda c: c.execute(text(f"PRAGMA max_page_count = {full}")) and None)
    failures = []

    async def one(number):
        try:
            await store.write(fill(number) if number % 2 else insert(number))
        except StoreFailed as error:
            failures.append((number, str(error)))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, number)
    assert sorted(number for number, _ in failures) == [1, 3, 5]
    assert "full" in failures[0][1]
    assert "the database failed" in caplog.text
    assert await numbers(store) == [0, 2, 4]
    await store.read(lambda c: c.execute(text("PRAGMA max_page_count = 100000")) and None)
    await store.write(fill(7))
    assert await numbers(store) == [0, 2, 4, 7]


async def test_a_query_that_fails(store):
    with pytest.raises(StoreFailed):
        await store.read(lambda c: c.execute(text("SELECT * FROM nowhere")))
    assert await numbers(store) == []
