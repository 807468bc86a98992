"""What the door refuses, as types. Each dialect in `api/` puts its own words and status on them."""

from __future__ import annotations


class Refused(Exception):
    """Base of all refusals: the request was understood and is not carried out; nothing is left behind."""


class NoActiveNodes(Refused):
    """No node anywhere can carry a session (no usable public address)."""


class NoNodeInRegion(Refused):
    """The region is well formed but no healthy node is in it."""

    def __init__(self, region: str, available: tuple[str, ...]) -> None:
        super().__init__(region)
        self.region = region
        self.available = available


class SubnetExhausted(Refused):
    """Every client address of the pool is leased."""


class BadClientKey(Refused):
    """The client's public key cannot be used; the message says why in a few words."""


class SessionNotFound(Refused):
    """No such session, or one of another account (deliberately the same)."""


class TokenNotFound(Refused):
    """No token of that id."""


class PeerApplyFailed(Refused):
    """The data plane did not take the peer."""


class StorageUnavailable(Refused):
    """The database did not take the commit; nothing was promised."""
