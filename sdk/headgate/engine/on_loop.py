"""Async tasks and flows that an async flow submits: they run on the flow's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from headgate.core import errors
from headgate.engine.submission import Job
from headgate.futures import Future

__all__ = ["OnLoop"]


class OnLoop:
    """Starts async jobs on one loop.

    A flow that submits async tasks and then blocks on a future, without ever awaiting, would wait
    for ever: its loop cannot run what it waits for. None of these tasks can have begun, so they
    are moved to threads, with loops of their own. Only when one has begun is it too late.

    Args:
        loop: The loop.
        execute: Runs a job on a thread instead.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, execute: Callable[[Job, Future[Any]], None]
    ) -> None:
        """Start nothing yet."""
        self.loop = loop
        self._execute = execute
        self._waiting: dict[str, tuple[Job, Future[Any], asyncio.Task[None]]] = {}
        self._begun: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, job: Job, future: Future[Any]) -> None:
        """Run a job on the loop."""
        job.announce()
        run_id = job.id
        future.begin(job.state, lambda: self.make_way(run_id))
        task = self.loop.create_task(self._run(job, future))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._waiting[run_id] = (job, future, task)

    async def _run(self, job: Job, future: Future[Any]) -> None:
        if self._waiting.pop(job.id, None) is None:
            return
        self._begun.add(job.id)
        try:
            future.end(await job.run_async())
        except asyncio.CancelledError as error:
            future.end(job.torn_down(error))
            raise
        finally:
            self._begun.discard(job.id)

    def make_way(self, *run_ids: str) -> None:
        """Called by a thread that is about to block on a run.

        Args:
            *run_ids: The run, and those that it waits for; none: it is one that is not started
                before others have ended.
        """
        if not self._blocks_the_loop():
            return
        # All of them, not only the one that is waited for: the loop stands still.
        waiting, self._waiting = self._waiting, {}
        for job, future, task in waiting.values():
            task.cancel()
            self._execute(job, future)
        if self._begun and (not run_ids or not self._begun.isdisjoint(run_ids)):
            msg = (
                "The task runs on this very event loop, which cannot go on while this thread "
                "blocks; await the future instead of calling its result() or wait()."
            )
            raise errors.UsageError(msg)

    def _blocks_the_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def cancel_all(self) -> None:
        """Forget those that have not begun."""
        while self._waiting:
            # A task of asyncio that has not begun ends without running a line of ours.
            _id, (job, future, _task) = self._waiting.popitem()
            future.end(job.abandon())

    def interrupt_all(self) -> None:
        """Cancel those that have begun."""
        for task in list(self._tasks):
            self.loop.call_soon_threadsafe(task.cancel)
