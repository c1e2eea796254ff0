"""Settings that are made while the server runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headgate_server.storage.sql.types import TEXT, Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "configuration",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_configuration"),
    )


def downgrade() -> None:
    # Rows that only remember that an input was deleted: the code before this takes them for inputs.
    op.execute("DELETE FROM run_inputs WHERE value = ''")
    op.drop_table("configuration")
