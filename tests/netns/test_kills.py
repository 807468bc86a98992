"""kill -9 in mid-download, twenty times: the transfer goes on and no counted byte is missing.

The yardsticks: the counters that a kill left in the mapped file, the ledger in the database, what the
client's own TUN counted, and one TCP connection that lives through all of it.
"""

from __future__ import annotations

import pytest

from bench import books
from bench.process import wait_for
from tests.netns.scene import WEB, Scene

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

KILLS = 20
PROGRESS_BYTES = 400_000


def counted(scene, session):
    """(bytes_in, bytes_out) of the one session in the counter file."""
    (counter,) = [each for each in books.counters(scene.counter_file) if each.life[0] == session]
    return counter.counts.bytes_in, counter.counts.bytes_out


def ledger(scene, session):
    """What is settled for the session, over all lives of its counters."""
    counts = books.ledger(scene.database).of(session)
    return counts.bytes_in, counts.bytes_out


def at_least(one, other):
    return one[0] >= other[0] and one[1] >= other[1]


def test_twenty_kills_in_mid_download():
    with Scene() as scene:
        running = scene.up()
        client = scene.client()
        made = running.create()
        client.up(made["wg_config"])
        # 3 MB/s is enough to be always in the middle of it.
        client.keep_little_in_flight()
        curl = client.host.start(
            "curl", "-sS", "--limit-rate", "3M", "-o", "/dev/null", f"{WEB}/bytes/20000000000"
        )
        seen = (0, 0)
        for number in range(KILLS):
            start = client.inner_bytes()[0]
            wait_for(
                lambda start=start: client.inner_bytes()[0] > start + PROGRESS_BYTES,
                f"the transfer goes on after kill {number}",
                seconds=20,
            )
            running.process.kill()
            left = counted(scene, made["id"])
            # Counted when accepted for sending, so never less than what arrived; and what arrived from the
            # client is at most what it sent.
            received, sent = client.inner_bytes()
            assert left[0] >= received
            assert left[1] <= sent
            assert at_least(left, seen)
            assert at_least(left, ledger(scene, made["id"]))
            running = scene.up()
            shown = running.session(made["id"])
            seen = shown["bytes_in"], shown["bytes_out"]
            assert at_least(seen, left)
            assert curl.poll() is None
        start = client.inner_bytes()[0]
        wait_for(lambda: client.inner_bytes()[0] > start + PROGRESS_BYTES, "the transfer goes on", seconds=20)
        curl.kill()
        final = running.quiet_bytes(made["id"])
        assert final[0] >= client.inner_bytes()[0]
        assert running.stop() == 0
        assert counted(scene, made["id"]) == ledger(scene, made["id"]) == final
        # And nothing is charged twice.
        assert scene.up().quiet_bytes(made["id"]) == final


def test_a_session_that_ended_stays_ended_after_a_kill():
    with Scene() as scene:
        running = scene.up()
        client = scene.client()
        made = running.create()
        client.up(made["wg_config"])
        assert client.download(1_000_000) == 1_000_000
        ended = running.end(made["id"])
        running.process.kill()
        running = scene.up()
        assert running.session(made["id"]) == ended
        assert "peer" not in scene.exit.output("wg", "show", running.interface)
        assert running.usage()["bytes_used"] == ended["bytes_in"] + ended["bytes_out"]


def test_power_loss_takes_at_most_what_came_since_the_last_tick():
    """Then /run is empty: what the ledger has is what is billed, and that is no counter reset."""
    with Scene() as scene:
        running = scene.up()
        client = scene.client()
        made = running.create()
        client.up(made["wg_config"])
        assert client.download(1_000_000) == 1_000_000
        before = running.quiet_bytes(made["id"])
        wait_for(lambda: ledger(scene, made["id"]) == before, "the tick", seconds=30)
        assert client.download(300_000) == 300_000
        after = running.quiet_bytes(made["id"])
        running.process.kill()
        written = ledger(scene, made["id"])
        assert at_least(written, before)
        assert at_least(after, written)
        scene.counter_file.unlink()
        running = scene.up()
        assert running.quiet_bytes(made["id"]) == written
        client.again(made["wg_config"])
        assert client.download(500_000) == 500_000
        total = running.quiet_bytes(made["id"])
        assert total[0] >= written[0] + 500_000
        assert running.usage()["bytes_used"] == sum(total)
        assert [each.life for each in books.counters(scene.counter_file)] == [(made["id"], 2)]
