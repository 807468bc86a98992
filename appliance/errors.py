"""Errors that a user meets, with the exit code that goes with each.

Whatever ends the program on purpose is a `UserError`: one clear line that says what is wrong, where,
and what to do. `cli` prints it as `sallyport: LINE` on stderr and exits with `exit_code`; nothing else
may end in a traceback. The codes are documented in docs/cli.md and are part of the interface.
"""

from __future__ import annotations

from typing import ClassVar


class UserError(Exception):
    """Something failed at run time (exit code 1); the message is one line for a person."""

    exit_code: ClassVar[int] = 1


class UsageError(UserError):
    """A wrong option, argument or configuration (exit code 2)."""

    exit_code = 2


class PrivilegeError(UserError):
    """A privilege or a device is missing (exit code 3)."""

    exit_code = 3


class InUseError(UserError):
    """An interface, state directory, port or pool is in use by somebody else (exit code 4)."""

    exit_code = 4


class StateError(UserError):
    """The state directory cannot be used: unreadable, damaged, or of a newer program (exit code 5)."""

    exit_code = 5


def cause_of(failure: BaseException) -> BaseException:
    """What is behind nested exception groups: a user error if there is one, else the first leaf."""
    leaves = [failure]
    first: BaseException | None = None
    while leaves:
        leaf = leaves.pop(0)
        if isinstance(leaf, BaseExceptionGroup):
            leaves[:0] = leaf.exceptions
        elif isinstance(leaf, UserError):
            return leaf
        elif first is None:
            first = leaf
    return first if first is not None else failure
