"""How code waits for slots, and how it is ended when it loses them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from typing import TypeVar

from headgate.concurrency._keeper import Hold
from headgate.core import errors
from headgate.engine import blocking, timeouts

T = TypeVar("T")

#: How long a thread waits before it looks whether it was told to end: an exception that is
#: raised in a thread from outside arrives between two instructions, not within a wait.
_SLICE_SECONDS = 0.1


class _SlotsLost(BaseException):
    """Raised in a thread from outside; becomes ConcurrencyLeaseLostError."""


def _nothing() -> None:
    """Go on waiting."""


def wait(future: Future[T], look: Callable[[], object] = _nothing) -> T:
    """Wait for a future, blocking.

    Args:
        future: The future; cancelled if the wait is interrupted.
        look: Called now and then; ends the wait by raising.
    """
    try:
        if future.done():
            return future.result()
        with blocking.released():
            while True:
                try:
                    return future.result(_SLICE_SECONDS)
                except TimeoutError:
                    if future.done():
                        raise
                look()
    except BaseException:
        future.cancel()
        raise


async def wait_async(future: Future[T]) -> T:
    """Wait for a future, awaiting; it is cancelled if the wait is."""
    try:
        return await asyncio.shield(asyncio.wrap_future(future))
    except BaseException:
        future.cancel()
        raise


@contextlib.contextmanager
def ended_if_lost(hold: Hold) -> Generator[None]:
    """Raise ConcurrencyLeaseLostError in the block when the slots are lost, if that is wanted.

    Between two instructions: a blocking call in C ends first.
    """
    if not hold.want.raises_on_loss:
        yield
        return
    thread_id = threading.get_ident()
    lock = threading.Lock()
    over = fired = False

    def fire() -> None:
        nonlocal fired
        with lock:
            if not over:
                fired = True
                timeouts.inject(thread_id, _SlotsLost)

    hold.when_lost(fire)
    try:
        try:
            yield
        finally:
            with lock:
                over = True
            hold.when_lost(None)
            if fired:
                # Not delivered yet if the block ended by itself in this very moment.
                timeouts.inject(thread_id, None)
    except _SlotsLost as error:
        raise _lost(hold).with_traceback(error.__traceback__) from hold.lost


@contextlib.asynccontextmanager
async def cancelled_if_lost(hold: Hold) -> AsyncGenerator[None]:
    """Cancel the block when the slots are lost, if that is wanted; raise what ended it."""
    if not hold.want.raises_on_loss:
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    is_over = cancelled = False
    # Of earlier ones that nobody took back, as asyncio's task groups in Python 3.11.
    cancellations = task.cancelling()

    def cancel() -> None:
        nonlocal cancelled
        if not is_over:
            cancelled = True
            task.cancel()

    def fire() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the block has ended
            loop.call_soon_threadsafe(cancel)

    hold.when_lost(fire)
    try:
        try:
            yield
        finally:
            is_over = True
            hold.when_lost(None)
    except asyncio.CancelledError as error:
        if not cancelled or task.uncancel() > cancellations:
            raise  # somebody else cancels it, too
        raise _lost(hold).with_traceback(error.__traceback__) from hold.lost


def _lost(hold: Hold) -> errors.ConcurrencyLeaseLostError:
    names = ", ".join(repr(name) for name in hold.want.names)
    return errors.ConcurrencyLeaseLostError(
        f"The lease on slots of {names} was lost, so others may use them: {hold.lost}"
    )


__all__ = ["cancelled_if_lost", "ended_if_lost", "wait", "wait_async"]
