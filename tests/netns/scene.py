"""The stage of these tests: clients, an exit host and the outside; see bench/exit_scene.py."""

from __future__ import annotations

from bench.exit_client import OUTSIDE, PEER, WEB, Client, inner_address
from bench.exit_scene import EXIT, OURS, PRIVATE, PROGRAM, ROOT, WEB_PORT, Exit, Scene

__all__ = [
    "EXIT",
    "OURS",
    "OUTSIDE",
    "PEER",
    "PRIVATE",
    "PROGRAM",
    "ROOT",
    "WEB",
    "WEB_PORT",
    "Client",
    "Exit",
    "Scene",
    "inner_address",
]
