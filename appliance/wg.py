"""`sallyport-wg [-f] IFNAME`: a userspace WireGuard interface, started like `wireguard-go`.

Creates the TUN and the control socket, and only then lets the command return 0 while a child serves on
(`-f` stays in the foreground). It ends when the interface is deleted, when its control socket is
removed, or on SIGTERM or SIGINT. The fork comes before any thread, Trio or heavy import: a forked copy
of a running event loop is no event loop. For that reason everything else is imported inside the functions
below.

Exit codes: 0 done; 1 failed; 2 usage; 3 missing privilege or device; 4 interface in use.
Environment: WG_PROCESS_FOREGROUND=1 as -f; LOG_LEVEL=silent|error|verbose; SALLYPORT_OFFLOAD.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from appliance.core.ifnames import ANY_FORM, is_possible

_USAGE = "usage: sallyport-wg [-f|--foreground] IFNAME | --version | --help"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words in (["--help"], ["-h"]):
        print(__doc__.split("\n\n")[0] + "\n\n" + _USAGE)
        return 0
    if words == ["--version"]:
        from appliance import __version__

        print(f"sallyport-wg {__version__}")
        return 0
    foreground = os.environ.get("WG_PROCESS_FOREGROUND") == "1"
    if words and words[0] in ("-f", "--foreground"):
        foreground = True
        words = words[1:]
    if len(words) != 1 or words[0].startswith("-"):
        print(f"sallyport-wg: {_USAGE}", file=sys.stderr)
        return 2
    if not is_possible(words[0]):
        print(f"sallyport-wg: IFNAME must be {ANY_FORM}, not {words[0]!r}", file=sys.stderr)
        return 2
    return _serve(words[0], lambda: None) if foreground else _daemon(words[0])


def _daemon(name: str) -> int:
    """Fork; the parent returns when the child is ready or has failed, with the child's code."""
    read_end, write_end = os.pipe()
    if os.fork() > 0:
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            word = pipe.read(1)
        return word[0] if word else 1
    # Whatever else we were given stays with whoever gave it: a pipe's reader must not wait for our end.
    os.closerange(3, write_end)
    os.closerange(write_end + 1, os.sysconf("SC_OPEN_MAX"))
    os.setsid()

    def ready() -> None:
        silence()
        os.write(write_end, b"\0")
        os.close(write_end)

    code = _serve(name, ready)
    if code != 0:
        try:
            os.write(write_end, bytes([code]))
        except OSError:  # the parent heard "ready" long ago
            os._exit(code)
    os._exit(code)


def silence() -> None:
    """Let go of the terminal: whoever started us may close it."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.chdir("/")


def _serve(name: str, ready: Callable[[], None]) -> int:
    """Serve the interface to its end; `ready` is called once it exists and can be configured."""
    import signal

    from appliance import log
    from appliance.errors import UserError, cause_of

    word = os.environ.get("LOG_LEVEL", "error")
    level = {"silent": "error", "verbose": "debug"}.get(word, word)
    log.setup(level if level in log.LEVELS else "error", None if word == "silent" else sys.stderr)
    # Until the event loop hears signals itself there is nothing to put back.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    try:
        import trio

        from appliance.wg_serve import serve

        trio.run(serve, name, ready)
    except BaseException as failure:
        cause = cause_of(failure)
        if not isinstance(cause, UserError):
            raise
        print(f"sallyport-wg: {cause}", file=sys.stderr)
        return cause.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
