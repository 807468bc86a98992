"""An exit that dies again and again while two sessions of one account carry a transfer each.

Around the transfers other sessions come and go, of that account and of a stranger's, so that slots are freed
and bound anew all the time; they have no client, so that whatever is ever billed on one of them is
somebody else's. Deaths meet requests half-way, and now and then the start after another death.

What is compared: what each answer said before, the counters as a death left them, the ledger before and after
the next start, and what the clients' own interfaces counted.
"""

from __future__ import annotations

import base64
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from appliance.control.ticks import TICK_SECONDS
from appliance.core.accounting import Counts
from bench import books
from bench.books import Ledger, Life
from bench.process import Process, wait_for
from tests.netns.fault import fault, pump_thread
from tests.netns.scene import WEB, Client, Exit, Scene

# In mid-transfer: this much came since the last start, on the way to the client and from it (where what comes
# are acknowledgements).
PROGRESS_BYTES = {"download": 100_000, "upload": 3000}
ENDLESS_BYTES = 10**12
# What may be on its way when the exit dies or be sent in vain before it is back: some windows of 96 KB.
WINDOW_BYTES = 500_000
IDLE_AT_MOST = 4
FAULT_TRIES = 300


@dataclass
class Stream:
    """One of the two transfers: a client, its present session, and curl."""

    client: Client
    session: str = ""
    way: str = "download"
    curl: Process | None = None
    deaths: int = 0  # in the life of the session

    def begin(self, made: dict[str, Any], way: str) -> None:
        self.client.again(made["wg_config"])
        self.session, self.way, self.deaths = made["id"], way, 0
        self.transfer()

    def transfer(self) -> None:
        words = ("-o", "/dev/null", f"{WEB}/bytes/{ENDLESS_BYTES}")
        if self.way == "upload":
            file = self.client.host.lab.directory() / "upload"
            with file.open("wb") as handle:
                handle.truncate(ENDLESS_BYTES)
            words = ("-T", str(file), WEB)
        self.curl = self.client.host.start("curl", "-sS", *words)

    def halt(self) -> None:
        assert self.curl is not None
        self.curl.close()
        self.curl = None

    def moves(self) -> Callable[[], bool]:
        start = self.client.inner_bytes()[0]
        return lambda: self.client.inner_bytes()[0] > start + PROGRESS_BYTES[self.way]


