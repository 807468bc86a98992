from dataclasses import FrozenInstanceError

import pytest

from appliance.core.actions import HandshakeDone, InstallKeypair, SendInitiation


def test_keys_never_show_in_a_repr():
    action = InstallKeypair(
        send_key=b"S" * 32,
        receive_key=b"R" * 32,
        local_index=1,
        remote_index=2,
        created_ns=3,
        is_initiator=True,
    )
    assert "SSSS" not in repr(action)
    assert "RRRR" not in repr(action)
    assert "local_index=1" in repr(action)


def test_actions_are_values():
    assert SendInitiation(b"x", retry=True) == SendInitiation(b"x", retry=True)
    with pytest.raises(FrozenInstanceError):
        HandshakeDone(1).wall_ns = 2
