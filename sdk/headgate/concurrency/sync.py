"""Limits on how many of something are used at once, for code that blocks.

::

    from headgate.concurrency.sync import concurrency, rate_limit

    with concurrency("database", occupy=1):
        ...

Limits are made on the server: ``headgate gcl create database --limit 5``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

from headgate._explaining import explained
from headgate.concurrency import _keeper, _telling, _waiting, _wants
from headgate.concurrency._wants import Holder
from headgate.core.concurrency import LEASE_SECONDS_DEFAULT
from headgate.core.errors import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencyLeaseLostError,
    ConcurrencySlotAcquisitionError,
)

__all__ = [
    "AcquireConcurrencySlotTimeoutError",
    "ConcurrencyLeaseLostError",
    "ConcurrencySlotAcquisitionError",
    "concurrency",
    "rate_limit",
]


@explained
@contextlib.contextmanager
def concurrency(
    names: str | Sequence[str],
    occupy: int = 1,
    timeout_seconds: float | None = None,
    max_retries: int | None = None,
    lease_duration: float = LEASE_SECONDS_DEFAULT,
    strict: bool = False,
    holder: Holder | None = None,
    raise_on_lease_renewal_failure: bool | None = None,
) -> Generator[None]:
    """Hold slots of concurrency limits for the length of a ``with`` block.

    Slots of one limit are given in the order in which they are asked for. They are held by a
    lease that is renewed while the block runs, so slots of a process that dies become free.

    Args:
        names: The limits. Those that do not exist are warned about and limit nothing.
        occupy: How many slots of each.
        timeout_seconds: How long to wait for them; None: for as long as it takes.
        max_retries: How often to wait again, some 20 s each, after slots were not free; None: any
            number of times. 0: not to wait at all.
        lease_duration: How many seconds the slots stay taken when this process dies; it is
            renewed after three quarters of it.
        strict: Whether a limit that does not exist is an error.
        holder: Who holds the slots, for people: a mapping with ``type`` and ``id``. Default: the
            task run or flow run that is executing here, else the process.
        raise_on_lease_renewal_failure: Whether to end the block when the lease is lost, rather
            than to log it. Default: as ``strict``. A blocking call in C ends first.

    Raises:
        AcquireConcurrencySlotTimeoutError: The slots were not free in time.
        ConcurrencySlotAcquisitionError: The slots cannot be had: a limit does not exist and
            ``strict`` is set, has fewer slots, or ``max_retries`` is used up.
        ConcurrencyLeaseLostError: The lease was lost.
        InvalidArgument: An argument is wrong; it is named.
    """
    want = _wants.slots(
        names,
        occupy,
        timeout_seconds=timeout_seconds,
        max_retries=max_retries,
        lease_duration=lease_duration,
        strict=strict,
        holder=holder,
        raise_on_lease_renewal_failure=raise_on_lease_renewal_failure,
    )
    if not want.names:
        yield
        return
    keeper = _keeper.current()
    hold = _waiting.wait(keeper.submit(keeper.acquire(want)))
    taken = _telling.acquired(hold)
    try:
        with _waiting.ended_if_lost(hold):
            yield
    finally:
        _waiting.wait(hold.release())
        _telling.released(hold, taken)


@explained
def rate_limit(
    names: str | Sequence[str],
    occupy: int = 1,
    timeout_seconds: float | None = None,
    strict: bool = False,
) -> None:
    """Wait until slots of rate limits are free, and take them; they come back by themselves.

    The limits need a ``slot_decay_per_second``: how many slots come back per second.

    Args:
        names: The limits. Those that do not exist are warned about and limit nothing.
        occupy: How many slots of each.
        timeout_seconds: How long to wait for them; None: for as long as it takes.
        strict: Whether a limit that does not exist is an error.

    Raises:
        AcquireConcurrencySlotTimeoutError: The slots were not free in time.
        ConcurrencySlotAcquisitionError: The slots cannot be had: a limit does not exist and
            ``strict`` is set, has fewer slots, or has no slot decay.
        InvalidArgument: An argument is wrong; it is named.
    """
    want = _wants.rate(names, occupy, timeout_seconds=timeout_seconds, strict=strict)
    if want.names:
        keeper = _keeper.current()
        _waiting.wait(keeper.submit(keeper.acquire(want)))
