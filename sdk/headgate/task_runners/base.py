"""What a task runner is."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from headgate import context as contexts
from headgate.futures import FlowRunFuture, Future, FutureList

if TYPE_CHECKING:
    from headgate.flows import Flow
    from headgate.tasks import Task

__all__ = ["TaskRunner", "track"]


class TaskRunner(abc.ABC):
    """Executes submitted tasks; a context manager that is entered when the flow starts.

    A flow makes a duplicate of its runner for each run, enters it, and leaves it at the end.
    """

    @property
    def name(self) -> str:
        """The name of the kind, in lower case, e.g. ``threadpool``."""
        return type(self).__name__.lower().removesuffix("taskrunner")

    @abc.abstractmethod
    def duplicate(self) -> Self:
        """Return a new runner with the same options."""

    @abc.abstractmethod
    def submit(
        self,
        task: Task[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any = None,
        dependencies: Any = None,
    ) -> Future[Any]:
        """Execute a task soon.

        Args:
            task: The task.
            parameters: What it is called with, by name; futures are the runner's to resolve.
            wait_for: Futures that must be completed first.
            dependencies: Taken for runners that hand it on: what the arguments build on is known.
        """

    def map(
        self,
        task: Task[..., Any],
        calls: Iterable[Mapping[str, Any]],
        wait_for: Any = None,
        *,
        max_concurrency: int | None = None,
        batch_size: int | None = None,
    ) -> FutureList[Any]:
        """Execute a task once for each of many parameters.

        Args:
            task: The task.
            calls: What each call is called with, by name.
            wait_for: Futures that must be completed first.
            max_concurrency: How many are under way at once. Default: all.
            batch_size: A hint: how many calls are worth one piece of work.
        """
        if max_concurrency is None:
            return FutureList(self.submit(task, parameters, wait_for) for parameters in calls)
        from headgate.engine.spreading import Spread

        waiting = list(calls)
        outer = FutureList[Any](Future("") for _call in waiting)

        def start(batch: list[tuple[Mapping[str, Any], Future[Any]]]) -> None:
            for parameters, future in batch:
                _chain(self.submit(task, parameters, wait_for), future)

        for future in outer:
            track(future)
        Spread(outer, waiting.__getitem__, start, width=max_concurrency).fill()
        return outer

    def submit_flow(
        self, flow: Flow[..., Any], parameters: Mapping[str, Any], wait_for: Any = None
    ) -> FlowRunFuture[Any]:
        """Execute a flow soon; on a thread of this process where a runner has nothing better.

        Args:
            flow: The flow.
            parameters: What it is called with, by name; futures are the run's to resolve.
            wait_for: Futures that must be completed first.
        """
        from headgate.engine import submission

        return submission.loose_runner().submit_flow(flow, parameters, wait_for)

    def map_flow(
        self,
        flow: Flow[..., Any],
        calls: Iterable[Mapping[str, Any]],
        wait_for: Any = None,
        *,
        max_concurrency: int | None = None,
        batch_size: int | None = None,
    ) -> FutureList[Any]:
        """Execute a flow once for each of many parameters; see ``map``."""
        from headgate.engine import submission

        return submission.loose_runner().map_flow(
            flow, calls, wait_for, max_concurrency=max_concurrency, batch_size=batch_size
        )

    def cancel_all(self) -> None:  # noqa: B027  # a runner that has no queue has nothing to do
        """Forget tasks that have not begun, because the flow run has failed or is stopped."""

    def interrupt_all(self) -> None:  # noqa: B027  # not every runner can
        """Stop tasks that have begun, where that is possible: the flow run is torn down."""

    def __enter__(self) -> Self:
        """Start."""
        return self

    def __exit__(  # noqa: B027  # not every runner has something to stop
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; all tasks have ended or were cancelled."""


def _chain(inner: Future[Any], outer: Future[Any]) -> None:
    """Let one future tell what happens to another."""
    outer.task_run_id = inner.task_run_id
    outer.begin(lambda: inner.state)
    inner.add_done_callback(lambda ended: outer.end(ended.state))


def track(future: Future[Any]) -> None:
    """Let the flow run wait for a future at its end; where there is none, the process."""
    context = contexts.current_flow()
    if context is not None:
        future.track_in(context.submitted)
    elif isinstance(future, FlowRunFuture):
        from headgate.engine import submission

        future.track_in(submission.loose_futures)
