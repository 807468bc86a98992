"""docs/operating.md and security.md run as they stand: shell examples on a host with an exit at work."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bench.lab import Lab
from tests.netns.test_docs import blocks, shell

pytestmark = pytest.mark.netns

# The exit that the page's reader has. Its counters, too, must not be the machine's.
RUNNING = """\
mkdir -p /run/sallyport; mount -t tmpfs tmpfs /run/sallyport
ready() { for n in $(seq 400); do grep -q ready /run/sallyport/said && return; sleep 0.1; done; exit 1; }
start() { sallyport up --public-ip 203.0.113.7 --interface INTERFACE >/run/sallyport/said & exit_=$!; ready; }
service_stop() { kill $exit_; wait $exit_; : >/run/sallyport/said; }
service_start() { start; }
start
cd /run/sallyport
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def test_the_page(lab: Lab) -> None:
    host = lab.host("h")
    host.address("lo", "203.0.113.7/32")
    examples = blocks("operating.md")
    script = RUNNING.replace("INTERFACE", lab.name("x")) + "".join(examples) + "service_stop\n"
    printed = shell(script, host)
    assert "health        well: pump ok, database ok" in printed
    assert '"well": true' in printed
    assert "PUBLIC KEY  SESSION" in printed
    assert printed.count("draining: no new sessions; 0 sessions live\n") == 2
    assert printed.count("not draining; 0 sessions live\n") == 1
    assert re.search(r"^public key  \S{44}$", printed, re.MULTILINE)  # what `key rotate` answers
    assert "sallyport.toml is good\n" in printed
    assert re.search(r"^region +fsn +file$", printed, re.MULTILINE)
    assert "manifest.json: OK\n" in printed
    restored = r"^restored the state of \S+Z with 0 live sessions; .* /var/lib/sallyport/before-restore-\w+$"
    assert re.search(restored, printed, re.MULTILINE)


def test_nobody_else_reads_what_is_stored(lab: Lab) -> None:
    host = lab.host("h")
    host.address("lo", "203.0.113.7/32")
    (example,) = blocks("security.md")
    started = RUNNING.replace("INTERFACE", lab.name("x"))
    planted = "touch /var/lib/sallyport/open; chmod 644 /var/lib/sallyport/open\n"
    script = f"{started}umask 022\n{example}{planted}{example}service_stop\n"
    assert shell(script, host) == "/var/lib/sallyport/open\n", "nothing, until something is"
