"""The pump's thread: it is joined before anybody goes on, however it ends; the two sides agree on numbers."""

from __future__ import annotations

import pytest
import trio

from appliance.net.tun import PumpOffload
from appliance.pump import End, Offload, Pump, aead_path, drive


@pytest.mark.parametrize("path", ["auto", "portable"])
async def test_cancelling_stops_the_loop(path: str) -> None:
    pump = Pump(aead=path, seed=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, pump)
        await trio.sleep(0.02)
        with pytest.raises(RuntimeError):
            pump.close()  # its thread is in C
        nursery.cancel_scope.cancel()
    pump.close()


async def test_stopping_ends_the_task() -> None:
    pump = Pump(seed=1)
    ends: list[End] = []

    async def run() -> None:
        ends.append(await drive(pump))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.sleep(0.02)
            pump.stop()
    assert ends == [End.STOPPED]
    pump.close()


def test_an_unknown_cipher_path_is_refused() -> None:
    with pytest.raises(ValueError, match="rot13"):
        Pump(aead="rot13", seed=1)
    assert aead_path() in ("libcrypto", "portable")


def test_the_network_floor_and_the_pump_mean_the_same_bits() -> None:
    assert {bit.name: bit.value for bit in PumpOffload} == {bit.name: bit.value for bit in Offload}
