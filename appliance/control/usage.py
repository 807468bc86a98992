"""What an account has used, as its owner asks for it."""

from __future__ import annotations

from appliance.control.state import AccountState, State
from appliance.control.views import UsageView, moment


def view(state: State, account: AccountState) -> UsageView:
    """The same numbers, at the same moment, as a live session's quota fields."""
    used, limits = state.usage(account), account.limits
    return UsageView(
        tier=account.tier,
        bytes_used=used.bytes_used,
        bytes_limit=limits.window_bytes,
        session_seconds=used.seconds_used,
        session_seconds_limit=limits.window_seconds,
        max_session_seconds=limits.session_seconds,
        bytes_window_resets_at=moment(used.bytes_reset_ns),
        seconds_window_resets_at=moment(used.seconds_reset_ns),
    )
