"""`sallyport version`: which program this is and, when asked, what it can use of this machine."""

from __future__ import annotations

import argparse

from appliance import __version__
from appliance.cli.asking import show_json
from appliance.cli.parser import Commands, Parser


def add(commands: Commands[Parser]) -> None:
    parser = commands.add_parser(
        "version",
        help="the version, and what this machine offers",
        description="Print the version; with --verbose also the cipher path and the offloads in use here.",
        epilog="example:\n  sallyport version --verbose",
    )
    parser.add_argument("--verbose", action="store_true", help="also aead: ... and offload: ...")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    answer = {"version": __version__}
    if options.verbose:
        from appliance.pump import aead_broken, aead_path

        answer["aead"] = aead_path()
        if broken := aead_broken():
            answer["aead broken"] = " ".join(broken)
        answer["offload"] = _offload()
    if options.json:
        show_json(answer)
        return 0
    print(f"sallyport {answer.pop('version')}")
    for name, words in answer.items():
        print(f"{name}: {words}")
    return 0


def _offload() -> str:
    """What `up` would use: what the kernel takes, as far as SALLYPORT_OFFLOAD lets it be asked for."""
    from appliance.net.tun import OFFLOAD_VARIABLE, OffloadKnob, offload_knob, probe_offloads

    knob = offload_knob()
    if knob is OffloadKnob.NONE:
        return f"none ({OFFLOAD_VARIABLE}=none)"
    words = probe_offloads()
    if knob is OffloadKnob.TSO:
        words = [word for word in words if not word.startswith("uso")]
        return " ".join([*words, f"({OFFLOAD_VARIABLE}=tso)"])
    return " ".join(words) or "none"
