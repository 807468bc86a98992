"""HTTPS with files that change: new connections see it, open ones do not; bad files change nothing."""

from __future__ import annotations

import io
import json
import os
import ssl
from pathlib import Path

import pytest
import trio

from api.tls import Certificate, certificate
from appliance.errors import UsageError
from appliance.log import setup
from tests.api import certificates
from tests.api.fakes import FakeControl
from tests.api.served import served, shell

_ASK = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return certificates.write(tmp_path, *certificates.make("first"))


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _connect(base: str, context: ssl.SSLContext | None = None) -> trio.SSLStream[trio.SocketStream]:
    raw = await trio.open_tcp_stream("127.0.0.1", int(base.rpartition(":")[2]))
    stream = trio.SSLStream(raw, context or _trusting(), server_hostname="localhost", https_compatible=True)
    try:
        with trio.fail_after(30):
            await stream.do_handshake()
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _shown(stream: trio.SSLStream[trio.SocketStream]) -> str:
    der = stream.getpeercert(binary_form=True)
    assert der
    return certificates.name_of(der)


async def _ask(stream: trio.SSLStream[trio.SocketStream]) -> dict[str, object]:
    await stream.send_all(_ASK)
    answer = b""
    with trio.fail_after(30):
        while not answer.endswith(b"}\n"):
            answer += await stream.receive_some()
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


async def test_curl_over_https(files: tuple[Path, Path]) -> None:
    async with served(FakeControl(), tls=Certificate(*files)) as base:
        assert base.startswith("https://127.0.0.1:")
        for version in ("--http1.1", "--http2"):
            line = f"curl -s {version} --cacert {files[0]} https://localhost:{base.rpartition(':')[2]}/v1/regions"
            assert json.loads(await shell(f"{line} -4")) == {"regions": [{"code": "ash", "node_count": 1}]}


async def test_a_renewed_certificate_is_for_new_connections_and_old_ones_stay(
    files: tuple[Path, Path],
) -> None:
    async with served(FakeControl(), tls=Certificate(*files)) as base:
        old = await _connect(base)
        assert await _shown(old) == "first"
        await _ask(old)
        certificates.write(files[0].parent, *certificates.make("second"))
        new = await _connect(base)
        assert await _shown(new) == "second"
        assert await _ask(new) == await _ask(old)
        await trio.aclose_forcefully(old)
        await trio.aclose_forcefully(new)


@pytest.mark.parametrize("bad", ["nonsense", "gone", "another key"])
async def test_bad_files_are_said_once_and_the_old_certificate_stays(
    files: tuple[Path, Path], bad: str
) -> None:
    log = io.StringIO()
    setup("info", log)
    async with served(FakeControl(), tls=Certificate(*files)) as base:
        if bad == "nonsense":
            files[0].write_bytes(b"no certificate")
        elif bad == "gone":
            files[1].unlink()
        else:
            files[1].write_bytes(certificates.make("third")[1])
        for _ in range(3):
            stream = await _connect(base)
            assert await _shown(stream) == "first"
            await _ask(stream)
            await trio.aclose_forcefully(stream)
        (line,) = log.getvalue().splitlines()
        assert "level=warning" in line
        assert "the old TLS certificate stays" in line
        certificates.write(files[0].parent, *certificates.make("fourth"))
        stream = await _connect(base)
        assert await _shown(stream) == "fourth"
        await trio.aclose_forcefully(stream)
    assert 'msg="TLS certificate loaded"' in log.getvalue().splitlines()[-1]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_old_versions_and_weak_ciphers_are_refused(files: tuple[Path, Path]) -> None:
    async with served(FakeControl(), tls=Certificate(*files)) as base:
        old = _trusting()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(trio.BrokenResourceError):
            await _connect(base, old)
        for ciphers in ("ECDHE+AES:!AESGCM", "kRSA"):
            weak = _trusting()
            weak.maximum_version = ssl.TLSVersion.TLSv1_2
            weak.set_ciphers(ciphers)
            with pytest.raises(trio.BrokenResourceError):
                await _connect(base, weak)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            modern = _trusting()
            modern.minimum_version = modern.maximum_version = version
            stream = await _connect(base, modern)
            cipher = stream.cipher()
            assert cipher is not None
            assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
            await trio.aclose_forcefully(stream)


async def test_plain_http_and_silence_on_the_https_port_hold_nobody_up(files: tuple[Path, Path]) -> None:
    log = io.StringIO()
    setup("info", log)
    async with served(FakeControl(), tls=Certificate(*files)) as base:
        port = int(base.rpartition(":")[2])
        silent = await trio.open_tcp_stream("127.0.0.1", port)
        plain = await trio.open_tcp_stream("127.0.0.1", port)
        await plain.send_all(_ASK)
        with trio.fail_after(30):
            try:
                while await plain.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
        stream = await _connect(base)
        await _ask(stream)
        for each in (silent, plain, stream):
            await trio.aclose_forcefully(each)
    assert log.getvalue() == ""


def test_without_settings_there_is_none() -> None:
    assert certificate(None, None) is None


def test_nothing_is_loaded_again_without_a_change(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = certificate(*files)
    assert one is not None
    context = one.context()
    monkeypatch.setattr("api.tls._load", None)
    assert one.context() is context
    os.utime(files[0], ns=(1, 1))
    with pytest.raises(TypeError):
        one.context()


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ("certificate gone", "cannot be read: No such file"),
        ("key gone", "cannot be read: No such file"),
        ("certificate is a directory", "cannot be read: Is a directory"),
        ("nonsense", "no PEM certificate and key that fit"),
        ("empty", "no PEM certificate and key that fit"),
        ("another key", "the key is not the certificate's"),
        ("encrypted", "the key is encrypted"),
    ],
)
def test_what_cannot_be_used_at_start(files: tuple[Path, Path], problem: str, words: str) -> None:
    chain, key = files
    if problem == "certificate gone":
        chain.unlink()
    elif problem == "key gone":
        key.unlink()
    elif problem == "certificate is a directory":
        chain.unlink()
        chain.mkdir()
    elif problem == "nonsense":
        chain.write_bytes(b"\xff no certificate")
    elif problem == "empty":
        key.write_bytes(b"")
    elif problem == "another key":
        key.write_bytes(certificates.make("other")[1])
    else:
        certificates.write(chain.parent, *certificates.make("secret", b"password"))
    with pytest.raises(UsageError, match=words) as refusal:
        certificate(chain, key)
    assert refusal.value.exit_code == 2
    assert str(refusal.value).isprintable()
