"""How Alembic runs revisions: on the connection that ``schema.py`` hands over."""

from __future__ import annotations

from alembic import context

from headgate_server.storage.sql import transaction
from headgate_server.storage.sql.tables import METADATA

# Every kind's file puts its tables on METADATA when it is imported; this one imports them all.
assert transaction

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite alters a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
