"""The tables of stored events. Transitions are events, too, and stay where they are."""

from __future__ import annotations

import sqlalchemy as sa

from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant

#: Revisions are taken from the counter of the journal, so each is in one of the two tables.
events = sa.Table(
    "events",
    METADATA,
    sa.Column("revision", SERIAL, primary_key=True, autoincrement=False),
    sa.Column("id", UID, nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("occurred", Instant, nullable=False),
    sa.Column("resource_id", TEXT, nullable=False),
    # Labels, and a list of labels, as JSON texts.
    sa.Column("resource", TEXT, nullable=False),
    sa.Column("related", TEXT, nullable=False),
    sa.Column("payload", TEXT, nullable=False),
    sa.Column("follows", UID),
    sa.Column("commit_time", Instant, nullable=False),
    sa.UniqueConstraint("id"),
    sa.Index(None, "name", "revision"),
    sa.Index(None, "resource_id", "revision"),
    sa.Index(None, "occurred"),
)

#: Which events are related to a resource.
event_related = sa.Table(
    "event_related",
    METADATA,
    sa.Column("revision", SERIAL, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("resource_id", TEXT, nullable=False),
    sa.Index(None, "resource_id", "revision"),
)

__all__ = ["event_related", "events"]
