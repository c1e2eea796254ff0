"""From coroutines to functions that block, and back."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from headgate import _calling

__all__ = [
    "asyncnullcontext",
    "gather",
    "is_async_fn",
    "is_async_gen_fn",
    "run_coro_as_sync",
    "run_sync_in_worker_thread",
    "sync_compatible",
]

P = ParamSpec("P")
R = TypeVar("R")


def is_async_fn(func: Callable[..., Any]) -> bool:
    """Say whether a function is a coroutine function, whatever decorators are around it."""
    return inspect.iscoroutinefunction(inspect.unwrap(func))


def is_async_gen_fn(func: Callable[..., Any]) -> bool:
    """Say whether a function is an async generator function, whatever decorators are around it."""
    return inspect.isasyncgenfunction(inspect.unwrap(func))


def run_coro_as_sync(
    coroutine: Coroutine[Any, Any, R],
    force_new_thread: bool = False,
    wait_for_result: bool = True,
) -> R | None:
    """Run a coroutine to its end, from code that blocks.

    Where a loop runs in this thread the coroutine runs on one of its own, in another thread, so
    that it cannot wait for what only this thread does.

    Args:
        coroutine: What to run.
        force_new_thread: Whether it runs in another thread even where no loop runs in this one.
        wait_for_result: Whether to wait for its end; otherwise None is returned at once.
    """
    if not force_new_thread and wait_for_result and not _loop_runs():
        return asyncio.run(coroutine)
    ended: list[R] = []
    failed: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            ended.append(context.run(asyncio.run, coroutine))
        except BaseException as error:  # handed over to the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, name="run-coro-as-sync", daemon=not wait_for_result)
    thread.start()
    if not wait_for_result:
        return None
    thread.join()
    if failed:
        raise failed[0]
    return ended[0]


async def run_sync_in_worker_thread(fn: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a function that blocks in a thread, with the context of the caller."""
    return await asyncio.to_thread(fn, *args, **kwargs)


def sync_compatible(async_fn: Callable[P, Coroutine[Any, Any, R]]) -> Callable[..., Any]:
    """Let a coroutine function be called by code that blocks, too.

    Where the caller can await, the coroutine is returned; elsewhere it is run to its end.
    ``_sync=True`` or ``_sync=False`` says which.

    Args:
        async_fn: The function. It is also there as ``aio``.
    """

    @functools.wraps(async_fn)
    def either(*args: P.args, **kwargs: P.kwargs) -> Any:
        blocking = cast("dict[str, Any]", kwargs).pop("_sync", None)
        coroutine = async_fn(*args, **kwargs)
        if blocking is None:
            blocking = not _calling.in_event_loop()
        return run_coro_as_sync(coroutine) if blocking else coroutine

    setattr(either, "aio", async_fn)  # noqa: B010  # as users know it
    return either


async def gather(*calls: Callable[[], Awaitable[R]]) -> list[R]:
    """Call coroutine functions at once, and return their results in this order.

    The first failure cancels the others, and is raised.
    """
    tasks: list[asyncio.Task[R]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_awaited(call)) for call in calls]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


async def _awaited(call: Callable[[], Awaitable[R]]) -> R:
    return await call()


@contextlib.asynccontextmanager
async def asyncnullcontext(value: R = None) -> AsyncGenerator[R]:
    """Do nothing: in the place of an async context manager that may not be wanted.

    Yields:
        The value.
    """
    yield value


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
