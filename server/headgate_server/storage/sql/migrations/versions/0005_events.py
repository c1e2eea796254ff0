"""Events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("revision", SERIAL, autoincrement=False, nullable=False),
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("occurred", Instant(), nullable=False),
        sa.Column("resource_id", TEXT, nullable=False),
        sa.Column("resource", TEXT, nullable=False),
        sa.Column("related", TEXT, nullable=False),
        sa.Column("payload", TEXT, nullable=False),
        sa.Column("follows", UID, nullable=True),
        sa.Column("commit_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
    )
    op.create_index("ix_events_name_revision", "events", ["name", "revision"])
    op.create_index("ix_events_resource_id_revision", "events", ["resource_id", "revision"])
    op.create_index("ix_events_occurred", "events", ["occurred"])
    op.create_table(
        "event_related",
        sa.Column("revision", SERIAL, autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("resource_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("revision", "place", name="pk_event_related"),
    )
    op.create_index(
        "ix_event_related_resource_id_revision", "event_related", ["resource_id", "revision"]
    )


def downgrade() -> None:
    op.drop_table("event_related")
    op.drop_table("events")
