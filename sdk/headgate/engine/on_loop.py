"""Async tasks that an async flow submits: they run on the flow's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headgate.futures import Future

if TYPE_CHECKING:
    from headgate.engine.task_engine import TaskCall

__all__ = ["OnLoop"]


class OnLoop:
    """Starts async tasks on one loop.

    A flow that submits async tasks and then blocks on a future, without ever awaiting, would wait
    for ever: its loop cannot run what it waits for. None of these tasks can have begun, so they
    are moved to threads, with loops of their own. Only when one has begun is it too late.

    Args:
        loop: The loop.
        track: Told of each future.
        execute: Runs a call on a thread instead.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        track: Callable[[Future[Any]], None],
        execute: Callable[[TaskCall, Future[Any]], None],
    ) -> None:
        """Start nothing yet."""
        self.loop = loop
        self._track = track
        self._execute = execute
        self._waiting: dict[str, tuple[TaskCall, Future[Any], asyncio.Task[None]]] = {}
        self._begun: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, run: TaskCall) -> Future[Any]:
        """Run a call on the loop."""
        run.announce()
        run_id = run.context.id
        future: Future[Any] = Future(
            run_id, current=run.state, start_elsewhere=lambda: self._make_way(run_id)
        )
        self._track(future)
        task = self.loop.create_task(self._run(run, future))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._waiting[run_id] = (run, future, task)
        return future

    async def _run(self, run: TaskCall, future: Future[Any]) -> None:
        if self._waiting.pop(run.context.id, None) is None:
            return
        self._begun.add(run.context.id)
        try:
            future.end(await run.run_async())
        except asyncio.CancelledError as error:
            future.end(run.torn_down(error))
            raise
        finally:
            self._begun.discard(run.context.id)

    def _make_way(self, run_id: str) -> None:
        """Called by a thread that is about to block on a run."""
        if not self._blocks_the_loop():
            return
        # All of them, not only the one that is waited for: the loop stands still.
        waiting, self._waiting = self._waiting, {}
        for run, future, task in waiting.values():
            task.cancel()
            self._execute(run, future)
        if run_id in self._begun:
            msg = (
                "The task runs on this very event loop, which cannot go on while this thread "
                "blocks; await the future instead of calling its result() or wait()."
            )
            raise RuntimeError(msg)

    def _blocks_the_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def cancel_all(self) -> None:
        """Forget those that have not begun."""
        while self._waiting:
            # A task of asyncio that has not begun ends without running a line of ours.
            _id, (run, future, _task) = self._waiting.popitem()
            future.end(run.abandon())

    def interrupt_all(self) -> None:
        """Cancel those that have begun."""
        for task in list(self._tasks):
            self.loop.call_soon_threadsafe(task.cancel)
