"""Prepaid tokens at full speed: billed to the last packet that fits, and not a byte further.

The clients are our own, with every offload: what does not fit lies in the middle of superpackets.
"""

from __future__ import annotations

import json
import sqlite3
import time

import pytest

from appliance.store.store import DATABASE
from bench.process import wait_for
from tests.netns.scene import OURS, WEB, Scene

pytestmark = [pytest.mark.netns, pytest.mark.timeout(180)]

LIMIT = 60_000_000
PACKET = 1420  # the largest one that this tunnel carries
NEVER = "9999-12-31T23:59:59Z"


def prepaid(scene, amount=LIMIT):
    words = ("token", "create", "--bytes", str(amount), "--json", "--state-dir", str(scene.state))
    return json.loads(scene.command(*words).stdout)["token"]


class Account:
    """A prepaid token with two sessions, each on a client of its own."""

    def __init__(self, scene, running, amount=LIMIT):
        self.running, self.token, self.limit = running, prepaid(scene, amount), amount
        self.clients = [scene.client() for _ in range(2)]
        made = [running.create(self.token) for _ in self.clients]
        self.sessions = [session["id"] for session in made]
        assert {session["tier"] for session in made} == {"free"}
        for client, session in zip(self.clients, made, strict=True):
            client.up(session["wg_config"], OURS)
            assert client.download(10_000) == 10_000

    def shown(self):
        return [
            self.running.api("GET", f"/v1/sessions/{name}", token=self.token)[1] for name in self.sessions
        ]

    def usage(self):
        return self.running.api("GET", "/v1/usage", token=self.token)[1]

    def create(self):
        return self.running.api("POST", "/v1/sessions", {"region": "local"}, self.token)

    def start(self, client, way, *options):
        many = 50 * self.limit
        if way == "download":
            words = ("-o", "/dev/null", f"{WEB}/bytes/{many}")
        else:
            file = client.host.lab.directory() / "upload"
            with file.open("wb") as handle:
                handle.truncate(many)
            words = ("-T", str(file), WEB)
        return client.host.start("curl", "-sS", *options, *words)

    def wait_until_both_ended(self):
        """How long after the last billed byte was seen both ends were, and the final states."""
        billed, since = -1, time.monotonic()
        deadline = since + 60
        while True:
            asked = time.monotonic()
            shown = self.shown()
            if sum(map(total, shown)) != billed:
                billed, since = sum(map(total, shown)), asked
            if all("terminated_at" in each for each in shown):
                return time.monotonic() - since, shown
            assert time.monotonic() < deadline, shown

    def check_spent(self, shown):
        billed = sum(map(total, shown))
        assert self.limit - PACKET < billed <= self.limit
        assert [each["terminated_reason"] for each in shown] == ["quota_exceeded"] * 2
        for each in shown:
            assert each["tier"] == "free"
            assert (each["quota_bytes_limit"], each["quota_seconds_limit"]) == (self.limit, 0)
            assert each["quota_bytes_used"] <= billed
        usage = self.usage()
        assert (usage["bytes_used"], usage["bytes_limit"]) == (billed, self.limit)
        status, refusal = self.create()
        assert status == 402
        assert refusal.pop("hint")
        assert refusal == {
            "error": "quota exceeded",
            "tier": "free",
            "bytes_used": billed,
            "bytes_limit": self.limit,
            "session_seconds": usage["session_seconds"],
            "session_limit": 0,
            "bytes_window_resets_at": NEVER,
            "seconds_window_resets_at": NEVER,
            "resets_at": NEVER,
        }


def total(shown):
    return shown["bytes_in"] + shown["bytes_out"]


@pytest.mark.parametrize("ways", [("download", "download"), ("download", "upload"), ("upload", "upload")])
def test_two_sessions_at_full_speed_spend_one_purse(ways):
    with Scene() as scene:
        running = scene.up()
        bystander = running.create()["id"]
        account = Account(scene, running)
        for client, way in zip(account.clients, ways, strict=True):
            account.start(client, way)
        seconds, shown = account.wait_until_both_ended()
        assert seconds < 1
        account.check_spent(shown)
        # The other account's session is all that is left.
        assert scene.exit.output("wg", "show", running.interface, "peers").count("\n") == 1
        assert "terminated_at" not in running.session(bystander)
        assert running.stop() == 0
        database = sqlite3.connect(f"file:{scene.state / DATABASE}?mode=ro", uri=True)
        ledger = database.execute("SELECT sum(bytes_in + bytes_out) FROM settled").fetchone()[0]
        database.close()
        assert ledger == sum(map(total, shown))
        # Spent it stays.
        account.running = scene.up()
        account.check_spent(account.shown())


def test_kills_in_mid_transfer_give_no_byte_back():
    """After each kill the purse is made anew, from the ledger and the counters that outlived it."""
    with Scene() as scene:
        running = scene.up()
        account = Account(scene, running, amount=12_000_000)
        for client in account.clients:
            client.host.sysctl("net.ipv4.tcp_rmem", "'4096 65536 98304'")
            account.start(client, "download", "--limit-rate", "1M")
        before = 0
        for _ in range(3):
            wait_for(
                lambda before=before: sum(map(total, account.shown())) > before + 1_500_000,
                "the transfers go on",
                seconds=40,
            )
            running.process.kill()
            running = account.running = scene.up()
            before = sum(map(total, account.shown()))
        assert before < account.limit
        _, shown = account.wait_until_both_ended()
        account.check_spent(shown)
