"""What an engine tells about a run, and to whom."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple, Protocol

from headgate.codec.session import Item, Reported
from headgate.core import errors, states

__all__ = ["Answer", "Recorder", "Unrecorded"]


class Answer(NamedTuple):
    """What the server said to a proposed state.

    Attributes:
        verdict: The verdict.
        run_count: How often the run has entered Running, this time included.
    """

    verdict: states.Verdict
    run_count: int


class Recorder(Protocol):
    """Takes what happens in one flow run. Its methods may be called from any thread."""

    @property
    def failure(self) -> errors.HeadgateError | None:
        """Why nothing is taken any more, e.g. ``LeaseFenced``; None while all is well."""
        ...

    def record(self, item: Item) -> None:
        """Take a fact. Returns at once, save when too much waits to be sent.

        Raises:
            HeadgateError: Nothing is taken any more; the same as ``failure``.
        """
        ...

    def commit(self, item: Reported) -> Future[None]:
        """Take a fact; the future is done when it is committed, or has the failure."""
        ...

    def propose(
        self, state: states.State, *, task_run_id: str = "", force: bool = False
    ) -> Future[Answer]:
        """Ask to enter a state; the future has the answer, or the failure."""
        ...

    def flush(self) -> Future[None]:
        """Return a future that is done when all that was taken is committed."""
        ...


class Unrecorded:
    """The recorder of tasks that are called outside of flows: nobody is told."""

    failure: errors.HeadgateError | None = None

    def record(self, item: Item) -> None:
        """Do nothing."""

    def commit(self, item: Reported) -> Future[None]:
        """Be done at once."""
        return self.flush()

    def propose(
        self, state: states.State, *, task_run_id: str = "", force: bool = False
    ) -> Future[Answer]:
        """Accept everything."""
        answered: Future[Answer] = Future()
        verdict = states.Verdict(kind=states.VerdictKind.ACCEPT, state=state)
        answered.set_result(Answer(verdict, 1))
        return answered

    def flush(self) -> Future[None]:
        """Be done at once."""
        flushed: Future[None] = Future()
        flushed.set_result(None)
        return flushed
