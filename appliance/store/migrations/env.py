"""Run by Alembic for every upgrade: the steps, on the connection that `appliance/store/upgrade.py` hands in.

There is no offline mode and no alembic.ini: databases are migrated by the program that opens them.
"""

from __future__ import annotations

from alembic import context

from appliance.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
