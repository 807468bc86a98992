"""Birth and death of a pump, and that the typed face and the C contract say the same."""

from __future__ import annotations

import os
import re
import weakref
from pathlib import Path

import pytest

from crypto_ext import Pump
from crypto_ext._native import ffi, lib
from tests.crypto_ext.rig import START, Rig

API = (Path(__file__).parents[2] / "crypto_ext/api.h").read_text()


@pytest.mark.parametrize("aead", ["auto", "portable"])
def test_the_aead_path_is_as_asked(aead: str) -> None:
    pump = Pump(aead=aead, seed=2**64 + 5)
    assert pump.aead in (("avx512", "avx2", "libcrypto", "portable") if aead == "auto" else ("portable",))
    pump.close()


def test_an_aead_path_that_is_not_here_is_refused() -> None:
    with pytest.raises(ValueError, match="rot13"):
        Pump(aead="rot13", seed=1)


def test_closing_twice_is_fine_and_using_it_then_is_not() -> None:
    pump = Pump(seed=1)
    pump.close()
    pump.close()
    pump.stop()
    for door in (lambda: pump.step(START), pump.ping, pump.stats, pump.run, lambda: pump.add_peer(bytes(32))):
        with pytest.raises(ValueError, match="closed"):
            door()


def test_no_descriptor_and_no_pump_is_left_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with Rig():
            pass
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_slot_s_memory_lives_as_long_as_its_peer() -> None:
    class Memory(bytearray):
        pass

    pump, memory = Pump(seed=1), Memory(256)
    alive = weakref.ref(memory)
    peer = pump.add_peer(bytes(32), memoryview(memory))
    del memory
    assert alive() is not None
    pump.remove_peer(peer)
    assert alive() is None
    pump.close()


def test_every_door_of_the_contract_has_a_method_that_uses_it() -> None:
    face = "".join(
        (Path(__file__).parents[2] / f"crypto_ext/{name}.py").read_text()
        for name in ("pump", "aead", "symmetric")
    )
    doors = set(re.findall(r"\b(sp_\w+)\(", API))
    assert len(doors) > 40
    assert doors - set(re.findall(r"\blib\.(sp_\w+)", face)) == set()


def test_the_abi_is_the_one_compiled() -> None:
    from crypto_ext.pump import ABI

    assert lib.SP_ABI == ABI
    assert ffi.sizeof("struct sp_endpoint") == 24
