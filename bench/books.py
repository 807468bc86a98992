"""What an exit has written down of its clients' bytes, read from outside: its counters and its ledger.

Both are read where they lie, whether the exit runs, was stopped or was killed: the counters from a copy of
the mapped file, the ledger in one transaction that only reads. `bench crash` and the tests that kill
compare the two; what they must be like is in docs/accounting.md.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.core.accounting import Counts
from appliance.slots import SlotFile

Life = tuple[str, int]  # a session and the generation of its counters


@dataclass(frozen=True)
class Counter:
    """A bound slot: its place in the file, whose it is, and what it shows."""

    index: int
    life: Life
    counts: Counts


@dataclass(frozen=True)
class Entry:
    """A session as the database has it; `ended` is the reason, None while it lives."""

    account: str
    public_key: bytes
    ended: str | None


@dataclass(frozen=True)
class Ledger:
    """One consistent look at the database."""

    sessions: Mapping[str, Entry]
    settled: Mapping[Life, Counts]
    charged_bytes: Mapping[str, int]  # by account, in its present window
    leases: Mapping[str, str]  # by session, the address it holds

    def of(self, session: str) -> Counts:
        """All that is settled for a session, over all generations."""
        return sum((counts for life, counts in self.settled.items() if life[0] == session), Counts())

    def of_account(self, account: str) -> int:
        """The bytes of all sessions that an account ever had."""
        return sum(self.of(name).total_bytes for name, row in self.sessions.items() if row.account == account)

    def live(self) -> set[str]:
        return {name for name, row in self.sessions.items() if row.ended is None}


def counters(file: Path) -> list[Counter]:
    """All bound slots of a counter file (where it lies: appliance.slots.default_path)."""
    with TemporaryDirectory() as directory:
        copy = Path(directory) / "slots"
        shutil.copy(file, copy)
        with closing(SlotFile.open(copy, 1)) as slots:
            return [Counter(s.index, (s.session_id, s.generation), s.counts()) for s in slots.bound()]


def ledger(file: Path) -> Ledger:
    """The database of an exit."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        database.execute("BEGIN")
        sessions = database.execute("SELECT id, account_id, public_key, terminated_reason FROM sessions")
        settled = database.execute("SELECT session_id, generation, bytes_in, bytes_out FROM settled")
        charged = database.execute("SELECT id, traffic_used_bytes FROM accounts")
        leases = database.execute("SELECT session_id, address FROM leases WHERE session_id IS NOT NULL")
        return Ledger(
            {name: Entry(account, key, ended) for name, account, key, ended in sessions},
            {(name, generation): Counts(came, went) for name, generation, came, went in settled},
            dict(charged.fetchall()),
            dict(leases.fetchall()),
        )
