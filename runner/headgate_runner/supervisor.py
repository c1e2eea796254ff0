"""Watches over one leased run: starts it, hears what it prints, stops it, says how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import anyio

from headgate.logging import handlers
from headgate_runner import ending, jobs, output
from headgate_runner.executors import interface

#: How long what a process has started may keep its output open after it has ended.
_LAST_LINES_SECONDS = 1.0
#: How long a receipt may be on its way when its process has ended.
_RECEIPT_SECONDS = 0.25


class Echo(Protocol):
    """Where the lines of a run are shown."""

    def __call__(self, run_name: str, line: str) -> None:
        """Show a line."""
        ...


class Supervisor:
    """Watches over one run.

    Args:
        job: The run.
        executor: Executes it.
        logs: Takes what it prints.
        echo: Shows what it prints.
        on_start: Told its process id.
        work: What is to be done about it.
    """

    def __init__(
        self,
        job: jobs.Job,
        *,
        executor: interface.Executor,
        logs: output.LogBuffer,
        echo: Echo,
        on_start: Callable[[int], None],
        work: interface.Work = interface.Work.EXECUTE,
    ) -> None:
        self.job = job
        self._work = work
        self._executor = executor
        self._logs = logs
        self._echo = echo
        self._on_start = on_start
        self._stop_asked = anyio.Event()
        self._stop_reason: ending.StopReason | None = None
        self._stop_grace = 0.0
        self._hurry = anyio.Event()
        self._forced = False
        self._receipt: ending.Receipt | None = None
        #: Set when nothing of the run is left.
        self.ended = anyio.Event()

    @property
    def receipt(self) -> ending.Receipt | None:
        """What its process reported last, if it did."""
        return self._receipt

    def stop(self, reason: ending.StopReason, *, grace_seconds: float) -> bool:
        """Have the run stopped; False if it is being stopped, or as good as ended, already.

        A lost lease outweighs all other reasons.
        """
        if self._receipt is not None:
            return False
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stop_grace = grace_seconds
            self._stop_asked.set()
            return True
        if reason is ending.StopReason.LOST and self._stop_reason is not reason:
            self._stop_reason = reason
            self._hurry.set()
        return False

    async def run(self) -> ending.Ending:
        """Execute the run to its end."""
        try:
            return await self._execute()
        finally:
            self.ended.set()

    async def _execute(self) -> ending.Ending:
        if self._stop_reason is not None:
            return ending.Ending(exit_code=None, stopped=self._stop_reason)
        try:
            child = await self._executor.start(self.job, self._work)
        except jobs.UnusableJob as error:
            return ending.Ending(exit_code=None, stopped=self._stop_reason, trouble=str(error))
        self._on_start(child.pid)
        try:
            code = await self._attend(child)
        finally:
            # A cancelled runner leaves no process of a run behind.
            child.kill()
            child.close()
        return ending.Ending(
            exit_code=code,
            receipt=self._receipt,
            stopped=self._stop_reason,
            forced=self._forced,
        )

    async def _attend(self, child: interface.Child) -> int:
        receipt_read = anyio.Event()
        output_read = anyio.Event()
        code = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_receipt, child, receipt_read)
            tasks.start_soon(self._read_output, child, output_read)
            tasks.start_soon(self._stop_when_asked, child)
            code = await child.wait()
            with anyio.move_on_after(_RECEIPT_SECONDS):
                await receipt_read.wait()
            with anyio.move_on_after(_LAST_LINES_SECONDS):
                await output_read.wait()
            tasks.cancel_scope.cancel()
        return code

    async def _read_receipt(self, child: interface.Child, read: anyio.Event) -> None:
        self._receipt = await child.receipt()
        read.set()

    async def _read_output(self, child: interface.Child, read: anyio.Event) -> None:
        async with anyio.create_task_group() as tasks:
            for reader, level, stream in (
                (child.stdout, logging.INFO, "stdout"),
                (child.stderr, logging.WARNING, "stderr"),
            ):
                tasks.start_soon(output.Lines(reader, self._line_of(level, stream)).read)
        read.set()

    def _line_of(self, level: int, stream: str) -> Callable[[str], None]:
        run = self.job.flow_run
        logger = f"headgate.runner.{stream}"

        def take(line: str) -> None:
            if line.startswith(handlers.MARK):
                # The child itself sent it to the server, as a log record.
                self._echo(run.name, line.removeprefix(handlers.MARK))
                return
            self._echo(run.name, line)
            if line.strip():
                self._logs.add(run.id, level, logger, line)

        return take

    async def _stop_when_asked(self, child: interface.Child) -> None:
        await self._stop_asked.wait()
        child.terminate(_INTENTS[self._stop_reason or ending.StopReason.LOST])
        with anyio.move_on_after(self._stop_grace):
            await self._hurry.wait()
        self._forced = True
        child.kill()


_INTENTS = {
    ending.StopReason.CANCEL: interface.Intent.CANCEL,
    ending.StopReason.LOST: interface.Intent.RESCHEDULE,
    ending.StopReason.HAND_BACK: interface.Intent.RESCHEDULE,
}
