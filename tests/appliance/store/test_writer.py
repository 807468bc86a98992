"""The writer: grouped commits, one bad change among good ones, the order of what is applied; a thread that
hangs or fails."""

from __future__ import annotations

import sqlite3
import threading

import pytest
import trio
import trio.testing
from sqlalchemy import Engine, text
from sqlalchemy import event as sqlalchemy_event

from appliance.errors import InUseError
from appliance.store import writer
from appliance.store.store import DATABASE, Store
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


class Held:
    """A change that hangs in the store's thread until it is let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, connection):
        self.begun.set()
        self.go.wait(20)
        return insert(99)(connection)


@pytest.fixture
def short(monkeypatch):
    """Nobody's patience lasts long."""
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(writer, "LAST_SECONDS", 0.2)


async def outcome_of(awaitable, outcomes):
    try:
        outcomes.append(await awaitable)
    except StoreFailed as error:
        outcomes.append(str(error))


async def test_while_the_thread_hangs_everybody_else_is_refused_in_time(
    store, short, caplog, monkeypatch
):
    """What had not been begun is certainly not done; what had been is waited for, and then applied."""
    held, applied, of_held, of_others = Held(), [], [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, store.write(held, applied.append), of_held)
        await trio.to_thread.run_sync(held.begun.wait)
        with trio.fail_after(5):
            async with trio.open_nursery() as others:
                others.start_soon(outcome_of, store.write(insert(1), applied.append), of_others)
                others.start_soon(outcome_of, store.read(lambda c: 7), of_others)
        assert of_others == ["no answer", "no answer"]
        with pytest.raises(StoreFailed):  # known to hang: it does not even queue
            store._writer._take(writer._Job(insert(2)))
        assert of_held == []
        monkeypatch.setattr(writer, "PATIENCE_SECONDS", 20)  # what is asked from now on is answered
        held.go.set()
    assert (of_held, applied) == ([99], [99])
    assert await numbers(store) == [99]
    said = [record.message for record in caplog.records]
    assert said == ["the database does not answer", "the database answers again"]


async def test_at_the_end_nobody_waits_for_a_thread_that_hangs(tmp_path, short):
    store = Store.open(tmp_path / "state")
    await store.write(lambda c: c.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)")) and None)
    held, applied, outcomes = Held(), [], []
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            nursery.start_soon(outcome_of, store.write(held, applied.append), outcomes)
            await trio.to_thread.run_sync(held.begun.wait)
            nursery.cancel_scope.cancel()
        assert outcomes == ["no answer before the end; the next start finds out"]
        with pytest.raises(StoreFailed):
            await store.write(insert(1))
        await trio.to_thread.run_sync(store.close)
    # It is still held by that thread, which uses it.
    with pytest.raises(InUseError):
        Store.open(tmp_path / "state")
    held.go.set()
    with trio.fail_after(20):
        await trio.to_thread.run_sync(store._writer._thread._thread.join)
    await trio.testing.wait_all_tasks_blocked()
    assert applied == []  # what is known now, nobody is there to hear
    await trio.to_thread.run_sync(store.close)
    Store.open(tmp_path / "state").close()


async def test_the_queue_is_bounded_and_loses_nothing(store, monkeypatch, caplog):
    monkeypatch.setattr(writer, "MOST_WAITING", 3)
    held, outcomes = Held(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.write, held)
        await trio.to_thread.run_sync(held.begun.wait)
        for number in range(10):
            nursery.start_soon(outcome_of, store.write(insert(number)), outcomes)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert outcomes == ["too many changes wait"] * 7
        held.go.set()
    assert sorted(outcomes[7:]) == [n for n in await numbers(store) if n != 99]
    assert len(outcomes) == 10
    assert caplog.text.count("too many changes wait for the database") == 1


async def test_a_thread_that_fails_is_fatal_and_nobody_waits_for_it(store, monkeypatch):
    def broken(_group):
        raise MemoryError

    monkeypatch.setattr(store._writer, "_commit", broken)
    outcomes = []

    async def serve():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            for number in range(3):
                nursery.start_soon(outcome_of, store.write(insert(number)), outcomes)

    with trio.fail_after(5):
        with pytest.raises(ExceptionGroup) as failure:
            await serve()
        assert outcomes == ["its thread failed"] * 3
        assert failure.group_contains(StoreFailed, match="its thread failed: MemoryError")
        with pytest.raises(StoreFailed):
            await store.write(insert(1))


async def test_a_database_that_somebody_else_locks_costs_a_group_one_wait(store):
    await store.read(lambda c: c.execute(text("PRAGMA busy_timeout=200")) and None)
    other = sqlite3.connect(store.path / DATABASE)
    other.execute("BEGIN IMMEDIATE")
    outcomes = []
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(outcome_of, store.write(insert(number)), outcomes)
    assert trio.current_time() - began < 0.2 * 40
    assert len(outcomes) == 40
    assert all("locked" in outcome for outcome in outcomes)
    other.close()
    await store.write(insert(1))
    assert await numbers(store) == [1]
