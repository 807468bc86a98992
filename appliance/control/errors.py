"""What the door refuses, as types. Each dialect in `api/` puts its own words and status on them."""

from __future__ import annotations

from appliance.control.views import UsageView


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


class QuotaExceeded(Refused):
    """The account has used up what it may use; `usage` is what it has used, and when that resets."""

    def __init__(self, usage: UsageView) -> None:
        super().__init__("quota exceeded")
        self.usage = usage


class BadAmount(Refused):
    """A number of prepaid bytes that cannot be; the message says what can."""


class SubnetExhausted(Refused):
    """Every client address of the pool is leased."""


class BadClientKey(Refused):
    """The client's public key cannot be used; the message says why in a few words."""


class KeyReused(Refused):
    """The idempotency key was used before, with another body."""


class AnswerGone(Refused):
    """The idempotency key was used before, and its answer held a private key that is nowhere any more."""


class TooManyKeys(Refused):
    """The account has used as many idempotency keys as are remembered."""


class SessionNotFound(Refused):
    """No such session, or one of another account (deliberately the same)."""


class TokenNotFound(Refused):
    """No token of that id."""


class KeyInUse(Refused):
    """The exit's key cannot be rotated now; the message says why, and what to do."""


class PeerApplyFailed(Refused):
    """The data plane did not take the peer."""


class StorageUnavailable(Refused):
    """The database did not take the commit; nothing was promised."""
