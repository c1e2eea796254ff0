"""Starts the many calls of one ``map``, so many at once, so that memory is bounded.

A call that has not begun is an argument and a future, nothing more: its run is made when it is its
turn. Whoever ends a run starts the next one.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from headgate import states
from headgate.engine import outcomes
from headgate.futures import Future

__all__ = ["AHEAD", "Spread"]

J = TypeVar("J")

#: How many calls of one ``map`` are begun before the first has ended, where nothing else says.
AHEAD = 1_000


class Spread(Generic[J]):
    """The calls of one ``map``.

    Args:
        futures: One for each call; all of them are ended by whoever runs the calls.
        make: Makes the job of the nth call.
        start: Starts jobs that are executed one after the other.
        width: How many batches are under way at once.
        batch_size: How many calls are one batch.
    """

    def __init__(
        self,
        futures: Sequence[Future[Any]],
        make: Callable[[int], J],
        start: Callable[[list[tuple[J, Future[Any]]]], None],
        *,
        width: int,
        batch_size: int = 1,
    ) -> None:
        """Start nothing yet."""
        self._futures = futures
        self._make: Callable[[int], J] | None = make
        self._start = start
        self._width = width
        self._batch_size = batch_size
        # What is started later, by other threads, belongs to the runs that called map.
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._next = 0
        self._under_way = 0
        self._filling: set[int] = set()

    @property
    def is_over(self) -> bool:
        """Whether all calls have been started."""
        return self._next >= len(self._futures)

    def fill(self) -> None:
        """Start as many calls as there is room for."""
        here = threading.get_ident()
        if here in self._filling:
            # A call that ended while it was started; the loop below sees that there is room.
            return
        self._filling.add(here)
        try:
            while (taken := self._take()) is not None:
                self._begin(*taken)
        finally:
            self._filling.discard(here)

    def cancel(self) -> None:
        """Start no more; the futures of calls that were not started end as Cancelled."""
        with self._lock:
            left, self._next = self._futures[self._next :], len(self._futures)
        for future in left:
            future.end(
                states.Cancelled(
                    message="The flow run ended before this run began.",
                    task_run_id=future.task_run_id or None,
                )
            )

    def _take(self) -> tuple[int, int] | None:
        with self._lock:
            first = self._next
            if first >= len(self._futures) or self._under_way >= self._width:
                return None
            self._next = min(first + self._batch_size, len(self._futures))
            self._under_way += 1
            return first, self._next

    def _begin(self, first: int, last: int) -> None:
        batch = self._futures[first:last]
        left = [len(batch)]

        def on_ended(_future: Future[Any]) -> None:
            with self._lock:
                left[0] -= 1
                if left[0]:
                    return
                self._under_way -= 1
            self.fill()

        try:
            self._context.copy().run(self._begin_here, first, batch)
        except BaseException as error:  # who waits for the futures hears of it
            for future in batch:
                future.end(outcomes.crashed(error).copy(task_run_id=future.task_run_id or None))
        for future in batch:
            future.add_done_callback(on_ended)

    def _begin_here(self, first: int, batch: Sequence[Future[Any]]) -> None:
        make = self._make
        assert make is not None
        self._start([(make(first + n), future) for n, future in enumerate(batch)])
