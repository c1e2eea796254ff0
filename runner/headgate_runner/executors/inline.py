"""Executes runs in threads of the runner itself, for tests and tiny flows.

No process is made, so nothing can be captured, killed or told apart: what a run prints goes where
the runner prints, a run that is cancelled hears of it from the server, and one whose lease is lost
ends at its next word to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import sys
import traceback
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from headgate import settings
from headgate.engine import child as engine
from headgate.states import State
from headgate_runner import ending, jobs
from headgate_runner.executors import interface

#: Executes a leased run, given the name of its queue; returns the state in which it ended.
Execute = Callable[[engine.Spec, str], State[Any]]


def _execute_entrypoint(spec: engine.Spec, _queue_name: str) -> State[Any]:
    return engine.execute_here(spec)


class InlineChild:
    """A run in a thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self._receipt: ending.Receipt | None = None
        self._code = 1
        self._ended = anyio.Event()
        for nothing in (self.stdout, self.stderr):
            nothing.feed_eof()

    async def execute(
        self, execute: Callable[[], State[Any]], limiter: anyio.CapacityLimiter
    ) -> None:
        """Execute the run to its end."""
        try:
            state = await anyio.to_thread.run_sync(execute, abandon_on_cancel=True, limiter=limiter)
            self._receipt = ending.Receipt(type=state.type.value, name=state.name)
            self._code = 0
        except BaseException as error:  # of user code, which must not end the runner
            if isinstance(error, asyncio.CancelledError):
                raise
            traceback.print_exc(file=sys.stderr)
        finally:
            self._ended.set()

    async def wait(self) -> int:
        """Wait for its end."""
        await self._ended.wait()
        return self._code

    async def receipt(self) -> ending.Receipt | None:
        """Wait for its end; None if it reported none."""
        await self._ended.wait()
        return self._receipt

    def terminate(self, intent: interface.Intent) -> None:
        """Do nothing: the server tells the engine."""

    def kill(self) -> None:
        """Do nothing: a thread cannot be killed."""

    def close(self) -> None:
        """Do nothing: there are no pipes."""


class InlineExecutor:
    """Starts a thread for each job.

    Made by ``open_executor``.
    """

    def __init__(self, tasks: anyio.abc.TaskGroup, execute: Execute) -> None:
        self._tasks = tasks
        self._execute = execute
        # The slots of the runner are limit enough.
        self._limiter = anyio.CapacityLimiter(math.inf)

    async def start(
        self, job: jobs.Job, work: interface.Work = interface.Work.EXECUTE
    ) -> InlineChild:
        """Start a job."""
        if work is not interface.Work.EXECUTE:
            msg = "Hooks after a crash need a process of their own."
            raise jobs.UnusableJob(msg)
        child = InlineChild()
        spec = engine.Spec(
            flow_run_id=job.flow_run.id,
            fencing_token=job.fencing_token,
            entrypoint=job.deployment.entrypoint,
            path=job.deployment.path or None,
            pull_steps=job.deployment.pull_steps,
        )
        queue_name = job.flow_run.work_queue_name or ""
        self._tasks.start_soon(
            child.execute, functools.partial(self._execute, spec, queue_name), self._limiter
        )
        return child


@contextlib.asynccontextmanager
async def open_executor(
    api_url: str, *, execute: Execute = _execute_entrypoint
) -> AsyncGenerator[InlineExecutor]:
    """Make an executor.

    Args:
        api_url: The server that the runs report to; it becomes that of the whole process.
        execute: Executes a run of a queue, on a thread. Default: by its entrypoint.
    """
    with settings.temporary_settings({"api_url": api_url}):
        async with anyio.create_task_group() as tasks:
            try:
                yield InlineExecutor(tasks, execute)
            finally:
                tasks.cancel_scope.cancel()
