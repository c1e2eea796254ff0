"""Blocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "block_types",
        sa.Column("id", UID, nullable=False),
        sa.Column("slug", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("logo_url", TEXT, nullable=False),
        sa.Column("documentation_url", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("code_example", TEXT, nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_block_types"),
        sa.UniqueConstraint("slug", name="uq_block_types_slug"),
    )
    op.create_table(
        "block_schemas",
        sa.Column("id", UID, nullable=False),
        sa.Column("checksum", TEXT, nullable=False),
        sa.Column("block_type_slug", TEXT, nullable=False),
        sa.Column("fields", TEXT, nullable=False),
        sa.Column("capabilities", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_block_schemas"),
        sa.UniqueConstraint(
            "checksum",
            "block_type_slug",
            "version",
            name="uq_block_schemas_checksum_block_type_slug_version",
        ),
    )
    op.create_index(
        "ix_block_schemas_block_type_slug_id", "block_schemas", ["block_type_slug", "id"]
    )
    op.create_table(
        "block_documents",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("block_type_slug", TEXT, nullable=False),
        sa.Column("block_schema_id", UID, nullable=False),
        sa.Column("sealed_data", TEXT, nullable=False),
        sa.Column("is_anonymous", sa.Boolean(), nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_block_documents"),
        sa.UniqueConstraint(
            "block_type_slug", "name", name="uq_block_documents_block_type_slug_name"
        ),
    )
    op.create_index(
        "ix_block_documents_is_anonymous_block_type_slug_name",
        "block_documents",
        ["is_anonymous", "block_type_slug", "name"],
    )
    op.create_table(
        "block_references",
        sa.Column("document_id", UID, nullable=False),
        sa.Column("referenced_id", UID, nullable=False),
        sa.PrimaryKeyConstraint("document_id", "referenced_id", name="pk_block_references"),
    )
    op.create_index("ix_block_references_referenced_id", "block_references", ["referenced_id"])
    op.create_table(
        "encryption_keys",
        sa.Column("id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_encryption_keys"),
    )


def downgrade() -> None:
    op.drop_table("encryption_keys")
    op.drop_table("block_references")
    op.drop_table("block_documents")
    op.drop_table("block_schemas")
    op.drop_table("block_types")
