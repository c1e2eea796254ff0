"""A runner: leases runs, has each executed, and tells the server how it ended."""

from __future__ import annotations

import logging
import platform
import random
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import anyio
import anyio.abc

from headgate.client import orchestration
from headgate.core import clock, errors, ids, names, runs
from headgate_runner import defaults, ending, jobs, lease, output, report, stream, supervisor
from headgate_runner.executors import interface, process, spawn

#: How long the last words to the server may take.
_FAREWELL_SECONDS_MAX = 5.0
#: Of the runs of a lost runner, the hooks of so many are called at once.
_HOOKS_AT_ONCE = 4

OpenExecutor = Callable[[str], AbstractAsyncContextManager[interface.Executor]]


class Runner:
    """Leases flow runs from work pools and executes them.

    Args:
        api_url: The server.
        pools: The work pools it serves.
        queues: The queues it is limited to. Default: all of its pools.
        name: For people. Default: one that is made up.
        limit: How many runs at most at once.
        grace_seconds: How long runs may go on when it is asked to stop.
        write: Takes the lines that it says. Default: it says nothing.
        echo_output: Whether it also says what its runs print.
        open_executor: How runs are executed. Default: each in its own process.
        time: Where time comes from.
        rng: Where chance comes from.
    """

    def __init__(
        self,
        api_url: str,
        *,
        pools: Sequence[str] = ("default",),
        queues: Sequence[str] = (),
        name: str | None = None,
        limit: int = defaults.LIMIT,
        grace_seconds: float = defaults.GRACE_SECONDS,
        write: Callable[[str], None] | None = None,
        echo_output: bool = True,
        open_executor: OpenExecutor | None = None,
        time: clock.Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng or random.Random()
        self._time = time or clock.SystemClock()
        self.api_url = api_url
        self.name = name or names.random_name(self._rng)
        self.grace_seconds = grace_seconds
        self._report = report.Report(
            write or _say_nothing, self._time, output=echo_output and write is not None
        )
        self._identity = stream.Identity(
            name=self.name,
            instance_id=ids.new_id(),
            work_pool_names=tuple(pools),
            work_queue_names=tuple(queues),
        )
        self._book = lease.LeaseBook(slots=limit)
        self._stream = stream.LeaseStream(
            api_url,
            identity=self._identity,
            book=self._book,
            duties=self,
            time=self._time,
            rng=self._rng,
        )
        self._open_executor = open_executor or _open_default_executor
        self._executor: interface.Executor | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._logs = output.LogBuffer(self._store_logs, self._time)
        self._client: orchestration.HeadgateClient | None = None
        self._watched: dict[lease.Held, supervisor.Supervisor] = {}
        #: Runs of lost runners whose hooks are called, or wait for that.
        self._hooks_asked = 0
        self._hooks_at_once = anyio.Semaphore(_HOOKS_AT_ONCE)
        self._trouble = ""
        self._one_ended = anyio.Event()
        self._stop_asked = anyio.Event()
        self._hurry = anyio.Event()
        #: Set when the first stream stands.
        self.ready = anyio.Event()

    # Life

    async def run(self, *, handle_signals: bool = True) -> None:
        """Execute runs until ``stop``, SIGTERM or SIGINT.

        Args:
            handle_signals: Whether signals stop it; only in the main thread.

        Raises:
            HeadgateError: The server refuses the runner, e.g. because there is no such pool.
        """
        problem: BaseException | None = None
        try:
            await self._run(handle_signals=handle_signals)
        except* errors.HeadgateError as group:
            # What comes out of task groups is wrapped in as many groups; one reason is enough.
            problem = group
            while isinstance(problem, BaseExceptionGroup):
                problem = problem.exceptions[0]
        if problem is not None:
            raise problem

    async def _run(self, *, handle_signals: bool) -> None:
        async with (
            orchestration.get_client(api_url=self.api_url) as self._client,
            self._open_executor(self.api_url) as self._executor,
            anyio.create_task_group() as self._tasks,
        ):
            self._tasks.start_soon(self._logs.pump)
            self._tasks.start_soon(self._stop_when_asked)
            if handle_signals:
                self._tasks.start_soon(self._heed_signals)
            await self._stream.run()
            await self._logs.drained(_FAREWELL_SECONDS_MAX)
            self._tasks.cancel_scope.cancel()

    def stop(self) -> None:
        """Take no more runs, let those under way finish within the grace, then end.

        Asked a second time, what still runs is handed back at once.
        """
        if self._stop_asked.is_set():
            self._hurry.set()
        self._stop_asked.set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop_asked.is_set()

    async def _heed_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for _number in received:
                self.stop()

    async def _stop_when_asked(self) -> None:
        await self._stop_asked.wait()
        self._report.draining(len(self._watched), self.grace_seconds)
        self._stream.drain(self.grace_seconds)
        await self._idle_or_hurried(self.grace_seconds)
        grace = defaults.HAND_BACK_GRACE_SECONDS
        if self._hurry.is_set():
            grace = defaults.HURRIED_GRACE_SECONDS
        for watched in self._watched.values():
            watched.stop(ending.StopReason.HAND_BACK, grace_seconds=grace)
        with anyio.move_on_after(grace + _FAREWELL_SECONDS_MAX):
            await self._idle()
            await self._stream.all_released()
        self._stream.goodbye("The runner was stopped.")

    async def _idle_or_hurried(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._cancel_when_hurried, tasks.cancel_scope)
                await self._idle()
                tasks.cancel_scope.cancel()

    async def _cancel_when_hurried(self, scope: anyio.CancelScope) -> None:
        await self._hurry.wait()
        scope.cancel()

    async def _idle(self) -> None:
        while self._watched or self._hooks_asked:
            self._one_ended = anyio.Event()
            await self._one_ended.wait()

    async def _store_logs(self, records: Sequence[runs.LogRecord]) -> None:
        if self._client is not None:
            await self._client.write_logs(records)

    # Duties, as the stream tells them

    def start(self, job: jobs.Job) -> None:
        """Execute an accepted offer."""
        assert self._executor is not None
        assert self._tasks is not None
        watched = supervisor.Supervisor(
            job,
            executor=self._executor,
            logs=self._logs,
            echo=self._report.line,
            on_start=lambda pid: self._report.started(job, pid),
        )
        older = [w for held, w in self._watched.items() if held.flow_run_id == job.flow_run.id]
        self._watched[job.held] = watched
        self._tasks.start_soon(self._watch, watched, older)

    async def _watch(
        self, watched: supervisor.Supervisor, older: Sequence[supervisor.Supervisor]
    ) -> None:
        for other in older:
            await other.ended.wait()
        job = watched.job
        began = self._time.monotonic()
        result = await watched.run()
        release = ending.conclude(result)
        if release is not None:
            self._stream.release(job.held, release)
            if release.outcome is lease.Outcome.CRASHED:
                self._logs.add(job.flow_run.id, logging.ERROR, "headgate.runner", release.message)
        self._report.ended(job, result, release, self._time.monotonic() - began)
        if release is not None and release.outcome is lease.Outcome.CRASHED:
            await self._call_hooks(job)
        del self._watched[job.held]
        self._one_ended.set()

    async def _call_hooks(self, job: jobs.Job) -> None:
        """Call the hooks of a flow whose own process did not come to it."""
        with anyio.move_on_after(defaults.HOOKS_SECONDS_MAX):
            # The hooks are told the state that the release leads to.
            await self._stream.released(job.held)
            await self._run_hooks(job)

    def call_hooks(self, job: jobs.Job) -> None:
        """Call the hooks of a run whose own runner is lost."""
        assert self._tasks is not None
        self._hooks_asked += 1
        self._tasks.start_soon(self._call_lost_hooks, job)

    async def _call_lost_hooks(self, job: jobs.Job) -> None:
        try:
            async with self._hooks_at_once:
                with anyio.move_on_after(defaults.HOOKS_SECONDS_MAX):
                    await self._run_hooks(job)
        finally:
            self._hooks_asked -= 1
            self._one_ended.set()

    async def _run_hooks(self, job: jobs.Job) -> None:
        assert self._executor is not None
        caller = supervisor.Supervisor(
            job,
            executor=self._executor,
            logs=self._logs,
            echo=self._report.line,
            on_start=_unheard,
            work=interface.Work.HOOKS,
        )
        await caller.run()

    def cancel(self, flow_run_id: str, *, grace_seconds: float | None, reason: str) -> None:
        """Stop a run that somebody has cancelled."""
        grace = defaults.CANCEL_GRACE_SECONDS if grace_seconds is None else grace_seconds
        for held, watched in self._watched.items():
            if held.flow_run_id == flow_run_id and watched.stop(
                ending.StopReason.CANCEL, grace_seconds=grace
            ):
                self._report.cancelling(watched.job, reason)

    def abandon(self, held: lease.Held, *, grace_seconds: float, reason: str) -> None:
        """Stop a run whose lease is lost; nothing is to be reported."""
        watched = self._watched.get(held)
        if watched is not None and watched.stop(
            ending.StopReason.LOST, grace_seconds=grace_seconds
        ):
            self._report.abandoning(watched.job, reason)

    def connected(self, *, resumed: bool) -> None:
        """A stream stands."""
        self._trouble = ""
        if self.ready.is_set():
            self._report.reconnected(resumed=resumed)
            return
        self._report.connected(
            name=self.name,
            api_url=self.api_url,
            pools=self._identity.work_pool_names,
            queues=self._identity.work_queue_names,
            slots=self._book.slots,
        )
        self.ready.set()

    def disconnected(self, problem: Exception, *, retry_seconds: float) -> None:
        """A stream broke, or none could be made."""
        del retry_seconds
        # Told once, not with every attempt.
        if str(problem) != self._trouble:
            self._trouble = str(problem)
            self._report.disconnected(problem, held=len(self._watched))


def _open_default_executor(api_url: str) -> AbstractAsyncContextManager[interface.Executor]:
    # Elsewhere the system's own libraries may start threads, which do not survive a fork.
    module = process if platform.system() == "Linux" else spawn
    return module.open_executor(api_url)


def _unheard(_pid: int) -> None:
    pass


def _say_nothing(_line: str) -> None:
    pass
