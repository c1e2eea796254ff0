"""Executes each run in a process of its own, made from nothing.

For machines where forking is not safe. Each process imports all it needs, which takes some hundred
milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence

import anyio
import anyio.abc

from headgate import settings
from headgate_runner import jobs
from headgate_runner.executors import interface
from headgate_runner.executors.child import ProcessChild

#: What executes the run of its environment.
DEFAULT_COMMAND = (sys.executable, "-m", "headgate.engine")

_HOOKS_COMMAND = (sys.executable, "-m", "headgate_runner.hooks")


class SpawnExecutor:
    """Starts a new interpreter for each job.

    Made by ``open_executor``.
    """

    def __init__(self, api_url: str, command: Sequence[str], tasks: anyio.abc.TaskGroup) -> None:
        self._api_url = api_url
        self._command = command
        self._tasks = tasks

    async def start(
        self, job: jobs.Job, work: interface.Work = interface.Work.EXECUTE
    ) -> ProcessChild:
        """Start a job, or what is left to do about it."""
        command = self._command if work is interface.Work.EXECUTE else _HOOKS_COMMAND
        env = {
            **os.environ,
            **settings.environment(),
            **jobs.environment(job, api_url=self._api_url),
        }
        process: anyio.abc.Process | None = None

        def send_signal(number: int) -> None:
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    if number == signal.SIGKILL:
                        os.killpg(process.pid, number)
                    process.send_signal(signal.Signals(number))

        child = ProcessChild(send_signal)
        given: list[int] = []
        try:
            await child.open(given)
            stdout, stderr, control, _runner_end = given
            process = await anyio.open_process(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**env, "PYTHONUNBUFFERED": "1", "HEADGATE__CONTROL_FD": str(control)},
                pass_fds=[control],
                start_new_session=True,
            )
        except OSError as error:
            child.close()
            msg = f"No process could be made for the run: {error}."
            raise jobs.UnusableJob(msg) from error
        finally:
            for descriptor in given:
                os.close(descriptor)
        child.pid = process.pid
        self._tasks.start_soon(self._await_end, process, child)
        return child

    async def _await_end(self, process: anyio.abc.Process, child: ProcessChild) -> None:
        child.note_exit(await process.wait())


@contextlib.asynccontextmanager
async def open_executor(
    api_url: str, *, command: Sequence[str] = DEFAULT_COMMAND
) -> AsyncGenerator[SpawnExecutor]:
    """Make an executor.

    Args:
        api_url: The server that the children report to.
        command: What executes the run of its environment.
    """
    async with anyio.create_task_group() as tasks:
        try:
            yield SpawnExecutor(api_url, command, tasks)
        finally:
            tasks.cancel_scope.cancel()
