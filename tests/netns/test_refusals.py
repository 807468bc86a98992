"""A start that cannot succeed: one line, the right exit code, nothing made, the running one undisturbed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from appliance.store.store import DATABASE
from bench.process import wait_for
from tests.netns.scene import PROGRAM, Scene

pytestmark = pytest.mark.netns

NO_TUN = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")
READ_ONLY_SYSCTLS = (
    "unshare", "-m", "sh", "-c",
    'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"', "sh",
)  # fmt: skip
# Another user, who may read our files wherever the checkout lies.
NOBODY = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip
NO_CAPABILITY = ("setpriv", "--bounding-set=-net_admin")


class Start:
    """A start with its own state directory and free ports, unless told otherwise."""

    def __init__(self, scene):
        self.scene = scene
        self.state = scene.lab.directory() / "state"
        self.interface = scene.lab.name("y")

    def refused(self, code, *options, wrap=(), state=None, interface=None, ports=True):
        """Expect this refusal and give its line."""
        state = self.state if state is None else state
        words = ["up", "--state-dir", str(state), "--interface", interface or self.interface]
        if ports:
            words += ["--listen-port", "0", "--api", "127.0.0.1:0"]
        before, files = self.scene.traces(), listing(state)
        done = self.scene.exit.run(*wrap, *PROGRAM, *words, *options, check=False, cwd=Path("/"))
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("sallyport: ")
        assert self.scene.traces() == before
        assert listing(state) == files
        return done.stderr


def listing(directory):
    """Names of what is in it; None when it is not there.

    Content may change (a running one writes), and whoever looks into a state directory takes its lock first.
    """
    return sorted({file.name for file in directory.iterdir()} - {"lock"}) if directory.exists() else None


@pytest.fixture(scope="module")
def client(scene):
    return scene.client()


@pytest.fixture
def start(scene):
    return Start(scene)


@pytest.fixture(scope="module")
def carrying(scene, running, client):
    """The running exit with a client that is through."""
    client.up(running.create()["wg_config"])
    assert client.download(100_000) == 100_000
    return running


@pytest.fixture
def undisturbed(carrying, client):
    """Whatever the test does, the running exit goes on serving the same client."""
    before = carrying.process.stdout
    yield
    assert carrying.process.poll() is None
    assert carrying.process.stdout == before
    assert client.download(100_000) == 100_000


@pytest.mark.usefixtures("undisturbed")
class TestBesideARunningOne:
    def test_the_same_state_directory(self, scene, start):
        assert str(scene.state) in start.refused(4, state=scene.state)

    def test_the_same_interface(self, carrying, start):
        assert carrying.interface in start.refused(4, interface=carrying.interface)

    def test_the_same_everything(self, scene, start):
        start.refused(4, state=scene.state, interface=scene.interface, ports=False)

    def test_the_same_tunnel_port(self, start):
        assert "51820" in start.refused(4, "--listen-port", "51820")

    def test_the_same_api_port(self, start):
        assert "8080" in start.refused(4, "--api", "127.0.0.1:8080")

    def test_an_interface_that_is_somebody_elses(self, scene, start):
        name = scene.lab.name("z")
        scene.exit.run("ip", "link", "add", name, "type", "bridge")
        assert name in start.refused(4, interface=name)
        assert scene.exit.has_interface(name)

    def test_a_pool_that_overlaps_the_running_ones(self, scene, carrying, start):
        own = scene.exit.output("sh", "-c", f"ip -4 -o address show dev {carrying.interface}").split()[3]
        pool = own.rpartition(".")[0] + ".0/24"
        assert pool in start.refused(4, "--pool", pool)

    def test_a_pool_that_overlaps_a_route(self, scene, start):
        scene.exit.run("ip", "route", "replace", "10.222.0.0/16", "via", "198.51.100.2")
        assert "10.222" in start.refused(4, "--pool", "10.222.7.0/24")
        assert "10.222" in start.refused(4, "--pool", "10.220.0.0/14")

    def test_ports_in_use_by_others(self, scene, start):
        scene.serve(scene.exit, 18080, "127.0.0.1")
        start.refused(4, "--api", "127.0.0.1:18080")

    @pytest.mark.parametrize(
        "options",
        [
            ("--listen-port", "70000"),
            ("--listen-port", "x"),
            ("--api", "8080"),
            ("--pool", "10.0.0.0"),
            ("--pool", "fd00::/64"),
            ("--pool", "10.1.2.3/24"),
            ("--public-ip", "exit.example"),
            ("--region", "Two Words"),
            ("--frobnicate",),
            ("surplus",),
        ],
    )
    def test_wrong_options(self, start, options):
        start.refused(2, *options)

    @pytest.mark.parametrize(
        ("text", "hint"),
        [
            ("listen_prot = 51820\n", "listen_port"),
            ("region = \n", "1"),
            ('region = "unclosed\n', "1"),
            ('listen_port = "many"\n', "listen_port"),
            ("listen_port = 99999\n", "listen_port"),
            ("\x00\x01\x02", "1"),
        ],
    )
    def test_a_configuration_file_that_is_wrong(self, scene, start, text, hint):
        file = scene.lab.directory() / "up.toml"
        file.write_text(text)
        line = start.refused(2, "--config", str(file))
        assert str(file) in line
        assert hint in line

    def test_a_configuration_file_that_is_not_there(self, start):
        assert "/nonexistent/up.toml" in start.refused(2, "--config", "/nonexistent/up.toml")

    def test_no_device(self, start):
        assert "/dev/net/tun" in start.refused(3, wrap=NO_TUN)

    @pytest.mark.parametrize("wrap", [NOBODY, NO_CAPABILITY], ids=["another user", "no capability"])
    def test_no_privilege(self, start, wrap):
        assert "root" in start.refused(3, wrap=wrap)

    @pytest.mark.parametrize("word", ["SALLYPORT_AEAD=rot13", "SALLYPORT_OFFLOAD=some"])
    def test_a_wrong_word_in_the_environment(self, start, word):
        name, _, value = word.partition("=")
        line = start.refused(2, wrap=("env", word))
        assert name in line
        assert value in line

    def test_a_damaged_state(self, start):
        start.state.mkdir(mode=0o700)
        (start.state / DATABASE).write_bytes(b"not a database " * 500)
        assert str(start.state) in start.refused(5)

    def test_a_state_directory_that_cannot_be_one(self, scene, start):
        file = scene.lab.directory() / "file"
        file.write_text("")
        assert str(file) in start.refused(5, state=file / "state")


def test_sysctls_read_only_and_forwarding_off(scene, start):
    """As in a container that was not told to forward: one line that names the sysctl."""
    assert "net.ipv4.ip_forward" in start.refused(3, wrap=READ_ONLY_SYSCTLS)


def test_sysctls_read_only_and_forwarding_on():
    """As in a container that was: carry on."""
    with Scene() as other:
        other.exit.sysctl("net.ipv4.ip_forward", "1")
        words = ("up", "--state-dir", str(other.state), "--interface", other.interface)
        process = other.exit.start(*READ_ONLY_SYSCTLS, *PROGRAM, *words, cwd=Path("/"))
        wait_for(lambda: "\n" in process.stdout or process.poll() is not None, "the ready line", seconds=20)
        assert process.stdout.startswith("sallyport ready "), process.stderr
        assert process.stop() == 0


GARBAGE = """
import os, random, socket, sys
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kinds = [bytes([kind, 0, 0, 0]) for kind in (1, 2, 3, 4)] + [b""]
for _ in range(2000):
    size = random.choice([0, 1, 31, 32, 64, 92, 148, 200, 1400])
    out.sendto((random.choice(kinds) + os.urandom(1400))[:size], (sys.argv[1], int(sys.argv[2])))
"""


def test_garbage_datagrams_disturb_nothing(scene, carrying, client):
    host, _, port = carrying.endpoint.rpartition(":")
    scene.outside.run(sys.executable, "-c", GARBAGE, host, port)
    assert client.download(1_000_000) == 1_000_000
