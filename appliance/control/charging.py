"""Charge what the counters say: the ledger and the account's window, in one transaction.

Used by the tick, by the end of a session and by the start after a crash. It may be given the same reading
any number of times, or an old one late: only what the ledger does not have yet is charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from appliance.core import accounting
from appliance.core.accounting import Counts, Windows
from appliance.store import accounts, ledger
from appliance.store.ledger import Life


@dataclass(frozen=True)
class Reading:
    """What one life of a session's counters showed."""

    account_id: str
    life: Life
    counts: Counts


@dataclass(frozen=True)
class Charged:
    """What is written down now: the ledger's values and the windows of the accounts that paid."""

    settled: dict[Life, Counts]
    windows: dict[str, Windows]


def charge(connection: Connection, readings: Sequence[Reading], now_ns: int) -> Charged:
    """Raise the ledger to the readings and charge the differences."""
    before = ledger.read(connection, [reading.life for reading in readings])
    settled: dict[Life, Counts] = {}
    windows: dict[str, Windows] = {}
    for reading in readings:
        known = settled.get(reading.life, before.get(reading.life, Counts()))
        settled[reading.life], charge_bytes = accounting.settle(known, reading.counts)
        if charge_bytes:
            account_id = reading.account_id
            old = windows.get(account_id) or accounts.windows(connection, account_id)
            windows[account_id] = old.bytes_settled(charge_bytes, now_ns)
    ledger.write(connection, settled)
    for account_id, new in windows.items():
        accounts.set_windows(connection, account_id, new)
    return Charged(settled, windows)
