"""Column types that mean the same in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_micros_or_none(moment: datetime | None) -> int | None:
    """Return microseconds since 1970, or None."""
    return None if moment is None else to_micros(moment)


def from_micros(micros: int) -> datetime:
    """Return the UTC-aware time of this many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def from_micros_or_none(micros: int | None) -> datetime | None:
    """Return the UTC-aware time, or None."""
    return None if micros is None else from_micros(micros)


class Instant(sa.types.TypeDecorator[datetime]):
    """A time as microseconds since 1970: exact, and ordered alike in both databases."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """Store a UTC-aware time."""
        return to_micros_or_none(value)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        """Read a UTC-aware time."""
        return from_micros_or_none(value)


#: A UUID, always text in Python: 36 characters in SQLite, 16 bytes in PostgreSQL.
UID = sa.String(36).with_variant(sa.Uuid(as_uuid=False), "postgresql")

#: Text, ordered by code points in both databases, so that pages are cut at the same places.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

#: A number with fractions, as Python's.
DOUBLE: sa.Double[float] = sa.Double()

#: A growing number that is a primary key; in SQLite the name of the row itself.
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
