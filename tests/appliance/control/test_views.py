"""Times are told in whole seconds, never rounded up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.control.views import moment


@pytest.mark.parametrize("rest_ns", [0, 1, 500_000_000, 999_999_999])
def test_whole_seconds(rest_ns):
    told = moment(1_779_976_934_000_000_000 + rest_ns)
    assert told == datetime(2026, 5, 28, 14, 2, 14, tzinfo=UTC)
    assert told.utcoffset() is not None
