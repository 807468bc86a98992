"""The import rules, read out of the source of every module with `ast` (imports inside functions too).

    api      -> control                         words and JSON
    cli      -> anything of appliance           commands
    main     -> everything: the one place that puts the floors together, and the only importer of api
    control  -> store, slots, core              the one door; knows neither device nor net
    device, net, uapi, store, slots ... -> core, and what the table below names
    core     -> itself, pure parts of the standard library, and `cryptography`
    pump     -> crypto_ext, which imports nothing of ours

A new module of `appliance/` gets a line in ALLOWED: where it stands is a decision, not an accident.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"appliance", "api", "crypto_ext", "bench", "tests"}

# What anybody but core may use: errors for a person, clock, log, and the version (`appliance` itself).
GROUND = {"", "errors", "clock", "log"}

# part of appliance/ -> the parts that it may import besides itself and GROUND. None: all of them.
ALLOWED: dict[str, set[str] | None] = {
    "": set(),
    "__main__": None,
    "main": None,
    "cli": None,
    "errors": set(),
    "apart": set(),
    "clock": set(),
    "log": set(),
    "config": {"config_api", "config_network", "core"},
    "config_api": set(),
    "config_network": {"core"},
    "control": {"core", "store", "slots"},
    "operator": {"control"},
    "offline": {"control", "keys", "operator", "slots", "store"},
    "startup": {"config", "core", "net", "store", "uapi"},
    "keys": {"store"},
    "store": {"core"},
    "slots": {"core"},
    "core": set(),
    "net": {"core"},
    "pump": set(),
    "device": {"core", "net", "pump", "timerfd"},
    "uapi": {"core", "device"},
    "status": {"control", "device", "operator"},
    "watchdog": {"device", "sdnotify"},
    "filewatch": set(),
    "sdnotify": set(),
    "supervise": set(),
    "timerfd": set(),
    "wg": {"core", "wg_serve"},
    "wg_serve": {"core", "device", "filewatch", "net", "pump", "sdnotify", "supervise", "timerfd", "uapi"},
}

PURE = {
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "dataclasses", "enum", "errno"),
    *("functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "math", "operator", "re", "string"),
    *("struct", "typing"),
}
DIALECTS = {"api.tunnelbyte", "api.orb", "api.bilbycast"}
HEAVY = {"quart", "quart_trio", "hypercorn", "sqlalchemy", "alembic", "pydantic"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {
    name_of(path): path
    for top in ("appliance", "api", "crypto_ext", "bench")
    for path in sorted((ROOT / top).rglob("*.py"))
}


def imports(source: str) -> set[str]:
    """Every module that the source names in an import; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which floor they reach"
            base = str(node.module)
            found |= {base} | ({f"{base}.{alias.name}" for alias in node.names} & SOURCES.keys())
    return found


def part(module: str) -> str:
    return (module + ".").split(".")[1]


def broken_rules(module: str, source: str) -> list[str]:
    """The imports of this module that break a rule, each with the rule."""
    broken = []
    top, own = module.split(".")[0], part(module)
    for name in sorted(imports(source)):
        target = name.split(".")[0]
        bad = ""
        if target not in OURS:
            if module.startswith("appliance.core") and target not in PURE | {"cryptography"}:
                bad = "core touches nothing of the machine"
        elif target == "tests":
            bad = "tests are nobody's library"
        elif target == "bench":
            bad = "" if top == "bench" else "the bench looks at the program, never the other way"
        elif target == "crypto_ext":
            allowed = top in {"crypto_ext", "bench"} or module == "appliance.pump"
            bad = "" if allowed else "the extension has one face in the program: appliance.pump"
        elif target == "api":
            bad = "" if top == "api" or module == "appliance.main" else "only main puts the api on top"
            if {module, name} <= DIALECTS and module != name:
                bad = "dialects do not know each other"
        elif top == "crypto_ext":
            bad = "the extension knows nothing of ours"
        elif top == "api":
            bad = "" if part(name) in GROUND | {"control"} else "the api knows the door only"
        elif top == "appliance":
            if own not in ALLOWED:
                return [f"{module}: a new part: give it a line in ALLOWED"]
            allowed_parts = ALLOWED[own]
            ground = set() if own == "core" else GROUND
            if allowed_parts is not None and part(name) not in allowed_parts | {own} | ground:
                bad = "imports go downward only"
        if bad:
            broken.append(f"{module} imports {name}: {bad}")
    return broken


def closure(start: str) -> set[str]:
    """All of our modules that `start` can reach."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        module = todo.pop()
        if module not in seen and module in SOURCES:
            seen.add(module)
            todo += imports(SOURCES[module].read_text())
    return seen


def test_every_module_keeps_to_its_floor() -> None:
    broken = [line for name, path in SOURCES.items() for line in broken_rules(name, path.read_text())]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("appliance.core.peer", "import trio"),
        ("appliance.core.peer", "def f():\n    import time"),
        ("appliance.core.peer", "from appliance.log import event"),
        ("appliance.control.door", "from appliance.device.device import Device"),
        ("appliance.control.door", "import appliance.net.links"),
        ("appliance.store.store", "from appliance.control import views"),
        ("appliance.device.device", "import crypto_ext"),
        ("appliance.device.device", "from appliance.store.store import Store"),
        ("appliance.cli.up", "from api.app import create_app"),
        ("api.app", "from appliance.store.store import Store"),
        ("api.orb", "from api.tunnelbyte import blueprint"),
        ("crypto_ext", "import appliance.errors"),
        ("appliance.log", "import bench.rows"),
        ("appliance.newcomer", "import appliance.errors"),
    ],
)
def test_the_rules_catch(module: str, source: str) -> None:
    SOURCES.setdefault("api.tunnelbyte", ROOT / "api/tunnelbyte.py")
    assert broken_rules(module, source)


def test_the_drop_in_reaches_nothing_heavy() -> None:
    """sallyport-wg starts like wireguard-go: no web server, database or models, however late the import."""
    reached = closure("appliance.wg")
    assert "appliance.core.peer" in reached, "the walk did not get anywhere"
    heavy = {
        (module, name)
        for module in reached
        for name in imports(SOURCES[module].read_text())
        if name.split(".")[0] in HEAVY
    }
    assert not heavy


def test_the_drop_in_loads_nothing_heavy() -> None:
    probe = "import sys, appliance.wg, appliance.wg_serve; print(*{n.split('.')[0] for n in sys.modules})"
    loaded = subprocess.run([sys.executable, "-P", "-c", probe], capture_output=True, text=True, check=True)
    assert not HEAVY & set(loaded.stdout.split())