@dataclass
class Lives:
    """`begin`, then `die` as often as you like, then `last_look`. An AssertionError: the books lie."""

    scene: Scene
    dice: Random
    near_ticks: float = 0.0  # so often a death is to come around a settle tick
    started: float = 0.0  # the present process
    running: Exit = field(init=False)
    streams: list[Stream] = field(default_factory=list)
    idle: dict[str, str] = field(default_factory=dict)  # session -> its token
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)  # what its end was answered with
    owners: dict[str, str] = field(default_factory=dict)  # session -> its token, all there ever were
    tenants: dict[int, set[str]] = field(default_factory=dict)  # slot -> accounts that had it
    found: Counter[str] = field(default_factory=Counter)  # what the dice brought
    resent_bytes: int = 0

    def begin(self) -> None:
        self.running = self.scene.up()
        self.payer, self.stranger = self.scene.token(), self.scene.token()
        for _ in range(2):
            client = self.scene.client()
            # Windows that keep little in flight; still many packets to a burst.
            client.keep_little_in_flight()
            client.host.sysctl("net.ipv4.tcp_wmem", "'4096 65536 98304'")
            self.streams.append(Stream(client))
        for stream in self.streams:
            self._begin(stream)
        self._create_idle(self.stranger)
        for stream in self.streams:
            wait_for(stream.moves(), "the transfer begins", seconds=20)

    def die(self, how: signal.Signals) -> None:
        """Let sessions come and go, die in mid-transfer, start again, and compare."""
        waits = [stream.moves() for stream in self.streams]
        self._churn()
        for number, moves in enumerate(waits):
            if self.streams[number].deaths:  # else it was begun a moment ago
                wait_for(moves, f"the {self.streams[number].way} goes on", seconds=30)
        time.sleep(self.dice.uniform(0, 0.3))
        if self.dice.random() < self.near_ticks:
            self._wait_for_a_tick()
        request = self._ask_and_run() if self.dice.random() < 0.4 else None
        self._kill(how)
        counters = books.counters(self.scene.counter_file)
        before = books.ledger(self.scene.database)
        self._compare_with_clients({counter.life: counter.counts for counter in counters})
        if request is not None:
            self._hear(*request, before)
        if self.dice.random() < 0.15:
            self._die_while_starting()
        self.running = self.scene.up()
        self.started = time.monotonic()
        after = books.ledger(self.scene.database)
        self._compare_books({counter.life: counter.counts for counter in counters}, before, after)
        self._compare_slots(counters, after)
        self._compare_answers(after)

    def last_look(self) -> None:
        """Everything stands still: now the sums must be equal to the byte, in all that we can ask."""
        for stream in self.streams:
            stream.halt()
        over = sum(total(said) for name, said in self.ended.items() if self.owners[name] == self.payer)
        spent, used_bytes = wait_for(self._standing_still, "the byte counts stand still", seconds=60)
        assert used_bytes == over + spent
        assert self.running.usage(self.stranger)["bytes_used"] == 0
        for name in self.dice.sample(sorted(self.ended), min(5, len(self.ended))):
            assert self.running.session(name, self.owners[name]) == self.ended[name]
        for stream in self.streams:
            stream.transfer()

    def _standing_still(self) -> tuple[int, int] | None:
        """(bytes of both sessions, use of the account) when no packet came between the questions."""
        before = self._streams_bytes()
        used_bytes = self.running.usage(self.payer)["bytes_used"]
        return (before, used_bytes) if self._streams_bytes() == before else None

    def _streams_bytes(self) -> int:
        return sum(total(self.running.session(stream.session, self.payer)) for stream in self.streams)

    def summary(self) -> str:
        """What has been met so far."""
        shared = sum(len(accounts) > 1 for accounts in self.tenants.values())
        return (
            f"{len(self.owners)} sessions, {shared} of {len(self.tenants)} slots were of both accounts, "
            f"{self.resent_bytes} bytes resent per death at most, {dict(sorted(self.found.items()))}"
        )

    def _kill(self, how: signal.Signals) -> None:
        process = self.running.process
        if how == signal.SIGSEGV:
            tries = FAULT_TRIES if self.dice.random() < 0.5 else 1
            where = fault(process.pid, pump_thread(process.pid), self.dice, tries)
            self.found[f"fault in {where}"] += 1
            assert process.wait() == -signal.SIGSEGV
        else:
            process.kill()
            self.found["SIGKILL"] += 1
        assert all(stream.curl is not None and stream.curl.poll() is None for stream in self.streams)
        for stream in self.streams:
            stream.deaths += 1

    def _die_while_starting(self) -> None:
        process = self.scene.start()
        time.sleep(self.dice.uniform(0, 1.2))
        process.kill()
        self.found["killed while starting"] += 1

    # Sessions that come and go.

    def _begin(self, stream: Stream) -> None:
        made = self.running.create(self.payer)
        self.owners[made["id"]] = self.payer
        stream.begin(made, self.dice.choice(("download", "upload")))

    def _create_idle(self, token: str) -> None:
        name = self.running.create(token)["id"]
        self.owners[name] = self.idle[name] = token

    def _churn(self) -> None:
        if self.dice.random() < 0.12:
            stream = self.dice.choice(self.streams)
            stream.halt()
            self.ended[stream.session] = self.running.end(stream.session, self.payer)
            self._begin(stream)
            self.found["transfers begun anew"] += 1
        if self.idle and self.dice.random() < 0.5:
            self._end_idle(self.dice.choice(sorted(self.idle)))
        if len(self.idle) < IDLE_AT_MOST and self.dice.random() < 0.6:
            self._create_idle(self.dice.choice((self.payer, self.stranger)))

    def _end_idle(self, name: str) -> None:
        self.ended[name] = self.running.end(name, self.idle[name])
        assert total(self.ended[name]) == 0
        del self.idle[name]

    def _wait_for_a_tick(self) -> None:
        """Most lives are shorter than the ten seconds from the first byte to the tick."""
        due = self.started + TICK_SECONDS + self.dice.uniform(-0.5, 0.5)
        time.sleep(max(0.0, due - time.monotonic()))
        self.found["around a tick"] += 1

    def _ask_and_run(self) -> tuple[Process, str, str]:
        """Begin a request that the death may meet anywhere: (curl, token, session to end or "")."""
        name = self.dice.choice(sorted(self.idle)) if self.idle and self.dice.random() < 0.5 else ""
        token = self.idle[name] if name else self.dice.choice((self.payer, self.stranger))
        url = f"http://{self.running.api_address}/v1/sessions"
        words = ("-X", "DELETE", f"{url}/{name}") if name else ("-d", '{"region":"local"}', url)
        header = ("-H", f"Authorization: Bearer {token}")
        curl = self.scene.exit.start("curl", "-sS", "-f", "--max-time", "10", *header, *words)
        time.sleep(self.dice.uniform(0, 0.08))
        return curl, token, name

    def _hear(self, curl: Process, token: str, name: str, before: Ledger) -> None:
        """What was answered holds; what was not may be either way, but one way: the ledger tells which."""
        answered = curl.wait() == 0
        said = json.loads(curl.stdout) if answered else {}
        verb = "end" if name else "create"
        if name:
            done = before.sessions[name].ended is not None
            if done:
                del self.idle[name]
                self.ended[name] = said
        else:
            fresh = before.sessions.keys() - self.owners.keys()
            done = bool(fresh)
            for made in fresh:
                assert said.get("id", made) == made
                self.owners[made] = self.idle[made] = token
            assert len(fresh) <= 1
        assert done or not answered, f"a {verb} was answered and not written down"
        self.found[f"{verb} {'answered' if answered else 'done, not answered' if done else 'not done'}"] += 1

    # What must be true.

    def _compare_with_clients(self, left: dict[Life, Counts]) -> None:
        """Toward the client at least what arrived there, from it at most what it sent; else what was lost."""
        for stream in self.streams:
            counts = left[stream.session, 1]
            received, sent = stream.client.inner_bytes()
            for lost in (counts.bytes_in - received, sent - counts.bytes_out):
                assert 0 <= lost <= stream.deaths * WINDOW_BYTES
                self.resent_bytes = max(self.resent_bytes, lost // stream.deaths)

    def _compare_books(self, left: dict[Life, Counts], before: Ledger, after: Ledger) -> None:
        # No session vanishes, none is resurrected, none appears.
        assert after.sessions == before.sessions
        live = set(self.idle) | {stream.session for stream in self.streams}
        assert after.live() == live == set(after.leases)
        assert after.sessions.keys() == live | self.ended.keys() == self.owners.keys()
        # The ledger is what the data plane counted; of whom no counter is left it is as it was.
        told = {life: counts for life, counts in left.items() if life[0] in after.sessions}
        assert used(after.settled) == used({**before.settled, **told})
        # No byte is charged twice.
        for account, charged in after.charged_bytes.items():
            assert charged == after.of_account(account)

    def _compare_slots(self, counters: list[books.Counter], after: Ledger) -> None:
        """Each live session goes on in its slot, and no other slot is bound."""
        before = {counter.life: counter.index for counter in counters if counter.life[0] in after.live()}
        bound = {counter.life: counter.index for counter in books.counters(self.scene.counter_file)}
        assert bound == before
        assert {name for name, _ in bound} == after.live()
        for (name, _), index in bound.items():
            self.tenants.setdefault(index, set()).add(after.sessions[name].account)
        shown = self.scene.exit.output("wg", "show", self.running.interface, "peers").split()
        keys = {base64.b64encode(after.sessions[name].public_key).decode() for name in after.live()}
        assert set(shown) == keys

    def _compare_answers(self, after: Ledger) -> None:
        """What the API tells: the same sums, between two looks at what moves, and ends as they were told."""
        known = [name for name in self.ended if self.owners[name] == self.payer]
        fixed = sum(after.of(name).total_bytes for name in known)
        low = self._streams_bytes()
        spent = self.running.usage(self.payer)["bytes_used"]
        high = self._streams_bytes()
        assert fixed + low <= spent <= fixed + high
        assert self.running.usage(self.stranger)["bytes_used"] == 0
        for name, said in self.ended.items():
            if not said:  # its end was not answered
                self.ended[name] = said = self.running.session(name, self.owners[name])
            assert Counts(said["bytes_in"], said["bytes_out"]) == after.of(name)
            assert said["terminated_reason"] == after.sessions[name].ended == "client_closed"


def used(settled: Mapping[Life, Counts]) -> dict[Life, Counts]:
    """Without the lives that used nothing: whether they are in the ledger says nothing."""
    return {life: counts for life, counts in settled.items() if counts.total_bytes}


def total(shown: dict[str, Any]) -> int:
    """All bytes of a session, as the API shows it."""
    return int(shown["bytes_in"]) + int(shown["bytes_out"])
