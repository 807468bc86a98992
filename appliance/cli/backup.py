"""`sallyport backup FILE`: the state in one checked file, whether an exit runs or not."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from appliance.cli.asking import add_options, ask, show_json
from appliance.cli.parser import Commands, Parser
from appliance.errors import UserError

_DESCRIPTION: Final = """\
Write everything that an exit cannot make anew (database, private key, address pool, operator token) into one
file that only its owner can read. A running exit goes on meanwhile; bytes counted so far are settled first.
The file is read back and its checksums compared before it gets its name; an older one of that name is
replaced.
"""


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "backup",
        help="the state in one checked file",
        description=_DESCRIPTION,
        epilog="example:\n  sallyport backup /root/exit.backup",
    )
    parser.add_argument("file", metavar="FILE", help="where to write it; it is as secret as the private key")
    add_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    target = Path(options.file)
    if target.is_dir():
        raise UserError(f"{target} is a directory: give the name of a file")
    made = Path(ask(options, "backup")["file"])
    from appliance.store.backup import verify

    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        with made.open("rb") as source, open(os.open(part, _FLAGS, 0o600), "wb") as copy:
            os.fchmod(copy.fileno(), 0o600)
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        manifest = verify(part)
        size = part.stat().st_size
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
    if options.json:
        names = list(manifest.files)
        words = {"made_at": manifest.made_at, "program": manifest.program, "schema": manifest.schema}
        show_json({"file": str(target), "bytes": size, **words, "contains": names})
    else:
        print(f"backup {target}: {size} bytes, {', '.join(manifest.files)}")
    return 0


_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
