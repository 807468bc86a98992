"""docs/api.md runs as it stands: shell examples against a served API, answers with the fields shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from api import connections, listener, shares
from api.body import BODY_LIMIT_BYTES, BODY_TIMEOUT_SECONDS
from appliance.config import resolve
from appliance.control.idempotency import KEYS_PER_ACCOUNT
from tests.api.fakes import TOKEN, FakeControl
from tests.api.served import served, shell

PAGE = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"^```(sh|json)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_every_example_runs_and_answers_as_shown() -> None:
    examples = [text for kind, text in BLOCKS if kind == "sh"]
    assert len(examples) >= 6
    control = FakeControl(region="local")
    async with served(control) as base:
        # One shell, as a reader has: later examples use the variables of earlier ones.
        said = await shell("printf '\\0'\n".join(examples), API=base, TB_KEY=TOKEN)
    answers = [json.loads(answer) for answer in said.split("\0")]
    assert not [answer for answer in answers if "error" in answer]
    assert [key is None for key in control.keys] == [True, False, False, True]
    following = [*BLOCKS[1:], ("", "")]
    shown = [next_ for (kind, _), next_ in zip(BLOCKS, following, strict=True) if kind == "sh"]
    for answer, (kind, text) in zip(answers, shown, strict=True):
        if kind == "json":
            assert list(answer) == list(json.loads(text))


@pytest.mark.parametrize(
    "words",
    [
        *["invalid json", "missing token", "invalid token", "session not found", "not found"],
        *[
            "method not allowed",
            "request body took too long",
            "request body too large",
            "internal error",
            "too many requests at once",
        ],
        *["no active nodes", "no active node in region CODE", "subnet exhausted", "storage unavailable"],
        "quota exceeded",
        "peer apply failed; node may be disconnected",
        *["idempotency key used before with another body", "too many idempotency keys"],
        "idempotency key used before; its answer held a private key and is gone",
    ],
)
def test_the_table_of_errors_has(words: str) -> None:
    assert re.search(rf"^\| \d\d\d \| `{re.escape(words)}` \|", PAGE, re.MULTILINE)


def test_the_limits_are_the_real_ones() -> None:
    for limit in (
        f"| body | {BODY_LIMIT_BYTES // 1024} KiB, {BODY_TIMEOUT_SECONDS} s |",
        f"| headers | {listener.IDLE_SECONDS:.0f} s to arrive; {listener.HEADER_LIMIT_BYTES // 1024} KiB",
        f"| idle connection | {listener.IDLE_SECONDS:.0f} s |",
        f"| answer | {connections.WRITE_SECONDS:.0f} s to be read |",
        f"| connections of one address (IPv6: one /64) | {connections.CONNECTIONS_PER_SOURCE} |",
        f"| requests of one address under way | {shares.REQUESTS_PER_SOURCE} |",
        f"An account has {KEYS_PER_ACCOUNT} keys in 24 hours",
        f"| connections in all | {connections.CONNECTIONS_AT_MOST} |",
    ):
        assert limit in PAGE
    assert f"more than {BODY_LIMIT_BYTES // 1024} KiB" in PAGE
    assert f"more than {BODY_TIMEOUT_SECONDS} s" in PAGE


def test_the_settings_on_the_page_about_security_can_be_used(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text()
    examples = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "x.toml").write_text(example)
        config = resolve({}, tmp_path / "x.toml")
        assert bool(config.tls_key) != bool(config.trusted_proxies)
