"""Clients of an exit; tests/netns uses all of them, here is what needs no network."""

from __future__ import annotations

import pytest

from bench.exit_client import inner_address

CONFIG = "[Interface]\nPrivateKey = x\nAddress = 10.101.0.2/32\nMTU = 1420\n[Peer]\nEndpoint = 192.0.2.1:1\n"


def test_the_address_in_the_tunnel_is_read_from_the_configuration():
    assert inner_address(CONFIG) == "10.101.0.2"
    with pytest.raises(ValueError, match="not enough"):
        inner_address(CONFIG.replace("Address", "Adresse"))
