"""What `bench crash` calls lost and charged twice; and one real kill."""

from __future__ import annotations

import pytest

from appliance.core.accounting import Counts
from bench import crash
from bench.books import Entry, Ledger


def books_of(settled, charged_bytes, session="tb_1"):
    entry = Entry("ac_1", b"", None)
    return Ledger({session: entry}, {(session, 1): settled}, {"ac_1": charged_bytes}, {})


@pytest.mark.parametrize(
    ("settled", "charged_bytes", "received", "found"),
    [
        (Counts(100, 10), 110, 90, (0, 0)),
        (Counts(100, 10), 110, 100, (0, 0)),
        (Counts(93, 10), 103, 90, (7, 0)),
        (Counts(100, 10), 100, 100, (10, 0)),
        (Counts(100, 10), 220, 100, (0, 110)),
        (Counts(105, 10), 115, 100, (0, 5)),
        (Counts(100, 10), 110, 103, (3, 0)),  # it came, and was never counted
    ],
)
def test_every_byte_that_is_missing_or_too_much_is_found(settled, charged_bytes, received, found):
    left = {("tb_1", 1): Counts(100, 10)}
    assert crash.difference(left, {"tb_1": received}, books_of(settled, charged_bytes)) == found


def test_a_session_that_is_not_in_the_ledger_at_all_is_lost():
    lost, _ = crash.difference({("tb_2", 1): Counts(100, 10)}, {}, books_of(Counts(), 0))
    assert lost == 110


@pytest.mark.netns
def test_a_kill_costs_no_byte():
    rows = {row.name: row for row in crash.measure(runs=1, kills=1, say=print)}
    assert [name for name, row in rows.items() if row.bound == 0] == ["bytes lost", "bytes charged twice"]
    assert rows["bytes lost"].holds
    assert rows["bytes charged twice"].holds
    assert all(len(row.ours) == 1 for row in rows.values())
