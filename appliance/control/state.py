"""What `control` knows while it runs: a copy of the rows that matter, and each live session's counters.

One `State` per process, used from Trio's thread only. It follows the database, never the other way: the
fields that are written down change in the `applied` callbacks of commits and nowhere else, so that
what a client is told is always something that a crash would not take back.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from appliance.control.ports import DataPlane, ExitKeys, Flows, NodeFacts
from appliance.control.turns import Turns
from appliance.core import accounting
from appliance.core.accounting import NS_PER_SECOND, Counts, Limits, Purse, Usage, Windows
from appliance.core.leases import Leases
from appliance.slots import WORD_BYTES_IN, WORD_BYTES_OUT, Slot, SlotFile
from appliance.store.sessions import SessionRow
from appliance.store.store import Store
from appliance.store.tokens import TokenRow


@dataclass(eq=False)
class LiveSession:
    """A session whose peer is installed."""

    row: SessionRow
    slot: Slot
    began_boot_ns: int  # its creation on the boot clock: ages never jump with the wall clock
    ends_boot_ns: int  # when it expires
    earlier: Counts = field(default_factory=Counts)  # charged for earlier generations of its counters
    settled: Counts = field(default_factory=Counts)  # charged for the present one

    def reading(self) -> Counts:
        """The present generation's counters; never less than what was charged."""
        return accounting.settle(self.settled, self.slot.counts())[0]

    def counts(self) -> Counts:
        """All bytes since its creation."""
        return self.earlier + self.reading()

    def unsettled_bytes(self) -> int:
        """What the next settling will charge."""
        words, settled = self.slot.words, self.settled
        if words[WORD_BYTES_IN] == settled.bytes_in and words[WORD_BYTES_OUT] == settled.bytes_out:
            return 0  # the common case, asked about every session of an account with each status
        return accounting.settle(self.settled, self.slot.counts())[1]


@dataclass(eq=False)
class AccountState:
    id: str
    tier: str
    windows: Windows = field(default_factory=Windows)
    prepaid_bytes: int | None = None
    spent: bool = False  # a packet did not fit its purse, or nothing is left in it
    revoked: bool = False
    live: dict[str, LiveSession] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        return accounting.limits_of(self.tier, self.prepaid_bytes)

    def unsettled_bytes(self) -> int:
        """What the next settling will charge."""
        return sum(session.unsettled_bytes() for session in self.live.values())


@dataclass(eq=False)
class State:
    """Everything the nouns of `control` share."""

    store: Store
    slots: SlotFile
    dataplane: DataPlane
    flows: Flows
    facts: NodeFacts
    wall: Callable[[], float]
    boot_ns: Callable[[], int]
    rearm: Callable[[], None]
    leases: Leases
    turns: Turns = field(default_factory=Turns)
    accounts: dict[str, AccountState] = field(default_factory=dict)
    tokens: dict[str, TokenRow] = field(default_factory=dict)
    tokens_by_hash: dict[bytes, TokenRow] = field(default_factory=dict)
    live: dict[str, LiveSession] = field(default_factory=dict)
    live_by_key: dict[bytes, LiveSession] = field(default_factory=dict)
    draining: bool = False  # no new sessions (draining.py)
    # Slots of peers that could not be taken out: not to be lent to anybody before the next start.
    haunted_slots: set[Slot] = field(default_factory=set)
    keys: ExitKeys | None = None  # None before the exit has one
    making: Counter[bytes] = field(default_factory=Counter)  # sessions on their way, by the exit's key
    old_key_left: trio.Event = field(default_factory=trio.Event)  # somebody who knew it is gone (rotation.py)

    def wall_ns(self) -> int:
        return int(self.wall() * NS_PER_SECOND)

    def account_of(self, session: LiveSession) -> AccountState:
        return self.accounts[session.row.account_id]

    def usage(self, account: AccountState) -> Usage:
        """What the account has used at this moment, live sessions included."""
        boot_ns = self.boot_ns()
        return accounting.usage(
            account.windows,
            account.limits,
            account.unsettled_bytes(),
            (boot_ns - session.began_boot_ns for session in account.live.values()),
            self.wall_ns(),
        )

    def purse(self, account: AccountState) -> Purse | None:
        """What the account's sessions pay from; None when nothing limits it.

        What it says is left is exact while no peer of the account is in the tunnel, and only then used.
        """
        limits = account.limits
        if limits.window_bytes == 0:
            return None
        left = account.windows.bytes_left(limits, account.unsettled_bytes(), self.wall_ns())
        return Purse(account.id, 0 if account.spent else left)

    def free_slot(self, slot: Slot) -> None:
        if slot not in self.haunted_slots:
            self.slots.free(slot)

    def set_token(self, row: TokenRow) -> None:
        self.tokens[row.id] = row
        self.tokens_by_hash[row.secret_sha256] = row
        # Every token is its own account.
        self.accounts[row.account_id].revoked = row.revoked_at_ns is not None

    def add_live(self, session: LiveSession) -> None:
        self.live[session.row.id] = session
        self.live_by_key[session.row.public_key] = session
        self.account_of(session).live[session.row.id] = session

    def drop_live(self, session: LiveSession) -> None:
        del self.live[session.row.id]
        del self.account_of(session).live[session.row.id]
        if self.live_by_key.get(session.row.public_key) is session:
            del self.live_by_key[session.row.public_key]
        self._left(session.row.exit_key)

    @contextmanager
    def being_made(self, exit_key: bytes) -> Iterator[None]:
        """Hold on to a key of the exit's while a session that will know it is on its way."""
        self.making[exit_key] += 1
        try:
            yield
        finally:
            self.making[exit_key] -= 1
            self._left(exit_key)

    def _left(self, exit_key: bytes) -> None:
        if exit_key != self.facts.public_key:
            self.old_key_left.set()


def secret_hash(secret: str) -> bytes:
    """How a bearer token is kept: it has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
