"""Pages by keyset: a page starts behind the sort key of the last item, at any depth alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from headgate_server.storage.records import PAGE_BYTES_MAX, Cursor, Page, PageRequest
from headgate_server.storage.sql.rows import Row
from headgate_server.storage.sql.work import Work

T = TypeVar("T")

#: Behind every text that begins with what stands before it.
_LAST_CHARACTER = "\U0010ffff"
#: So many rows are looked at for a page of what a text is searched in: no index leads to it, and
#: where it is rare a page must not take the longer the more there is.
SEARCHED_MAX = 20_000
#: Of a list of heavy items so many are read before it is known how heavy they are.
_SLICE = 8


def fetch_page(
    work: Work,
    statement: sa.Select[Any],
    key: Sequence[sa.ColumnElement[Any]],
    request: PageRequest,
    decode: Callable[[Row], T],
    *,
    descending: bool = False,
    any_of: Sequence[sa.ColumnElement[bool]] = (),
    heavy: bool = False,
    searched: Sequence[sa.ColumnElement[bool]] = (),
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
        heavy: Whether items may have much text. Then a page may be shorter than was asked for.
        searched: Conditions that no index answers. Then, too, a page may be shorter, or empty.
    """
    end: Cursor | None = None
    if searched:
        end = _end_of_search(work, statement, key, request, any_of, descending=descending)
        statement = statement.where(*searched)
        if end is not None:
            statement = statement.where(_until(key, end, descending=descending))
    ordered = statement.order_by(*(column.desc() if descending else column for column in key))

    def read(after: Cursor | None, limit: int, *conditions: sa.ColumnElement[bool]) -> list[Row]:
        if after is not None:
            conditions = (*conditions, _behind(key, after, descending=descending))
        return list(work.execute(ordered.where(*conditions).limit(limit)))

    if heavy and not any_of:
        found = _read_in_slices(read, key, request)
    else:
        found = [
            row
            for condition in [[condition] for condition in any_of] or [[]]
            for row in read(request.after, request.size + 1, *condition)
        ]
    if len(any_of) > 1:
        found.sort(key=lambda row: _key_of(row, key), reverse=descending)
    rows = found[: min(request.size, _fitting(found)) if heavy else request.size]
    following = _key_of(rows[-1], key) if len(found) > len(rows) and rows else end
    return Page(items=[decode(row) for row in rows], next=following)


def _end_of_search(
    work: Work,
    statement: sa.Select[Any],
    key: Sequence[sa.ColumnElement[Any]],
    request: PageRequest,
    any_of: Sequence[sa.ColumnElement[bool]],
    *,
    descending: bool,
) -> Cursor | None:
    """Return the last place that is looked at for a page; None: all that is left is."""
    query = statement.with_only_columns(*key)
    query = query.order_by(*(column.desc() if descending else column for column in key))
    if len(any_of) == 1:  # all of several would have to be sorted first
        query = query.where(any_of[0])
    if request.after is not None:
        query = query.where(_behind(key, request.after, descending=descending))
    row = work.execute(query.offset(SEARCHED_MAX).limit(1)).first()
    return None if row is None else tuple(row)


def _read_in_slices(
    read: Callable[[Cursor | None, int], list[Row]],
    key: Sequence[sa.ColumnElement[Any]],
    request: PageRequest,
) -> list[Row]:
    """Return the rows of a page and at least one more, if there is; few beyond what fits."""
    found: list[Row] = []
    after, weight, wanted = request.after, 0, min(_SLICE, request.size + 1)
    while wanted > 0:
        rows = read(after, wanted)
        found.extend(rows)
        weight += sum(map(_weight, rows))
        if len(rows) < wanted or weight > PAGE_BYTES_MAX:
            break
        after = _key_of(rows[-1], key)
        # As many as fit if they weigh what those before them do.
        fitting = (PAGE_BYTES_MAX - weight) * len(found) // max(weight, 1)
        wanted = min(request.size + 1 - len(found), max(1, fitting))
    return found


def _fitting(rows: Sequence[Row]) -> int:
    """Return how many of these rows fit into a page: one at least."""
    weight = 0
    for count, row in enumerate(rows):
        weight += _weight(row)
        if count and weight > PAGE_BYTES_MAX:
            return count
    return len(rows)


def _weight(row: Row) -> int:
    texts = (value for value in row if isinstance(value, str))
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)


def _key_of(row: Row, key: Sequence[sa.ColumnElement[Any]]) -> Cursor:
    columns = row._mapping  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's public name
    return tuple(columns[column] for column in key)


def _until(
    key: Sequence[sa.ColumnElement[Any]], end: Cursor, *, descending: bool
) -> sa.ColumnElement[bool]:
    """Return the condition that a key is not behind another one."""
    place = _place(key, end)
    return _joined(key) >= place if descending else _joined(key) <= place


def _behind(
    key: Sequence[sa.ColumnElement[Any]], after: Cursor, *, descending: bool
) -> sa.ColumnElement[bool]:
    place = _place(key, after)
    return _joined(key) < place if descending else _joined(key) > place


def _joined(key: Sequence[sa.ColumnElement[Any]]) -> sa.ColumnElement[Any]:
    return key[0] if len(key) == 1 else sa.tuple_(*key)


def _place(key: Sequence[sa.ColumnElement[Any]], cursor: Cursor) -> Any:
    if len(key) == 1:
        return cursor[0]
    return sa.tuple_(
        *(sa.literal(value, column.type) for column, value in zip(key, cursor, strict=True))
    )


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


def starts_with(column: sa.ColumnElement[str], prefix: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column begins with a text, as a range, which an index answers.

    LIKE would not do: in SQLite it takes upper and lower case for the same.
    """
    return sa.and_(column >= prefix, column < prefix + _LAST_CHARACTER)


def name_contains(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    """Return the condition that a column contains a text; upper and lower case of ASCII alike.

    Databases may know no other letters than those of ASCII: then others must be as they are
    written, and lower() leaves them so.
    """
    alike = sa.func.lower(column).contains(part.lower(), autoescape=True)
    if part.isascii():
        return alike
    return sa.or_(alike, sa.func.lower(column).contains(_lower_ascii(part), autoescape=True))


def _lower_ascii(text: str) -> str:
    return "".join(each.lower() if each.isascii() else each for each in text)


def searched(column: sa.ColumnElement[str], part: str) -> list[sa.ColumnElement[bool]]:
    """Return what ``fetch_page`` is told where a text is searched for; empty: none is."""
    return [name_contains(column, part)] if part else []
