"""Variables, artifacts and the inputs of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_inputs",
        sa.Column("place", SERIAL, nullable=False),
        sa.Column("id", UID, nullable=False),
        sa.Column("flow_run_id", UID, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("sender", TEXT, nullable=True),
        sa.Column("create_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("place", name="pk_run_inputs"),
        sa.UniqueConstraint("flow_run_id", "key", name="uq_run_inputs_flow_run_id_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_run_inputs_flow_run_id_place", "run_inputs", ["flow_run_id", "place"])
    op.create_table(
        "variables",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_variables"),
        sa.UniqueConstraint("name", name="uq_variables_name"),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", UID, nullable=False),
        sa.Column("key", TEXT, nullable=True),
        sa.Column("latest_of", TEXT, nullable=True),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("data", TEXT, nullable=False),
        sa.Column("metadata", TEXT, nullable=False),
        sa.Column("flow_run_id", UID, nullable=True),
        sa.Column("task_run_id", UID, nullable=True),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.UniqueConstraint("latest_of", name="uq_artifacts_latest_of"),
    )
    for column in ("key", "type", "flow_run_id", "task_run_id"):
        op.create_index(f"ix_artifacts_{column}_id", "artifacts", [column, "id"])
    is_latest = sa.text("latest_of IS NOT NULL")
    op.create_index(
        "ix_artifacts_latest_id",
        "artifacts",
        ["id"],
        sqlite_where=is_latest,
        postgresql_where=is_latest,
    )


def downgrade() -> None:
    op.drop_table("artifacts")
    op.drop_table("variables")
    op.drop_table("run_inputs")
