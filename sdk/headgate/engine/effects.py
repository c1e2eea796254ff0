"""One engine for sync and async code.

An engine is a generator that decides what happens next and yields an effect: call this function,
wait for that future, sleep. ``drive`` performs effects by blocking, ``drive_async`` by awaiting
on the user's own loop; both send the outcome back in. So each decision is written once.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from concurrent.futures import Future
from types import AsyncGeneratorType
from typing import Any, Protocol, TypeVar

from headgate.engine import blocking, sleeping, timeouts

__all__ = [
    "Call",
    "Effect",
    "Sleep",
    "Steps",
    "Twin",
    "Wait",
    "drive",
    "drive_async",
    "drive_async_generator",
    "drive_generator",
    "run",
]

T = TypeVar("T")

_ASYNC_GENERATOR: type[Any] = AsyncGeneratorType


class Effect(Protocol):
    """Something for a driver to do."""

    def perform(self) -> Any:
        """Do it, blocking."""
        ...

    async def perform_async(self) -> Any:
        """Do it, awaiting."""
        ...


Steps = Generator[Effect, Any, T]


class Call:
    """Call a function of the user's.

    Args:
        fn: The function, sync or async.
        args: Its arguments.
        kwargs: Its arguments by name.
        timeout_seconds: How long it may take.
        on_timeout: Makes the error that ends it.
    """

    __slots__ = ("args", "fn", "kwargs", "on_timeout", "timeout_seconds")

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        on_timeout: Callable[[], Exception] = TimeoutError,
    ) -> None:
        """Make a call."""
        self.fn = fn
        self.args = args
        self.kwargs = kwargs or {}
        self.timeout_seconds = timeout_seconds
        self.on_timeout = on_timeout

    def perform(self) -> Any:
        """Call it; a coroutine, as async hooks return, runs on a loop of its own."""
        if self.timeout_seconds is None:
            value = self.fn(*self.args, **self.kwargs)
        else:
            with timeouts.limit(self.timeout_seconds, self.on_timeout):
                value = self.fn(*self.args, **self.kwargs)
        if type(value) is _COROUTINE:
            return run(value)
        return value

    async def perform_async(self) -> Any:
        """Call it, and await what it returns if that is a coroutine."""
        if self.timeout_seconds is None:
            value = self.fn(*self.args, **self.kwargs)
            return await value if inspect.iscoroutine(value) else value
        import asyncio

        if not inspect.iscoroutinefunction(self.fn):
            return self.perform()
        limit = asyncio.timeout(self.timeout_seconds)
        try:
            async with limit:
                return await self.fn(*self.args, **self.kwargs)
        except TimeoutError as error:
            if not limit.expired():
                raise
            # Where the code was when its time was over: there it was cancelled.
            there = (error.__cause__ or error).__traceback__
            raise self.on_timeout().with_traceback(there) from None


class Twin:
    """Call a function of our own that may block, e.g. for a disk; on a loop its async twin.

    Args:
        fn: The function.
        afn: Its async twin; None: the function does not block for long.
        args: The arguments of either.
    """

    __slots__ = ("afn", "args", "fn")

    def __init__(self, fn: Callable[..., Any], afn: Callable[..., Any] | None, *args: Any) -> None:
        """Make a call."""
        self.fn = fn
        self.afn = afn
        self.args = args

    def perform(self) -> Any:
        """Call the function."""
        return self.fn(*self.args)

    async def perform_async(self) -> Any:
        """Await the twin."""
        return self.fn(*self.args) if self.afn is None else await self.afn(*self.args)


class Sleep:
    """Do nothing for a while."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        """Sleep so long."""
        self.seconds = seconds

    def perform(self) -> None:
        """Block."""
        if self.seconds > 0:
            with blocking.released():
                sleeping.sleep(self.seconds)

    async def perform_async(self) -> None:
        """Await."""
        await sleeping.sleep_async(max(0.0, self.seconds))


class Wait:
    """Wait for a future and return its result.

    Args:
        future: The future.
        timeout_seconds: How long; then ``TimeoutError`` is raised.
        make_way: Called before blocking: the future may need this very thread.
    """

    __slots__ = ("_make_way", "future", "timeout_seconds")

    def __init__(
        self,
        future: Future[Any],
        timeout_seconds: float | None = None,
        *,
        make_way: Callable[[], None] | None = None,
    ) -> None:
        """Wait for it."""
        self.future = future
        self.timeout_seconds = timeout_seconds
        self._make_way = make_way

    def perform(self) -> Any:
        """Block."""
        if self.future.done():
            return self.future.result()
        if self._make_way is not None:
            self._make_way()
        if not blocking.has_place():
            return self.future.result(self.timeout_seconds)
        with blocking.released():
            return self.future.result(self.timeout_seconds)

    async def perform_async(self) -> Any:
        """Await."""
        if self.future.done():
            return self.future.result()
        import asyncio

        # Shielded: an engine that is cancelled must not cancel the future of somebody else.
        waiting = asyncio.shield(asyncio.wrap_future(self.future))
        return await asyncio.wait_for(waiting, self.timeout_seconds)


def drive(steps: Steps[T]) -> T:
    """Run an engine to its end, blocking."""
    try:
        effect = steps.send(None)
        while True:
            try:
                value = effect.perform()
            except BaseException as error:  # the engine decides what becomes of it
                failed = error
            else:
                effect = steps.send(value)
                continue
            # Out of the handler: what the engine raises next was not raised because of this.
            try:
                effect = steps.throw(failed)
            finally:
                del failed  # its traceback refers to this frame
    except StopIteration as stop:
        return stop.value


def _trim(error: BaseException) -> None:
    """Show the code of the user first, where this is the outermost function of ours."""
    from headgate.logging import tracebacks  # only who fails pays

    tracebacks.trim(error)


async def _all_of(generator: AsyncGenerator[Any, Any]) -> list[Any]:
    return [item async for item in generator]


async def drive_async(steps: Steps[T]) -> T:
    """Run an engine to its end, awaiting on the running loop."""
    try:
        effect = steps.send(None)
        while True:
            try:
                value = await effect.perform_async()
                if type(value) is _ASYNC_GENERATOR:
                    # Nobody takes what it yields one by one: of a run that was submitted.
                    value = await _all_of(value)
            except BaseException as error:  # the engine decides what becomes of it
                failed = error
            else:
                effect = steps.send(value)
                continue
            # Out of the handler: what the engine raises next was not raised because of this.
            try:
                effect = steps.throw(failed)
            finally:
                del failed  # its traceback refers to this frame
    except StopIteration as stop:
        return stop.value
    except BaseException as error:
        _trim(error)
        raise


def drive_generator(steps: Steps[Any]) -> Generator[Any, Any, Any]:
    """Run an engine whose function is a generator, and pass on what it yields.

    All of it happens in a context of its own, so that code between two yields is not taken to
    be part of the run.
    """
    context = contextvars.copy_context()
    try:
        effect = context.run(steps.send, None)
        while True:
            try:
                value = context.run(effect.perform)
                if inspect.isgenerator(value):
                    value = yield from _pass_on(value, context)
            except BaseException as error:  # the engine decides what becomes of it
                failed = error
            else:
                effect = context.run(steps.send, value)
                continue
            # Out of the handler: what the engine raises next was not raised because of this.
            try:
                effect = context.run(steps.throw, failed)
            finally:
                del failed  # its traceback refers to this frame
    except StopIteration as stop:
        return stop.value
    except BaseException as error:
        _trim(error)
        raise


def _pass_on(
    generator: Generator[Any, Any, Any], context: contextvars.Context
) -> Generator[Any, Any, Any]:
    step: Callable[[], Any] = functools.partial(generator.send, None)
    while True:
        try:
            item = context.run(step)
        except StopIteration as stop:
            return stop.value
        try:
            sent = yield item
        except GeneratorExit:
            context.run(generator.close)
            raise
        except BaseException as error:  # thrown in by the consumer; the generator's to handle
            step = functools.partial(generator.throw, error)
        else:
            step = functools.partial(generator.send, sent)


async def drive_async_generator(steps: Steps[Any]) -> AsyncGenerator[Any, Any]:
    """Run an engine whose function is an async generator, and pass on what it yields."""
    try:
        effect = steps.send(None)
        while True:
            try:
                value = await effect.perform_async()
                if inspect.isasyncgen(value):
                    async for item in value:
                        yield item
                    value = None
            except BaseException as error:  # the engine decides what becomes of it
                failed = error
            else:
                effect = steps.send(value)
                continue
            # Out of the handler: what the engine raises next was not raised because of this.
            try:
                effect = steps.throw(failed)
            finally:
                del failed  # its traceback refers to this frame
    except StopIteration:
        return
    except BaseException as error:
        _trim(error)
        raise


async def _nothing() -> None:
    """Be a coroutine, to tell its type."""


_coroutine = _nothing()
_COROUTINE = type(_coroutine)
_coroutine.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine where there is no loop to await it on."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    # A sync run within an async one blocks the loop's thread, which can run no second loop.
    result: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result.set_result(context.run(asyncio.run, coroutine))
        except BaseException as error:  # passed on to who waits
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result.result()
