"""How Alembic runs revisions: on the connection that ``schema.py`` hands over."""

from __future__ import annotations

from alembic import context

from headgate_server.storage.sql.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
