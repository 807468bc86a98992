"""The main road, end to end: one command, one HTTP call, a stock client, and out."""

from __future__ import annotations

import json
import re
import stat
import sys

import pytest

from bench import wireguard
from bench.process import wait_for
from tests.netns.scene import EXIT, PROGRAM, WEB, Scene, inner_address

pytestmark = pytest.mark.netns

MEGABYTE = 1_000_000


def config_words(text):
    return [line.partition("=")[0].strip() for line in text.splitlines() if line.strip()]


def test_the_ready_line_is_all_of_stdout_and_true(scene, running):
    assert running.process.stdout.count("\n") == 1
    assert running.interface == scene.interface
    host, _, port = running.endpoint.rpartition(":")
    assert host == EXIT
    assert scene.exit.listens(int(port), "udp")
    assert running.api_address == "127.0.0.1:8080"
    assert scene.exit.output("wg", "show", running.interface, "public-key").strip() == running.public_key


def test_the_operator_token_is_a_private_file_and_not_in_the_log(scene, running):
    file = scene.state / "operator.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert running.token not in running.process.stderr
    assert str(file) in running.process.stderr


def test_create_as_the_api_page_writes_it(scene, running):
    """The page's own words: no content type is given, so curl says it is a form."""
    said = scene.exit.output(
        "sh", "-c",
        f'TB_KEY={running.token}; curl -sX POST http://{running.api_address}/v1/sessions'
        """ -H "Authorization: Bearer $TB_KEY" -d '{"region":"local"}'""",
    )  # fmt: skip
    made = json.loads(said)
    assert set(made) == {"id", "public_ip", "wg_config", "expires_at", "tier"}
    assert made["public_ip"] == EXIT
    assert made["tier"] == "paid"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["expires_at"])
    interface, peer = (
        ["PrivateKey", "Address"],
        ["PublicKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"],
    )
    assert config_words(made["wg_config"]) == ["[Interface]", *interface, "[Peer]", *peer]
    running.end(made["id"])


def test_a_stock_client_gets_out_with_the_configuration_as_it_is(scene, running, client):
    made = running.create()
    client.quick_up(made["wg_config"])
    assert client.curl(f"{WEB}/ip") == EXIT == made["public_ip"]
    assert client.download(20 * MEGABYTE) == 20 * MEGABYTE
    assert client.upload(10 * MEGABYTE) == 10 * MEGABYTE
    came, went = running.quiet_bytes(made["id"])
    assert came > 20 * MEGABYTE
    assert went > 10 * MEGABYTE
    usage = running.api("GET", "/v1/usage")[1]
    assert usage["bytes_used"] >= came + went
    assert usage["bytes_limit"] == 0

    shown = scene.exit.output("wg", "show", running.interface, "dump").splitlines()[1].split("\t")
    v4, v6 = shown[3].split(",")
    assert v4 == f"{inner_address(made['wg_config'])}/32"
    assert v6 in made["wg_config"], "the /128 of the same configuration"
    assert shown[2].startswith("192.0.2.2:")
    assert int(shown[4]) > 0  # a handshake
    listed = json.loads(scene.command("sessions", "list", "--state-dir", str(scene.state), "--json").stdout)
    (row,) = [row for row in listed if row["id"] == made["id"]]
    assert row["address"].partition("/")[0] == inner_address(made["wg_config"])
    assert (row["bytes_in"], row["bytes_out"]) == (came, went)
    assert row["last_handshake"]

    ended = running.end(made["id"])
    assert ended["terminated_reason"] == "client_closed"


def test_ending_a_session_stops_traffic_at_once(scene, running, client):
    made = running.create()
    client.up(made["wg_config"])
    curl = client.host.start("curl", "-sS", "--limit-rate", "4M", "-o", "/dev/null", f"{WEB}/bytes/200000000")
    wait_for(lambda: client.inner_bytes()[0] > 4 * MEGABYTE, "the download runs")
    ended = running.end(made["id"])
    client.host.run("sleep", "1")
    # What was on the wire when the answer was written may still land, and was counted; a running download
    # would bring 4 MB more.
    assert ended["bytes_in"] >= client.inner_bytes()[0]
    again = running.end(made["id"])
    assert again == ended == running.session(made["id"])
    assert ended["terminated_reason"] == "client_closed"
    assert curl.poll() is None
    curl.kill()
    assert made["wg_config"].count(running.public_key) == 1
    assert "peer" not in scene.exit.output("wg", "show", running.interface)
    flows = scene.exit.output("conntrack", "-L", "--src", inner_address(made["wg_config"]))
    assert flows == ""


