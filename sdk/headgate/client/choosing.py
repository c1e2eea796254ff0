"""How the filters and orders of ``headgate.client.schemas`` are carried out.

The server is asked for what it can tell apart by its indexes; a predicate leaves out the rest of
what comes, page by page. An order that the server does not have is made of all that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from headgate.client.rpc import PAGE_SIZE_MAX, Rpc, checked_part, pages
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.client.rpc import Steps
    from headgate.client.schemas import filters

RecordT = TypeVar("RecordT")
Keep = Callable[[Any], bool]
#: How many values of one condition the server is sent; beyond, the client looks by itself.
_SENT_MAX = 200

#: The attributes that orders are by.
_ATTRIBUTES: Mapping[str, str] = {
    "CONCURRENCY_LIMIT": "concurrency_limit",
    "CREATED": "create_time",
    "UPDATED": "update_time",
    "NEXT_SCHEDULED_START_TIME": "state.details.scheduled_time",
    "TIMESTAMP": "timestamp",
    "EXPECTED_START_TIME": "expected_start_time",
    "START_TIME": "start_time",
    "END_TIME": "end_time",
    "NAME": "name",
    "KEY": "key",
    "ID": "id",
}


def nothing(record: object) -> bool:
    """Stands for conditions of which it is known already that no record fits them."""
    return False


def check(wanted: filters.AnyFilter | None, *kinds: str) -> None:
    """Refuse what is no filter on the records of a list.

    Args:
        wanted: What was given; None: any record.
        *kinds: The names of the classes that it may be of.

    Raises:
        OptionTypeError: It is something else, such as a dictionary, or a filter on other records.
    """
    if wanted is None:
        return
    from headgate.client.schemas import filters  # only who filters needs pydantic

    if not any(isinstance(wanted, getattr(filters, kind)) for kind in kinds):
        msg = f"{wanted!r} is no filter of these; use a {kinds[0]} of {filters.__name__}."
        raise errors.OptionTypeError(msg)


def holds(wanted: filters.AnyFilter | None) -> Keep | None:
    """Return what says whether a filter is true of a record; None if none is given."""
    return None if wanted is None else wanted.holds


def pushed(wanted: filters.AnyFilter | None, path: str) -> Any:
    """Return what a filter asks, as ``state.type.any_``, where the server may be asked for it.

    That is where it must be true of all that is returned: not within an "or".
    """
    for part in path.split("."):
        if wanted is None or getattr(wanted, "operator", "and_") != "and_":
            return None
        wanted = getattr(wanted, part)
    return wanted


def ordered(records: Sequence[RecordT], sort: str, limit: int | None, offset: int) -> list[RecordT]:
    """Return the wanted part of records in an order, as ``START_TIME_DESC``; None is always last.

    Raises:
        OptionValueError: There is no such order, or not of these records.
    """
    path, descending = _order(sort)

    def key(record: Any) -> Any:
        for part in path.split("."):
            record = getattr(record, part)
        return record

    try:
        known = [record for record in records if key(record) is not None]
    except AttributeError:
        raise _no_order(sort) from None
    known.sort(key=key, reverse=descending)
    known += [record for record in records if key(record) is None]
    return known[offset:] if limit is None else known[offset : offset + limit]


def _order(sort: str) -> tuple[str, bool]:
    """Return the attribute that an order is by, and whether the highest comes first."""
    by, _, direction = str(sort).rpartition("_")
    path = _ATTRIBUTES.get(by)
    if path is None or direction not in {"ASC", "DESC"}:
        raise _no_order(sort)
    return path, direction == "DESC"


def _no_order(sort: str) -> errors.OptionValueError:
    msg = f"There is no order {sort!r} here; use one of headgate.client.schemas.sorting."
    return errors.OptionValueError(msg)


def is_descending(sort: str | None, by: str, *, descending: bool) -> bool:
    """Return the direction of a list that has one order only.

    Args:
        sort: An order, as ``TIMESTAMP_DESC``; None: as ``descending`` says.
        by: What the list is ordered by, as ``TIMESTAMP``.
        descending: Whether the highest comes first.

    Raises:
        OptionValueError: It is another order.
    """
    if sort is None:
        return descending
    if str(sort) not in {f"{by}_ASC", f"{by}_DESC"}:
        raise _no_order(sort)
    return str(sort).endswith("_DESC")


def read(
    rpc: Rpc[Any, Any],
    request: Any,
    items: Callable[[Any], Sequence[Any]],
    decode: Callable[[Any], RecordT],
    limit: int | None,
    *,
    keep: Keep | None = None,
    sort: str | None = None,
    offset: int = 0,
    page_size_max: int = PAGE_SIZE_MAX,
) -> Steps[list[RecordT]]:
    """Read pages of a list, as ``headgate.client.rpc.pages`` does, and choose from them.

    Args:
        rpc: A List method.
        request: Its request, without page size and token.
        items: Takes the items out of a response.
        decode: Turns an item into a record.
        limit: How many items at most; None for all.
        keep: What is looked at in each record.
        sort: An order that the server does not have; it takes reading all that fits.
        offset: How many are passed over first.
        page_size_max: The largest page that the server gives.

    Raises:
        OptionTypeError: ``limit`` or ``offset`` is no whole number.
        OptionValueError: There is no such order, or one of them is negative.
    """
    checked_part(limit, offset)
    if sort is not None:
        _order(sort)  # before all is read
    if keep is nothing:
        return []
    if sort is None:
        return (yield from pages(rpc, request, items, decode, limit, page_size_max, keep, offset))
    found = yield from pages(rpc, request, items, decode, None, page_size_max, keep)
    return ordered(found, sort, limit, offset)


def narrowed(field: MutableSequence[Any], asked: Iterable[Any] | None) -> bool:
    """Let a list that the server is sent ask for this, beside what it asks for already.

    Returns:
        Whether anything can fit.
    """
    if asked is None:
        return True
    own = set(field)
    both = [one for one in asked if not own or one in own]
    if len(both) <= _SENT_MAX:
        field[:] = both
    return bool(both)


def ids(steps: Steps[list[Any]]) -> Steps[set[str]]:
    """Return the ids of the records that a call returns."""
    found = yield from steps
    return {cast("str", record.id) for record in found}


def all_of(keeps: Iterable[Keep | None]) -> Keep | None:
    """Return what says whether all of these are true of a record; None if there is none."""
    given = [keep for keep in keeps if keep is not None]
    return (lambda record: all(keep(record) for keep in given)) if given else None


__all__ = [
    "Keep",
    "all_of",
    "check",
    "holds",
    "ids",
    "is_descending",
    "narrowed",
    "nothing",
    "ordered",
    "pushed",
    "read",
]
