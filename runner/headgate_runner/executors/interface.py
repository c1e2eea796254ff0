"""What every executor offers its supervisor."""

from __future__ import annotations

import asyncio
import enum
from typing import Protocol

from headgate_runner import ending, jobs


class Intent(enum.StrEnum):
    """Why a child is about to get SIGTERM, sent to it before the signal."""

    #: Report Cancelled.
    CANCEL = "cancel"
    #: Report nothing: the run goes on elsewhere, or is not this child's any more.
    RESCHEDULE = "reschedule"


class Work(enum.StrEnum):
    """What a child does with its job."""

    #: Execute the run.
    EXECUTE = "execute"
    #: Call the hooks of the flow, after a run whose own process could not.
    HOOKS = "hooks"


class Child(Protocol):
    """An execution under way."""

    @property
    def pid(self) -> int:
        """The id of its process."""
        ...

    @property
    def stdout(self) -> asyncio.StreamReader:
        """What it prints."""
        ...

    @property
    def stderr(self) -> asyncio.StreamReader:
        """What it prints as errors."""
        ...

    async def wait(self) -> int:
        """Wait for its end and return the exit code, negative where a signal ended it."""
        ...

    async def receipt(self) -> ending.Receipt | None:
        """Wait until it says that it has reported its last state; None if it ends before."""
        ...

    def terminate(self, intent: Intent) -> None:
        """Ask it to end. Does nothing if it has ended."""
        ...

    def kill(self) -> None:
        """End it and what it started. Does nothing if it has ended."""
        ...

    def close(self) -> None:
        """Let go of its pipes. What it still prints is lost."""
        ...


class Executor(Protocol):
    """A way to execute leased runs."""

    async def start(self, job: jobs.Job, work: Work = Work.EXECUTE) -> Child:
        """Start a job, or what is left to do about it.

        Raises:
            headgate_runner.jobs.UnusableJob: It cannot be started, and why.
        """
        ...
