"""Taking up after a stop, a kill and a power loss: no counted byte is lost, none is charged twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.control import starting
from appliance.control.errors import PeerApplyFailed
from appliance.control.views import Account
from appliance.errors import StateError
from appliance.slots import SlotFile
from tests.appliance.control.fakes import DAY_SECONDS, Exit, key
from tests.appliance.control.test_creating import execute


async def test_sessions_go_on_where_they_were(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, address = await node.create(account, key(1))
        node.plane.count(key(1), 100, 10)
        await node.control.settle()
        node.plane.count(key(1), 1, 2)  # never settled by this process
    async with node.again() as node:
        assert node.plane.peers[key(1)][0] == address
        view = await node.control.session(account, session)
        assert (view.bytes_in, view.bytes_out, view.quota_bytes_used) == (101, 12, 113)
        node.plane.count(key(1), 1000, 0)
        view = await node.control.end_session(account, session, "client_closed")
        assert (view.bytes_in, view.bytes_out, view.quota_bytes_used) == (1101, 12, 1113)
    assert not node.slots.bound()


async def test_lost_counters_begin_a_new_generation(tmp_path):
    """Power loss: the counter file is gone. What was settled stays, what comes is added."""
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 100, 10)
        await node.control.settle()
        node.plane.count(key(1), 5, 5)
    for round_number in range(1, 4):
        (tmp_path / "test.slots").unlink()
        async with node.again() as node:
            node.plane.count(key(1), 1, 0)
            view = await node.control.session(account, session)
            assert (view.bytes_in, view.bytes_out) == (100 + round_number, 10)
            await node.control.settle()
            assert execute(node, "SELECT max(generation) FROM settled") == [(1 + round_number,)]
            assert (await node.control.usage(account)).bytes_used == 110 + round_number


async def test_counters_older_than_the_ledger_are_no_reset(tmp_path):
    """Power loss, and the file came back as it was some time ago."""
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 100, 10)
        old = (tmp_path / "test.slots").read_bytes()
        node.plane.count(key(1), 50, 0)
        await node.control.settle()
    (tmp_path / "test.slots").write_bytes(old)
    async with node.again() as node:
        view = await node.control.session(account, session)
        assert (view.bytes_in, view.bytes_out, view.quota_bytes_used) == (150, 10, 160)
        node.plane.count(key(1), 7, 0)
        view = await node.control.end_session(account, session, "client_closed")
        assert (view.bytes_in, view.bytes_out, view.quota_bytes_used) == (157, 10, 167)


async def test_counters_of_another_boot_are_charged_but_not_used_on(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 100, 10)
    node = node.again()
    node.reboot()
    async with node:
        (slot,) = node.slots.bound()
        assert slot.generation == 2
        node.plane.count(key(1), 1, 1)
        assert (await node.control.session(account, session)).bytes_in == 101


@pytest.mark.parametrize("place", ["_settle_and_load", "_take_up", "_serve"])
async def test_a_start_after_a_reboot_that_dies_leaves_the_reboot_to_the_next(tmp_path, monkeypatch, place):
    def die(*args: object, **kwargs: object) -> None:
        raise RuntimeError("power went out again")

    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 100, 10)
        node.pass_time(DAY_SECONDS)
    node = node.again()
    node.reboot()
    with monkeypatch.context() as dying:
        dying.setattr(starting, place, die)
        with pytest.raises(RuntimeError):
            await node.start()
    async with node.again() as node:
        (slot,) = node.slots.bound()
        assert slot.generation > 1
        began_ns, _ = slot.life_ns()
        assert began_ns < 0  # before this boot, as its clock has it
        node.plane.count(key(1), 1, 1)
        view = await node.control.session(account, session)
        assert (view.bytes_in, view.bytes_out) == (101, 11)
        assert node.slots.same_boot


async def test_slots_of_nobody_are_freed(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        node.plane.count(key(1), 9, 0)
        await node.control.end_session(account, session, "client_closed")
        # Killed between commit and free: the slot of the ended session is still bound, with its bytes.
        ended = node.slots.bind(session, 1)
        ended.words[6] = 9
        # Killed between bind and commit: a session that never was.
        node.slots.bind("tb_neverwas", 1).words[6] = 1000
    async with node.again() as node:
        assert node.slots.bound() == []
        assert (await node.control.usage(account)).bytes_used == 9
        assert (await node.control.session(account, session)).bytes_in == 9


async def test_what_cannot_go_on_ends(tmp_path, virtual_time):
    async with Exit(tmp_path) as node:
        account = await node.account()
        outside, _, _ = await node.create(account, key(1))
    async with node.again(pool=IPv4Network("10.55.0.0/24")) as node:
        assert (await node.control.session(account, outside)).terminated_reason == "node_drained"
        refused, _, address = await node.create(account, key(2))
        assert address == IPv4Address("10.55.0.2")
    node = node.again(pool=IPv4Network("10.55.0.0/24"))
    node.plane.fail_add = [ValueError("our own key")]
    async with node:
        assert (await node.control.session(account, refused)).terminated_reason == "node_lost"
        expired, _, _ = await node.create(account, key(3))
    node = node.again(pool=IPv4Network("10.55.0.0/24"))
    node.pass_time(30 * DAY_SECONDS)
    async with node:
        view = await node.control.session(account, expired)
        assert view.terminated_reason == "expired"
        assert node.plane.peers == {}
        assert node.slots.bound() == []


async def test_a_plane_that_does_not_work_stops_the_start(tmp_path):
    async with Exit(tmp_path) as node:
        await node.create(await node.account(), key(1))
    node = node.again()
    node.plane.fail_add = [OSError("no tunnel")]
    with pytest.raises(PeerApplyFailed):
        await node.start()
    async with node.again() as node:
        assert key(1) in node.plane.peers


async def test_too_few_slots_is_said(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        await node.create(account)
        await node.create(account)
    (tmp_path / "test.slots").unlink()
    node = node.again()
    node.slot_count = 1
    with pytest.raises(StateError, match="too small"):
        await node.start()


async def test_leases_survive(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        made = [await node.create(account) for _ in range(4)]
        for number in (2, 0):
            await node.control.end_session(account, made[number][0], "client_closed")
    async with node.again(pool=IPv4Network("10.101.0.0/29")) as node:  # .2 to .6
        again = [(await node.create(account))[2] for _ in range(3)]
        assert again == [IPv4Address("10.101.0.6"), made[2][2], made[0][2]]


async def test_a_command_without_a_process_serves_nobody(tmp_path):
    async with Exit(tmp_path) as node:
        account = await node.account()
        session, _, _ = await node.create(account, key(1))
        other, _, _ = await node.create(account, key(2))
        node.plane.count(key(1), 10, 1)
        node.plane.count(key(2), 20, 2)
    command = node.again(pool=IPv4Network("0.0.0.0/32"))
    await command.start(serve=False)
    assert command.plane.peers == {}
    command.plane.peers[key(1)] = IPv4Address("10.101.0.2"), memoryview(bytearray())
    view = await command.control.end_session(None, session, "admin")
    assert (view.bytes_in, view.bytes_out, view.terminated_reason) == (10, 1, "admin")
    command.stop()
    async with node.again() as node:
        assert list(node.plane.peers) == [key(2)]
        assert (await node.control.session(account, other)).bytes_in == 20
        assert (await node.control.usage(account)).bytes_used == 33


ROOT = Path(__file__).parents[3]

COUNT_AND_DIE = """
import json, os, pathlib, signal, sys
from appliance.slots import SlotFile
slots = SlotFile.open(pathlib.Path(sys.argv[1]), 1)
bound = sorted(slots.bound(), key=lambda slot: slot.index)
for which, bytes_in, bytes_out in json.loads(sys.argv[2]):
    bound[which].words[6] += bytes_in
    bound[which].words[7] += bytes_out
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_counting(path: Path, adds: list[tuple[int, int, int]]) -> None:
    """A process that adds to bound slots, as the pump does, and dies by SIGKILL."""
    command = [sys.executable, "-c", COUNT_AND_DIE, str(path), json.dumps(adds)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


SETTLE_FOR_EVER = """
import pathlib, sys, trio
from tests.appliance.control.fakes import Exit, key

async def main():
    async with Exit(pathlib.Path(sys.argv[1])) as node:
        account = await node.account()
        print("ready", flush=True)
        async def churn(number):
            while True:
                session, _, _ = await node.create(account, key(number))
                await node.control.end_session(account, session, "client_closed")
        async def settle():
            while True:
                await node.control.settle()
                await trio.sleep(0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(settle)
            for number in range(100, 104):
                nursery.start_soon(churn, number)

trio.run(main)
"""


@pytest.mark.timeout(300)
def test_killed_while_creating_ending_and_settling(tmp_path):
    """A whole process under load dies by SIGKILL, six times, while we count into its slots from outside."""

    async def begin() -> tuple[Account, str]:
        async with Exit(tmp_path) as node:
            account = await node.account()
            return account, (await node.create(account, key(1)))[0]

    async def look() -> None:
        async with Exit(tmp_path) as node:
            view = await node.control.session(account, session)
            assert (view.bytes_in, view.bytes_out) == (counted, 0)
            assert (await node.control.usage(account)).bytes_used == counted
            live = execute(node, "SELECT count(*) FROM sessions WHERE terminated_at_ns IS NULL")[0][0]
            assert len(node.plane.peers) == len(node.slots.bound()) == live <= 1 + 4 * 6
            assert execute(node, "SELECT count(*) FROM leases WHERE session_id IS NOT NULL") == [(live,)]

    account, session = trio.run(begin)
    counted = 0
    for life in range(6):
        command = [sys.executable, "-c", SETTLE_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            slots = SlotFile.open(tmp_path / "test.slots", 1)
            (mine,) = [slot for slot in slots.bound() if slot.session_id == session]
            for _ in range(2000 + 777 * life):
                mine.words[6] += 1399
                counted += 1399
            slots.close()
            child.kill()
        trio.run(look)


ADDS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**9), st.integers(0, 10**9)), max_size=5)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.tuples(ADDS, st.booleans(), ADDS), min_size=1, max_size=4))
def test_killed_again_and_again_no_byte_is_lost_or_charged_twice(tmp_path_factory, rounds):
    directory = tmp_path_factory.mktemp("kills")

    async def life(kills: list[list[tuple[int, int, int]]], node: Exit, settle_between: bool) -> Exit:
        async with node:
            if "account" not in known:
                known["account"] = await node.account()
                for number in range(3):
                    known[number] = (await node.create(known["account"], key(number)))[0]
            for adds in kills:
                killed_while_counting(directory / "test.slots", adds)
                if settle_between:
                    await node.control.settle()
        return node

    known: dict = {}
    expected = [[0, 0] for _ in range(3)]
    node = Exit(directory)
    for first, settle_between, second in rounds:
        for which, bytes_in, bytes_out in first + second:
            expected[which][0] += bytes_in
            expected[which][1] += bytes_out
        node = trio.run(life, [first, second], node, settle_between).again()

    async def look() -> None:
        async with node:
            total = 0
            for number in range(3):
                view = await node.control.session(known["account"], known[number])
                assert [view.bytes_in, view.bytes_out] == expected[number]
                total += sum(expected[number])
            assert (await node.control.usage(known["account"])).bytes_used == total

    trio.run(look)
