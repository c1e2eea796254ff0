"""Pages by keyset: a page starts behind the sort key of the last item, at any depth alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from headgate_server.storage.records import Cursor, Page, PageRequest
from headgate_server.storage.sql.rows import Row
from headgate_server.storage.sql.work import Work

T = TypeVar("T")


def fetch_page(
    work: Work,
    statement: sa.Select[Any],
    key: Sequence[sa.ColumnElement[Any]],
    request: PageRequest,
    decode: Callable[[Row], T],
    *,
    descending: bool = False,
    any_of: Sequence[sa.ColumnElement[bool]] = (),
) -> Page[T]:
    """Run a statement page by page.

    Args:
        work: The transaction.
        statement: What to list; the columns of the key are among those it selects.
        key: What to sort by; unique.
        request: Which page.
        decode: Makes an item of a row.
        descending: The greatest key first.
        any_of: Conditions that exclude each other, of which one must hold. Each is asked for
            by itself: every answer then comes in order from an index, where a database
            asked for all of them would have to sort all that fits.
    """
    if request.after is not None:
        statement = statement.where(_behind(key, request.after, descending=descending))
    ordered = statement.order_by(*(column.desc() if descending else column for column in key))
    limited = ordered.limit(request.size + 1)
    found: list[Row] = []
    for query in [limited.where(condition) for condition in any_of] or [limited]:
        found.extend(work.execute(query))
    if len(any_of) > 1:
        found.sort(key=lambda row: _key_of(row, key), reverse=descending)
    rows = found[: request.size]
    following = _key_of(rows[-1], key) if len(found) > request.size and rows else None
    return Page(items=[decode(row) for row in rows], next=following)


def _key_of(row: Row, key: Sequence[sa.ColumnElement[Any]]) -> Cursor:
    columns = row._mapping  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's public name
    return tuple(columns[column] for column in key)


def _behind(
    key: Sequence[sa.ColumnElement[Any]], after: Cursor, *, descending: bool
) -> sa.ColumnElement[bool]:
    if len(key) == 1:
        return key[0] < after[0] if descending else key[0] > after[0]
    place = sa.tuple_(
        *(sa.literal(value, column.type) for column, value in zip(key, after, strict=True))
    )
    return sa.tuple_(*key) < place if descending else sa.tuple_(*key) > place


def has_tags(
    work: Work, column: sa.ColumnElement[str], tags: Sequence[str]
) -> list[sa.ColumnElement[bool]]:
    """Return conditions that a column of tags has all of these."""
    if work.dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # only where that database is

        return [
            sa.cast(column, postgresql.JSONB).contains(
                sa.cast(sa.literal([tag], sa.JSON), postgresql.JSONB)
            )
            for tag in tags
        ]
    conditions: list[sa.ColumnElement[bool]] = []
    for tag in tags:
        each = sa.func.json_each(column).table_valued("value")
        conditions.append(sa.exists(sa.select(1).select_from(each).where(each.c.value == tag)))
    return conditions


def name_contains(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column contains a text; upper and lower case of ASCII alike."""
    return sa.func.lower(column).contains(part.lower(), autoescape=True)
