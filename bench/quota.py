"""`bench quota`: does a prepaid account end where it should, at full speed?

For each run a new prepaid token with two sessions, each on a client of its own with every offload, both with
a transfer at full speed (downloads, uploads, one of each, in turns). What does not fit lies in the middle of
superpackets. Three figures, of which the worst counts:

    bytes past the purse                billed more than paid for
    bytes left unused                   paid for and not billed: less than one packet
    until quota_exceeded is visible     from the last billed byte to the answer that says so, both sessions'
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import Any

from bench.exit_client import WEB, Client
from bench.exit_scene import OURS, Exit, Scene
from bench.process import LabError, Process
from bench.registry import Bench, Say, whole_number
from bench.rows import Row

PACKET_BYTES = 1420  # the largest that such a tunnel carries
VISIBLE_SECONDS = 1.0  # the bound
PATIENCE_SECONDS = 60.0
WAYS = (("download", "download"), ("download", "upload"), ("upload", "upload"))


class Account:
    """A prepaid token with a session on each of two clients, each in its tunnel."""

    def __init__(self, scene: Scene, running: Exit, clients: tuple[Client, Client], limit_bytes: int) -> None:
        self.scene, self.running, self.clients = scene, running, clients
        self.limit_bytes = limit_bytes
        self.token = scene.token("--bytes", str(limit_bytes))
        made = [running.create(self.token) for _ in clients]
        self.sessions = [session["id"] for session in made]
        for client, session in zip(clients, made, strict=True):
            client.again(session["wg_config"], OURS)
            if client.download(10_000) != 10_000:
                raise LabError("the tunnel does not work")

    def shown(self) -> list[dict[str, Any]]:
        """Both sessions, as the API shows them."""
        return [self.running.session(name, self.token) for name in self.sessions]

    def start(self, client: Client, way: str, *options: str) -> Process:
        """A transfer of more than the account has paid for."""
        many = 50 * self.limit_bytes
        if way == "download":
            words = ("-o", "/dev/null", f"{WEB}/bytes/{many}")
        else:
            file = self.scene.lab.directory() / "upload"
            with file.open("wb") as handle:
                handle.truncate(many)
            words = ("-T", str(file), WEB)
        return client.host.start("curl", "-sS", *options, *words)

    def wait_until_both_ended(self) -> tuple[float, list[dict[str, Any]]]:
        """How long after the last billed byte was seen both ends were, and the final states."""
        billed, since = -1, time.monotonic()
        deadline = since + PATIENCE_SECONDS
        while True:
            asked = time.monotonic()
            shown = self.shown()
            if billed_bytes(shown) != billed:
                billed, since = billed_bytes(shown), asked
            if all("terminated_at" in each for each in shown):
                return time.monotonic() - since, shown
            if time.monotonic() > deadline:
                raise LabError(f"not ended within {PATIENCE_SECONDS:g} s: {shown}")


def billed_bytes(shown: list[dict[str, Any]]) -> int:
    """What these sessions were billed together."""
    return sum(int(each["bytes_in"]) + int(each["bytes_out"]) for each in shown)


@dataclass
class Samples:
    """What was measured, a figure per account."""

    past_bytes: list[float] = field(default_factory=list)
    unused_bytes: list[float] = field(default_factory=list)
    visible_seconds: list[float] = field(default_factory=list)

    def rows(self) -> list[Row]:
        return [
            Row("bytes past the purse", "B", "lower", tuple(self.past_bytes), bound=0, worst=True),
            Row("bytes left unused", "B", "lower", tuple(self.unused_bytes), bound=PACKET_BYTES - 1,
                worst=True),
            Row("until quota_exceeded is visible", "s", "lower", tuple(self.visible_seconds),
                bound=VISIBLE_SECONDS, worst=True),
        ]  # fmt: skip


def spend(account: Account, ways: tuple[str, str], samples: Samples) -> None:
    """All that an account has paid for."""
    transfers = [account.start(*each) for each in zip(account.clients, ways, strict=True)]
    seconds, shown = account.wait_until_both_ended()
    for transfer in transfers:
        transfer.close()
    reasons = [each["terminated_reason"] for each in shown]
    if reasons != ["quota_exceeded"] * 2:
        raise LabError(f"the sessions ended for another reason: {reasons}")
    billed = billed_bytes(shown)
    samples.past_bytes.append(max(0, billed - account.limit_bytes))
    samples.unused_bytes.append(max(0, account.limit_bytes - billed))
    samples.visible_seconds.append(seconds)


def measure(runs: int, limit_bytes: int, say: Say) -> list[Row]:
    samples = Samples()
    with Scene() as scene:
        running = scene.up()
        clients = scene.client(), scene.client()
        for number in range(runs):
            ways = WAYS[number % len(WAYS)]
            spend(Account(scene, running, clients, limit_bytes), ways, samples)
            say(
                f"{number + 1}/{runs} {' and '.join(ways)}: {samples.past_bytes[-1]:.0f} bytes past the"
                f" purse, {samples.unused_bytes[-1]:.0f} unused,"
                f" visible after {samples.visible_seconds[-1]:.2f} s"
            )
    return samples.rows()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--megabytes", type=whole_number(1), default=200, help="what each account pays for (default: 200)"
    )


BENCH = Bench(
    name="quota",
    help="a prepaid account at full speed: bytes past the purse, bytes unused, and when its end is seen",
    run=lambda options, say: measure(options.runs, options.megabytes * 1_000_000, say),
    add_options=add_options,
    programs=("ip", "wg", "nft", "curl", "setpriv"),
)