def test_a_client_that_keeps_its_private_key(scene, running, client):
    keys = wireguard.new_keys()
    made = running.create(client_public_key=keys.public)
    assert "PrivateKey" not in made["wg_config"]
    config = made["wg_config"].replace("[Interface]", f"[Interface]\nPrivateKey = {keys.private}", 1)
    client.quick_up(config)
    assert client.curl(f"{WEB}/ip") == EXIT

    # The same key again: the newer session takes over, under an address of its own.
    newer = running.create(client_public_key=keys.public)
    assert running.session(made["id"])["terminated_reason"] == "superseded"
    assert "terminated_at" not in running.session(newer["id"])
    running.end(newer["id"])


def test_tokens_come_and_go_while_it_runs(scene, running, client):
    state = ("--state-dir", str(scene.state))
    made = json.loads(scene.command("token", "create", *state, "--json").stdout)
    assert set(made) == {"id", "token"}
    session = running.create(token=made["token"])
    status, body = running.api("GET", f"/v1/sessions/{session['id']}")
    assert (status, body) == (404, {"error": "session not found"})

    client.up(session["wg_config"])
    assert client.curl(f"{WEB}/ip") == EXIT
    scene.command("token", "revoke", made["id"], *state)
    assert running.api("GET", "/v1/usage", token=made["token"]) == (401, {"error": "invalid token"})
    assert client.curl("--max-time", "1", f"{WEB}/ip", check=False) == ""
    rows = {row["id"]: row for row in json.loads(scene.command("token", "list", *state, "--json").stdout)}
    assert rows[made["id"]]["revoked"] is True
    assert all(set(row) == {"id", "created_at", "revoked"} for row in rows.values())


def test_the_operator_ends_a_session(scene, running, client):
    made = running.create()
    client.up(made["wg_config"])
    assert client.download(1000) == 1000
    scene.command("sessions", "end", made["id"], "--state-dir", str(scene.state))
    assert running.session(made["id"])["terminated_reason"] == "admin"
    assert client.curl("--max-time", "1", f"{WEB}/ip", check=False) == ""


def test_the_tunnel_answers_wg_and_guards_its_sessions(scene, running, client):
    made = running.create()
    config = made["wg_config"]
    client.up(config)
    assert client.download(1000) == 1000
    (session,) = scene.exit.output("wg", "show", running.interface, "peers").split()
    for words in (("peer", session, "remove"), ("peer", session, "allowed-ips", "10.5.0.0/16")):
        refused = scene.exit.run("wg", "set", running.interface, *words, check=False)
        assert refused.returncode != 0
        assert "not permitted" in refused.stderr
    empty = scene.exit.run("wg", "setconf", running.interface, "/dev/null", check=False)
    assert empty.returncode != 0
    # A peer of the operator's own is welcome beside them, and goes again.
    static = wireguard.new_keys().public
    scene.exit.run("wg", "set", running.interface, "peer", static, "allowed-ips", "10.222.0.9/32")
    assert scene.exit.output("wg", "show", running.interface, "peers").split() == [session, static]
    scene.exit.run("wg", "set", running.interface, "peer", static, "remove")
    assert client.download(1000) == 1000
    running.end(made["id"])


SPAWN = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"


def test_on_a_terminal_the_first_start_shows_the_token():
    with Scene() as scene:
        words = ("up", "--state-dir", str(scene.state), "--interface", scene.interface)
        process = scene.exit.start(sys.executable, "-c", SPAWN, *PROGRAM, *words)
        wait_for(lambda: "sallyport ready" in process.stdout, "the ready line", seconds=20)
        assert (scene.state / "operator.token").read_text().strip() in process.stdout


def test_a_tunnel_whose_egress_is_small_hands_out_its_mtu():
    with Scene() as small:
        small.exit.up(small.egress, mtu=1400)
        running = small.up()
        made = running.create()
        words = config_words(made["wg_config"])
        assert words[:4] == ["[Interface]", "PrivateKey", "Address", "MTU"]
        assert "MTU = 1320" in made["wg_config"]
        client = small.client()
        client.quick_up(made["wg_config"])
        assert client.download(MEGABYTE) == MEGABYTE
