"""The frame of a loop: a step, a rest that can be cut short, and no end by an error."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn, TypeVar

from headgate.core import errors
from headgate_server.services.notifier import Signal

T = TypeVar("T")

_log = logging.getLogger("headgate.server.loops")


async def each(name: str, things: Iterable[T], do: Callable[[T], Awaitable[object]]) -> int:
    """Do something with each; one that fails is logged, and keeps the others from nothing.

    Args:
        name: The name of the loop, for the log.
        things: What to do it with.
        do: What to do; returns whether it changed anything.

    Returns:
        With how many of them something was done.

    Raises:
        Unavailable: The database cannot be used: it would fail for all.
    """
    done = 0
    for thing in things:
        try:
            done += bool(await do(thing))
        except errors.Unavailable:
            raise
        except Exception:  # whatever is wrong with one: the next one has a right to its turn
            _log.exception("%s failed with %r; it goes on with the next", name, thing)
    return done


async def forever(
    name: str,
    step: Callable[[], Awaitable[bool | None]],
    *,
    interval_seconds: float,
    signal: Signal | None = None,
) -> NoReturn:
    """Do a step, rest for the interval or until the signal is given, and so on.

    Args:
        name: The name of the loop, for the log.
        step: What it does; True says that there is more to do at once.
        interval_seconds: How long it rests.
        signal: What wakes it earlier.
    """
    signal = signal or Signal()
    while True:
        seen = signal.count
        more = False
        try:
            more = bool(await step())
        except errors.Unavailable as error:
            _log.warning("%s has to wait: %s", name, error)
        except Exception:  # a loop that ends would be missed silently and for ever
            _log.exception("%s failed; it goes on in %g s", name, interval_seconds)
        if not more:
            await signal.wait(seen, timeout_seconds=interval_seconds)
