"""What the door answers: plain frozen records, in units and types that no dialect has touched yet.

`control` fills them, the dialects in `api/` and the operator socket put words on them. Times are
timezone-aware UTC and whole seconds; byte counts and seconds are whole numbers; a limit of 0 means
that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Account:
    """Whoever a bearer token stands for; proof that `Control.authenticate` said yes."""

    id: str
    tier: str


@dataclass(frozen=True)
class NewToken:
    """A token just made. The only moment at which its secret exists outside its owner's hands."""

    id: str
    token: str


@dataclass(frozen=True)
class TokenView:
    id: str
    created_at: datetime
    revoked: bool


@dataclass(frozen=True)
class RegionView:
    code: str
    node_count: int


@dataclass(frozen=True)
class CreatedSession:
    """Answer to a create. `wg_config` is a secret when it holds a private key that we made."""

    id: str
    public_ip: str
    wg_config: str
    expires_at: datetime
    tier: str


@dataclass(frozen=True)
class SessionView:
    """A session as its owner sees it; `bytes_in` is toward the client. Ended sessions never change."""

    id: str
    created_at: datetime
    terminated_at: datetime | None
    terminated_reason: str | None
    bytes_in: int
    bytes_out: int
    tier: str
    quota_bytes_used: int
    quota_bytes_limit: int
    quota_seconds_used: int
    quota_seconds_limit: int


@dataclass(frozen=True)
class UsageView:
    """An account's two windows (7 days of bytes, 24 hours of seconds)."""

    tier: str
    bytes_used: int
    bytes_limit: int
    session_seconds: int
    session_seconds_limit: int
    max_session_seconds: int
    bytes_window_resets_at: datetime
    seconds_window_resets_at: datetime


@dataclass(frozen=True)
class SessionRow:
    """A live session as the operator sees it; `public_key` is base64.

    `old_key`: its configuration names the key that the exit had before the present one.
    """

    id: str
    address: IPv4Address
    public_key: str
    created_at: datetime
    bytes_in: int
    bytes_out: int
    last_handshake: datetime | None
    old_key: bool


@dataclass(frozen=True)
class OldKey:
    """The exit's key before the present one, and who still knows the exit by it.

    The last of its sessions ends at `until`, if nothing ends it before; static peers stay until removed.
    """

    public_key: str
    sessions: int
    static_peers: int
    until: datetime | None


@dataclass(frozen=True)
class Keys:
    """The exit's public keys (base64): what new sessions are told, and the one before while it lives."""

    public_key: str
    old: OldKey | None


@dataclass(frozen=True)
class OperatorToken:
    """The operator's own token: where it is kept, and whether this start made it."""

    created: bool
    path: str
    token: str


def moment(wall_ns: int) -> datetime:
    """A wall-clock time in nanoseconds, as people read it: UTC, whole seconds, never rounded up."""
    return _EPOCH + timedelta(seconds=wall_ns // 1_000_000_000)
