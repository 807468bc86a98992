from dataclasses import FrozenInstanceError

import pytest

from appliance.core.actions import HandshakeDone, InstallKeypair, SendInitiation
from appliance.core.keypairs import Keypair
from appliance.core.noise import Transport


def test_keys_never_show_in_a_repr():
    action = InstallKeypair(Transport(b"S" * 32, b"R" * 32, 2), Keypair(1, 3, is_initiator=True))
    assert "SSSS" not in repr(action)
    assert "RRRR" not in repr(action)
    assert "local_index=1" in repr(action)


def test_actions_are_values():
    assert SendInitiation(b"x", retry=True) == SendInitiation(b"x", retry=True)
    with pytest.raises(FrozenInstanceError):
        HandshakeDone(1).wall_ns = 2
