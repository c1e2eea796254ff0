"""What a runner says on its terminal: a line when something happens, and what its runs print."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate.core import clock
from headgate_runner import ending, jobs, lease


class Report:
    """Writes lines for people.

    Args:
        write: Takes a line, without its end.
        time: Where time comes from.
        output: Whether what the runs print is shown, too.
    """

    def __init__(
        self, write: Callable[[str], None], time: clock.Clock, *, output: bool = True
    ) -> None:
        self._write = write
        self._time = time
        self._output = output

    def connected(
        self, *, name: str, api_url: str, pools: Sequence[str], queues: Sequence[str], slots: int
    ) -> None:
        """The runner is there for the first time."""
        served = f"{_plural('pool', pools)} {_names(pools)}"
        if queues:
            served += f" ({_plural('queue', queues)} {_names(queues)})"
        runs = "1 run" if slots == 1 else f"{slots} runs"
        self._say(
            f"Runner {name!r} is connected to {api_url} and serves {served}, up to {runs} at "
            "once. Ctrl-C lets them finish, twice ends them."
        )

    def reconnected(self, *, resumed: bool) -> None:
        """The runner is there again."""
        self._say("Connected again." if resumed else "Connected again, as a new session.")

    def disconnected(self, problem: Exception, *, held: int) -> None:
        """The connection broke."""
        meanwhile = f" {held} of its runs go on." if held else ""
        self._say(f"Not connected: {problem} Trying again.{meanwhile}")

    def started(self, job: jobs.Job, pid: int) -> None:
        """A run has a process."""
        run = job.flow_run
        attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
        self._say(f"Run {run.name!r} of {_what(job)} started (process {pid}{attempt}).")

    def ended(
        self,
        job: jobs.Job,
        result: ending.Ending,
        release: lease.Release | None,
        seconds: float,
    ) -> None:
        """A run has ended, as far as this runner is concerned."""
        if result.receipt is not None:
            how = f"ended: {result.receipt.name}"
        elif release is None:
            how = "was stopped: its lease is lost"
        elif release.outcome is lease.Outcome.HANDED_BACK:
            how = "was handed back"
        else:
            how = f"ended. {release.message}"
        self._say(f"Run {job.flow_run.name!r} {how} ({seconds:.1f} s).")

    def cancelling(self, job: jobs.Job, reason: str) -> None:
        """Somebody has cancelled a run."""
        why = f": {reason}" if reason else "."
        self._say(f"Run {job.flow_run.name!r} is being cancelled{why}")

    def abandoning(self, job: jobs.Job, reason: str) -> None:
        """The lease of a run is lost."""
        self._say(f"Run {job.flow_run.name!r} is being stopped: {reason}.")

    def draining(self, held: int, grace_seconds: float) -> None:
        """The runner is about to end."""
        if held:
            runs = "its run" if held == 1 else f"its {held} runs"
            self._say(f"Draining: {runs} may finish within {grace_seconds:g} s.")
        else:
            self._say("Draining: nothing is under way.")

    def line(self, run_name: str, line: str) -> None:
        """A run has printed a line."""
        if self._output:
            self._write(f"{run_name} | {line}")

    def _say(self, text: str) -> None:
        self._write(f"{self._time.now().astimezone():%H:%M:%S} {text}")


def _what(job: jobs.Job) -> str:
    return job.deployment.full_name if job.deployment.name else repr(job.flow_run.flow_name)


def _plural(noun: str, names: Sequence[str]) -> str:
    return noun if len(names) == 1 else f"{noun}s"


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
