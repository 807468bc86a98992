"""Alembic finds its steps without any file but those of the package."""

from __future__ import annotations

from alembic.config import Config
from alembic.script import ScriptDirectory

from appliance.store import upgrade
from appliance.store.schema import REVISIONS


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(upgrade._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_the_steps_are_those_that_the_schema_names():
    steps = [script.revision for script in scripts().walk_revisions()][::-1]
    assert tuple(steps) == REVISIONS
    assert scripts().get_heads() == [REVISIONS[-1]]
