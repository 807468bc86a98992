"""The pump without its cipher: made in a scratch folder, and its packets are readable on the wire."""

from __future__ import annotations

import os
import subprocess

import pytest

from bench import nocipher
from bench.lab import Lab
from bench.process import wait_for
from bench.roads import LISTEN_PORT, build_pair

TEXT = b"Sally"


def test_the_shipped_library_always_has_a_cipher():
    assert nocipher.path_in_use() != nocipher.PATH


def test_only_what_dead_benches_left_is_swept(tmp_path):
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    kept = [
        tmp_path / f"{nocipher.PREFIX}{os.getpid()}-a",
        tmp_path / f"{nocipher.PREFIX}x-y",
        tmp_path / "z",
    ]
    for folder in (*kept, tmp_path / f"{nocipher.PREFIX}{dead.pid}-abc"):
        folder.mkdir()
        (folder / "file").touch()
    nocipher.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


@pytest.mark.netns
def test_text_crosses_its_tunnel_in_the_clear():
    with Lab() as lab:
        road = build_pair(lab, nocipher.program(lambda line: None))
        tap = road.client.start("tcpdump", "-U", "-s", "0", "-w", "-", "udp", "port", str(LISTEN_PORT))
        wait_for(lambda: "listening on" in tap.stderr, "tcpdump listens")
        # An answer proves that the other end took the packet and sealed one itself.
        road.client.run("ping", "-c", "3", "-i", "0.1", "-p", TEXT.hex(), road.address)
        wait_for(lambda: TEXT * 2 in tap.stdout_bytes, "the text is on the wire")
