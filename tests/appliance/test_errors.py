"""The documented exit codes, and the cause behind nested exception groups."""

from __future__ import annotations

from appliance.errors import (
    InUseError,
    PrivilegeError,
    StateError,
    UsageError,
    UserError,
    cause_of,
)


def test_exit_codes_are_the_documented_ones() -> None:
    codes = [kind.exit_code for kind in (UserError, UsageError, PrivilegeError, InUseError, StateError)]
    assert codes == [1, 2, 3, 4, 5]


def test_a_user_error_is_found_in_nested_groups() -> None:
    wanted = InUseError("port")
    group = BaseExceptionGroup("a", [ValueError("x"), BaseExceptionGroup("b", [KeyError("y"), wanted])])
    assert cause_of(group) is wanted


def test_without_one_the_first_leaf_is_the_cause() -> None:
    first = ValueError("x")
    assert cause_of(BaseExceptionGroup("a", [BaseExceptionGroup("b", [first]), KeyError("y")])) is first
    assert cause_of(first) is first
