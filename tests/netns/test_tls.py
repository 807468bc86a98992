"""The API off the loopback: a warning in plain, HTTPS with a certificate, and one line for a bad one."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bench.process import LabError
from tests.api import certificates
from tests.netns.scene import Scene

pytestmark = pytest.mark.netns

_WARNING = "the session API is plain HTTP off the loopback"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


def test_plain_http_off_the_loopback_is_allowed_with_one_warning(scene: Scene) -> None:
    running = scene.up("--api", "0.0.0.0:0")
    assert running.process.stderr.count(_WARNING) == 1
    running.stop()
    assert _WARNING not in scene.up("--api", "127.0.0.1:0").process.stderr


def test_a_trusted_proxy_is_a_remedy(scene: Scene) -> None:
    assert _WARNING not in scene.up("--api", "0.0.0.0:0", "--trusted-proxies", "10.0.5.2").process.stderr


def test_https_from_the_ready_line_to_a_renewed_certificate(scene: Scene) -> None:
    directory = scene.lab.directory()
    chain, key = certificates.write(directory, *certificates.make("first"))
    running = scene.up("--api", "0.0.0.0:0", "--tls-certificate", str(chain), "--tls-key", str(key))
    ready = running.process.stdout
    assert " api=https://0.0.0.0:" in ready
    assert _WARNING not in running.process.stderr
    port = ready.rpartition(":")[2].strip()
    for name in ("first", "second"):
        certificates.write(directory, *certificates.make(name))
        words = ("curl", "-sS", "--cacert", str(chain), "-4", f"https://localhost:{port}/v1/regions")
        assert json.loads(scene.exit.output(*words))["regions"]
    key.write_text("no key")
    assert scene.exit.output("curl", "-sSk", f"https://127.0.0.1:{port}/v1/regions")
    assert running.process.stderr.count("the old TLS certificate stays") == 1


def test_a_bad_certificate_is_one_line_and_nothing_is_made(scene: Scene) -> None:
    before = scene.traces()
    with pytest.raises(
        LabError, match=r"ended with 2: sallyport: tls_certificate /nowhere/cert\.pem: cannot be read"
    ):
        scene.up("--tls-certificate", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem")
    assert scene.traces() == before
