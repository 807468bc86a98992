"""Names of interfaces: the two rules that everything here goes by. Pure, and quick to import.

The kernel takes nearly anything that fits into 15 bytes; so does `sallyport-wg`, as wireguard-go does, and
so must whoever names an interface that exists already. The exit makes an interface of its own and writes its
name into rules, settings and file names, where quotes, spaces and a star mean more than they say: there only
plain names do.
"""

from __future__ import annotations

import re
from typing import Final

PLAIN_FORM: Final = "an interface name of 1 to 15 letters, digits and _.-, not beginning with . or -"
ANY_FORM: Final = "the name of an interface, at most 15 characters without spaces, slashes and colons"

_MOST_BYTES: Final = 15
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
# The kernel has directories of these names for settings of all interfaces.
_RESERVED: Final = frozenset({".", "..", "all", "default"})


def is_possible(name: str) -> bool:
    """Whether the kernel could have an interface of this name (it also takes %d for a number it chooses)."""
    if not 1 <= len(name.encode(errors="surrogateescape")) <= _MOST_BYTES or name in _RESERVED:
        return False
    return not any(character in "/:" or character.isspace() for character in name)


def is_plain(name: str) -> bool:
    """Whether the exit can make an interface of this name."""
    return _PLAIN.fullmatch(name) is not None and name not in _RESERVED
