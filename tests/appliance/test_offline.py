"""The operator's verbs with no process running."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from appliance import offline
from appliance.errors import InUseError, StateError, UserError
from appliance.store.store import Store
from tests.appliance.control.fakes import Exit, key

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def slots_beside_the_state(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "default_path", lambda state_dir: tmp_path / "test.slots")


def test_tokens_before_the_first_start(tmp_path):
    state_dir = tmp_path / "state"
    made = offline.call(state_dir, "token_create", {})
    (listed,) = offline.call(state_dir, "token_list", {})
    assert (listed["id"], listed["revoked"]) == (made["id"], False)
    offline.call(state_dir, "token_revoke", {"id": made["id"]})
    assert offline.call(state_dir, "token_list", {})[0]["revoked"] is True
    assert offline.call(state_dir, "sessions_list", {}) == []
    with pytest.raises(UserError, match="no session tb_x"):
        offline.call(state_dir, "sessions_end", {"id": "tb_x"})


def test_nothing_is_made_when_nobody_asked(tmp_path):
    with pytest.raises(StateError):
        offline.call(tmp_path / "state", "token_list", {}, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_running_process_is_left_alone(tmp_path):
    store = Store.open(tmp_path / "state")
    with pytest.raises(InUseError):
        offline.call(tmp_path / "state", "token_list", {})
    store.close()


def test_a_session_is_ended_with_the_bytes_that_were_left_in_its_slot(tmp_path):
    known = {}

    async def before() -> None:
        async with Exit(tmp_path) as node:
            known["account"] = account = await node.account()
            for number in (1, 2):
                known[number], _, known["address"] = await node.create(account, key(number))
            node.plane.count(key(1), 1000, 10)
            node.plane.count(key(2), 7, 0)

    async def after() -> None:
        async with Exit(tmp_path) as node:
            assert list(node.plane.peers) == [key(2)]
            view = await node.control.session(known["account"], known[1])
            assert (view.bytes_in, view.bytes_out, view.terminated_reason) == (1000, 10, "admin")
            assert (await node.control.usage(known["account"])).bytes_used == 1017
            assert (await node.control.session(known["account"], known[2])).bytes_in == 7

    trio.run(before)
    rows = offline.call(tmp_path / "state", "sessions_list", {})
    assert [(row["id"], row["bytes_in"]) for row in rows] == [(known[1], 1000), (known[2], 7)]
    view = offline.call(tmp_path / "state", "sessions_end", {"id": known[1]})
    assert (view["bytes_in"], view["bytes_out"], view["terminated_reason"]) == (1000, 10, "admin")
    assert offline.call(tmp_path / "state", "sessions_end", {"id": known[1]}) == view
    assert [row["id"] for row in offline.call(tmp_path / "state", "sessions_list", {})] == [known[2]]
    trio.run(after)


def test_the_client_needs_no_database_code():
    """Asking the running process must be quick: SQLAlchemy and Alembic stay out of it."""
    script = "import sys, appliance.operator; print({'sqlalchemy', 'alembic'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert answer.stdout == b"set()\n"


def test_a_question_makes_no_state_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"no state in"):
        offline.call(tmp_path, "token_list", {}, create=False)
    assert list(tmp_path.iterdir()) == []
