"""Prepaid tokens at full speed: billed to the last packet that fits, and not a byte further.

The clients are our own, with every offload: what does not fit lies in the middle of superpackets.
"""

from __future__ import annotations

import pytest

from bench import books
from bench.process import wait_for
from bench.quota import PACKET_BYTES, VISIBLE_SECONDS, WAYS, Account, billed_bytes
from tests.netns.scene import Scene
from tests.stopwatch import stolen_seconds

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

LIMIT = 60_000_000
NEVER = "9999-12-31T23:59:59Z"


def account_with_two_clients(scene, running, limit_bytes=LIMIT):
    account = Account(scene, running, (scene.client(), scene.client()), limit_bytes)
    assert {each["tier"] for each in account.shown()} == {"free"}
    return account


def check_spent(account, shown):
    billed, limit = billed_bytes(shown), account.limit_bytes
    assert limit - PACKET_BYTES < billed <= limit
    assert [each["terminated_reason"] for each in shown] == ["quota_exceeded"] * 2
    for each in shown:
        assert each["tier"] == "free"
        assert (each["quota_bytes_limit"], each["quota_seconds_limit"]) == (limit, 0)
        assert each["quota_bytes_used"] <= billed
    usage = account.running.usage(account.token)
    assert (usage["bytes_used"], usage["bytes_limit"]) == (billed, limit)
    status, refusal = account.running.api("POST", "/v1/sessions", {"region": "local"}, account.token)
    assert status == 402
    assert refusal.pop("hint")
    assert refusal == {
        "error": "quota exceeded",
        "tier": "free",
        "bytes_used": billed,
        "bytes_limit": limit,
        "session_seconds": usage["session_seconds"],
        "session_limit": 0,
        "bytes_window_resets_at": NEVER,
        "seconds_window_resets_at": NEVER,
        "resets_at": NEVER,
    }


@pytest.mark.parametrize("ways", WAYS)
def test_two_sessions_at_full_speed_spend_one_purse(ways):
    with Scene() as scene:
        running = scene.up()
        bystander = running.create()["id"]
        account = account_with_two_clients(scene, running)
        for client, way in zip(account.clients, ways, strict=True):
            account.start(client, way)
        stolen = stolen_seconds()
        seconds, shown = account.wait_until_both_ended()
        # What the document promises, not how fast this machine is.
        assert seconds - (stolen_seconds() - stolen) < VISIBLE_SECONDS
        check_spent(account, shown)
        # The other account's session is all that is left.
        assert scene.exit.output("wg", "show", running.interface, "peers").count("\n") == 1
        assert "terminated_at" not in running.session(bystander)
        assert running.stop() == 0
        ledger = books.ledger(scene.database)
        assert sum(ledger.of(name).total_bytes for name in account.sessions) == billed_bytes(shown)
        # Spent it stays.
        account.running = scene.up()
        check_spent(account, account.shown())


def test_kills_in_mid_transfer_give_no_byte_back():
    """After each kill the purse is made anew, from the ledger and the counters that outlived it."""
    with Scene() as scene:
        running = scene.up()
        account = account_with_two_clients(scene, running)
        for client in account.clients:
            client.keep_little_in_flight()
            account.start(client, "download", "--limit-rate", "1M")
        for _ in range(3):
            # Both: a flow that one outage after the other meets waits longer and longer.
            before = [billed_bytes([each]) for each in account.shown()]
            wait_for(
                lambda before=before: all(
                    billed_bytes([each]) > start + 500_000
                    for each, start in zip(account.shown(), before, strict=True)
                ),
                "the transfers go on",
                seconds=40,
            )
            running.process.kill()
            running = account.running = scene.up()
        assert billed_bytes(account.shown()) < account.limit_bytes
        for client in account.clients:
            account.start(client, "download")
        _, shown = account.wait_until_both_ended()
        check_spent(account, shown)
