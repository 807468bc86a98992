"""The pump's thread: it is joined before anybody goes on, however it ends; the two sides agree on numbers."""

from __future__ import annotations

import errno

import pytest
import trio

from appliance.errors import UsageError, cause_of
from appliance.log import LogfmtFormatter
from appliance.net.tun import PumpOffload
from appliance.pump import AEAD_PATHS, End, Offload, Pump, PumpFailed, aead_choice, aead_path, drive


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


def test_without_a_word_from_the_environment_the_best_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALLYPORT_AEAD", raising=False)
    assert aead_choice() == "auto"
    assert aead_path() in AEAD_PATHS


@pytest.mark.parametrize("path", ["portable", "libcrypto"])
def test_the_environment_forces_a_path(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_AEAD", path)
    assert aead_choice() == aead_path() == path
    pump = Pump(aead=aead_choice(), seed=1)
    assert pump.aead == path
    pump.close()


@pytest.mark.parametrize("path", ["rot13", "auto", "AVX2", " "])
def test_an_unknown_path_in_the_environment_is_a_usage_error(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALLYPORT_AEAD", path)
    with pytest.raises(UsageError, match="avx512, avx2, portable, libcrypto") as failure:
        aead_choice()
    assert failure.value.exit_code == 2
    assert "\n" not in str(failure.value)


def test_a_path_that_is_not_to_be_had_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise ValueError

    monkeypatch.setattr("appliance.pump.Aead", refuse)
    monkeypatch.setenv("SALLYPORT_AEAD", "avx512")
    with pytest.raises(UsageError, match="cannot run"):
        aead_choice()


def test_a_path_with_wrong_answers_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SALLYPORT_AEAD", raising=False)
    aead_choice()
    assert caplog.records == []
    monkeypatch.setattr("appliance.pump.Aead.broken", lambda path: path == "avx2")
    assert aead_choice() == "auto"
    assert [(r.name, r.levelname) for r in caplog.records] == [("sallyport.pump", "WARNING")]
    assert LogfmtFormatter().format(caplog.records[0]).endswith(
        'part=pump msg="a cipher path fails its self-test and is not used" path=avx2'
    )


def test_the_network_floor_and_the_pump_mean_the_same_bits() -> None:
    assert {bit.name: bit.value for bit in PumpOffload} == {bit.name: bit.value for bit in Offload}


@pytest.mark.parametrize(
    ("ends", "says"), [(OSError(errno.ENFILE, "x"), "Too many open files"), (End.UDP_GONE, "UDP sockets")]
)
async def test_a_loop_that_cannot_go_on_is_one_line(
    ends: OSError | End, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: Pump) -> End:
        if isinstance(ends, OSError):
            raise ends
        return ends

    monkeypatch.setattr(Pump, "run", run)
    pump = Pump(seed=1)
    with pytest.raises(ExceptionGroup) as failure:
        await drive(pump)
    pump.close()
    cause = cause_of(failure.value)
    assert isinstance(cause, PumpFailed)
    assert says in str(cause)
    assert "\n" not in str(cause)
