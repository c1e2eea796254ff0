"""Concurrency limits and the slots that are held."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headgate_server.storage.sql.types import DOUBLE, TEXT, UID, Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "concurrency_limits",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("slot_limit", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("slot_decay_per_second", DOUBLE, nullable=False),
        sa.Column("taken", DOUBLE, nullable=False),
        sa.Column("taken_time", Instant(), nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_concurrency_limits"),
        sa.UniqueConstraint("name", name="uq_concurrency_limits_name"),
    )
    op.create_table(
        "slot_claims",
        sa.Column("lease_id", UID, nullable=False),
        sa.Column("limit_id", UID, nullable=False),
        sa.Column("ticket", sa.BigInteger(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("mode", TEXT, nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("lease_seconds", DOUBLE, nullable=False),
        sa.Column("holder_type", TEXT, nullable=False),
        sa.Column("holder_id", TEXT, nullable=False),
        sa.Column("flow_run_id", UID, nullable=True),
        sa.Column("acquire_time", Instant(), nullable=False),
        sa.Column("expire_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "limit_id", name="pk_slot_claims"),
    )
    op.create_index("ix_slot_claims_ticket", "slot_claims", ["ticket"])
    op.create_index("ix_slot_claims_flow_run_id", "slot_claims", ["flow_run_id"])
    op.create_index("ix_slot_claims_expire_time", "slot_claims", ["expire_time"])
    op.create_index(
        "ix_slot_claims_limit_id_granted_ticket_lease_id",
        "slot_claims",
        ["limit_id", "granted", "ticket", "lease_id"],
    )
    op.create_index("ix_slot_claims_live", "slot_claims", ["limit_id", "granted", "expire_time"])


def downgrade() -> None:
    op.drop_table("slot_claims")
    op.drop_table("concurrency_limits")
