"""`sallyport genkey`: a new private key, as `wg genkey` prints it."""

from __future__ import annotations

import argparse
import base64
import os
from typing import Final

from appliance.cli.parser import Commands, Parser

_KEY_BYTES: Final = 32
_DESCRIPTION: Final = "Print a new WireGuard private key in base64, like `wg genkey`."


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "genkey",
        help="a new WireGuard private key",
        description=_DESCRIPTION,
        epilog="example:\n  sallyport genkey | tee private.key | wg pubkey",
    )
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    # Random bytes are all that X25519 needs; loading a crypto library for them would cost most of the time.
    key = bytearray(os.urandom(_KEY_BYTES))
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    print(base64.b64encode(key).decode())
    return 0
