"""The frame of a loop: a step, a rest that can be cut short, and no end by an error."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from headgate.core import errors
from headgate_server.services.notifier import Signal

_log = logging.getLogger("headgate.server.loops")


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
