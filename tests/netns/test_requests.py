"""Bad requests over real HTTP: the documented status, an error in JSON, and nothing leaked."""

from __future__ import annotations

import base64
import json

import pytest

from tests.netns.scene import Scene

pytestmark = pytest.mark.netns

KEY = base64.b64encode(bytes(31) + b"\x09").decode()
WITH_KEY = '{"region": "local", "client_public_key": "'

BAD_CREATES = [
    ('{"region": ', 400, "invalid json"),
    ("", 400, "invalid json"),
    ("\x01\u00ff", 400, None),
    ("[]", 400, None),
    ("{}", 400, None),
    ('{"region": 7}', 400, None),
    ('{"region": null}', 400, None),
    ('{"region": ""}', 400, None),
    ('{"region": "No Such Form!"}', 400, None),
    ('{"region": "mars"}', 503, "no active node in region mars"),
    ('{"region": "local", "client_public_key": 7}', 400, None),
    (WITH_KEY + 'short"}', 400, None),
    (WITH_KEY + KEY[:-1] + '"}', 400, None),
    (WITH_KEY + base64.b64encode(bytes(32)).decode() + '"}', 400, None),
]


@pytest.fixture(scope="module")
def running():
    with Scene() as scene:
        # Room for five clients: a leaked lease would be missed at once.
        yield scene.up("--pool", "10.77.0.0/29")


def test_bad_creates_leak_no_lease(running):
    for text, status, words in BAD_CREATES:
        got, body = running.api("POST", "/v1/sessions", raw=text)
        assert got == status, (text, body)
        assert isinstance(body["error"], str), text
        assert body["error"]
        if words is not None:
            assert body["error"] == words
    made = [running.create() for _ in range(5)]
    assert running.api("POST", "/v1/sessions", {"region": "local"}) == (503, {"error": "subnet exhausted"})
    for session in made:
        running.end(session["id"])
    running.end(running.create()["id"])


def test_an_unknown_region_says_which_there_are(running):
    body = running.api("POST", "/v1/sessions", {"region": "mars"})[1]
    assert body["available"] == ["local"]


def test_the_exits_own_key_is_no_client(running):
    status, body = running.api(
        "POST", "/v1/sessions", {"region": "local", "client_public_key": running.public_key}
    )
    assert status == 400
    assert body["error"]


@pytest.mark.parametrize("size", [65_537, 1_000_000])
def test_a_huge_body(running, size):
    scene = running.scene
    file = scene.lab.directory() / "body"
    file.write_bytes(b'{"region": "' + b"x" * size + b'"}')
    words = ("curl", "-sS", "-o", "-", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {running.token}")
    said = scene.exit.output(*words, "--data-binary", f"@{file}", f"http://{running.api_address}/v1/sessions")
    body, _, status = said.rpartition("\n")
    assert status == "413"
    assert list(json.loads(body)) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/sessions", 405),
        ("POST", "/v1/regions", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/v1/sessions/tb_nosuch", 404),
        ("DELETE", "/v1/sessions/tb_nosuch", 404),
        ("GET", "/v1/sessions/%00%ff", 404),
    ],
)
def test_wrong_doors(running, method, path, status):
    got, body = running.api(method, path)
    assert got == status
    assert next(iter(body)) == "error"


def test_tokens(running):
    scene = running.scene
    url = f"http://{running.api_address}/v1/usage"
    assert json.loads(scene.exit.output("curl", "-sS", url)) == {"error": "missing token"}
    assert running.api("GET", "/v1/usage", token="wrong") == (401, {"error": "invalid token"})
    # Regions are public.
    assert "regions" in json.loads(scene.exit.output("curl", "-sS", url.replace("usage", "regions")))
