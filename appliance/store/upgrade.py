"""Bring a database to the present schema, or say why it cannot be used.

Called once per start by `Store.open`, before anybody else touches the database. A new database and an
older one are migrated in one transaction (an older one after a copy of it was put beside it); one of the
present schema costs one query, and Alembic is not even imported. A database of a newer program is
refused: running on would write what the newer one does not expect.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from appliance.errors import StateError
from appliance.log import event
from appliance.store.schema import REVISIONS

logger = logging.getLogger("sallyport.store")

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, database: Path) -> None:
    """Check the database and migrate it where it is older than this program."""
    with engine.connect() as connection:
        damage = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
        revision = _revision(connection)
    if damage != "ok":
        raise StateError(f"the database {database} is damaged: {damage}")
    if revision == REVISIONS[-1]:
        return
    if revision is not None:
        if revision not in REVISIONS:
            raise StateError(
                f"the database {database} was made by a newer sallyport (schema {revision}, "
                f"this one knows up to {REVISIONS[-1]}); install that version"
            )
        copy = _back_up(database, revision)
        event(logger, logging.INFO, "migrating the database", schema=revision, to=REVISIONS[-1], copy=copy)
    migrate(engine)


def migrate(engine: Engine, to: str = "head") -> None:
    """Run the steps up to the schema `to`, all in one transaction."""
    # Imported here: it takes longer than all the rest of opening, and most starts have no step to run.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)


def _revision(connection: Connection) -> str | None:
    """The schema that the database says it has; None for an empty database."""
    tables = inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise StateError("the database in the state directory is not one of sallyport")
        return None
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _back_up(database: Path, revision: str) -> Path:
    """Copy the database beside itself, as it was before the first step."""
    copy = database.with_name(f"{database.name}.schema-{revision}")
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    source, target = sqlite3.connect(database), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        target.close()
        source.close()
    return copy
