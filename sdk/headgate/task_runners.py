"""Task runners: where submitted tasks execute."""

from __future__ import annotations

import abc
import asyncio
import contextvars
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from headgate import context as contexts
from headgate import settings
from headgate.futures import Future, FutureList

if TYPE_CHECKING:
    from headgate.engine.on_loop import OnLoop
    from headgate.engine.pool import Pool
    from headgate.engine.task_engine import TaskCall
    from headgate.tasks import Task

__all__ = ["ConcurrentTaskRunner", "TaskRunner", "ThreadPoolTaskRunner"]


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
        self, task: Task[..., Any], parameters: Mapping[str, Any], wait_for: Any = None
    ) -> Future[Any]:
        """Execute a task soon.

        Args:
            task: The task.
            parameters: What it is called with, by name; futures are the runner's to resolve.
            wait_for: Futures that must be completed first.
        """

    def map(
        self,
        task: Task[..., Any],
        calls: Iterable[Mapping[str, Any]],
        wait_for: Any = None,
    ) -> FutureList[Any]:
        """Execute a task once for each of many parameters.

        Args:
            task: The task.
            calls: What each call is called with, by name.
            wait_for: Futures that must be completed first.
        """
        return FutureList(self.submit(task, parameters, wait_for) for parameters in calls)

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


class ThreadPoolTaskRunner(TaskRunner):
    """Executes tasks on threads of this process.

    Async tasks that an async flow submits run on the flow's own loop, so they may share its
    clients and connections. A thread that waits for another task gives its place away, so tasks
    may submit tasks however small ``max_workers`` is.

    Args:
        max_workers: How many tasks run at once. Default: the setting
            ``HEADGATE_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS``, or as many as there are.

    Raises:
        ValueError: The number is less than 1.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        """Make a runner; it has threads when it has tasks."""
        if max_workers is not None and max_workers < 1:
            msg = (
                f"max_workers is {max_workers}, and must be 1 at least; leave it away for no limit."
            )
            raise ValueError(msg)
        self.max_workers = max_workers
        self._pool: Pool | None = None
        self._on_loop: OnLoop | None = None
        self._waiting: dict[str, tuple[TaskCall, Future[Any]]] = {}

    def duplicate(self) -> Self:
        """Return a new runner with the same options."""
        return type(self)(self.max_workers)

    def submit(
        self, task: Task[..., Any], parameters: Mapping[str, Any], wait_for: Any = None
    ) -> Future[Any]:
        """Execute a task on a thread, or, if both it and the caller are async, on this loop."""
        from headgate.engine import task_engine

        args, kwargs = task.signature.call_arguments(parameters)
        run = task_engine.TaskCall(task, args, kwargs, wait_for, return_state=True)
        loop = _running_loop() if task.isasync else None
        if loop is not None:
            return self._loop_of(loop).submit(run)
        run.announce()
        future: Future[Any] = Future(run.context.id, current=run.state)
        self._track(future)
        self._execute(run, future)
        return future

    def _execute(self, run: TaskCall, future: Future[Any]) -> None:
        """Run a call on a thread."""
        self._waiting[future.task_run_id] = (run, future)
        context = contextvars.copy_context()
        self._threads().submit(lambda: context.run(self._run, run, future))

    def _run(self, run: TaskCall, future: Future[Any]) -> None:
        if self._waiting.pop(future.task_run_id, None) is not None:
            future.end(run.run())

    def _threads(self) -> Pool:
        if self._pool is None:
            from headgate.engine.pool import Pool

            size = self.max_workers
            if size is None:
                size = settings.current().tasks_runner_thread_pool_max_workers
            self._pool = Pool(size, name="headgate-task")
        return self._pool

    def _loop_of(self, loop: asyncio.AbstractEventLoop) -> OnLoop:
        if self._on_loop is None or self._on_loop.loop is not loop:
            from headgate.engine.on_loop import OnLoop

            self._on_loop = OnLoop(loop, track=self._track, execute=self._execute)
        return self._on_loop

    @staticmethod
    def _track(future: Future[Any]) -> None:
        context = contexts.FlowRunContext.get()
        if context is not None:
            future.track_in(context.submitted)

    def cancel_all(self) -> None:
        """Forget tasks that have not begun."""
        if self._on_loop is not None:
            self._on_loop.cancel_all()
        while self._waiting:
            _id, (run, future) = self._waiting.popitem()
            future.end(run.abandon())
        if self._pool is not None:
            self._pool.cancel()

    def interrupt_all(self) -> None:
        """Raise an exception in the threads that execute tasks, and cancel those on the loop.

        A blocking call in C ends first: Python raises between two of its own instructions.
        """
        if self._on_loop is not None:
            self._on_loop.interrupt_all()
        if self._pool is not None:
            from headgate.engine import interruption, timeouts

            for thread_id in self._pool.busy_threads():
                timeouts.inject(thread_id, interruption.Injected)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the threads end."""
        if self._pool is not None:
            self._pool.close()


#: The name that the thread pool had first.
ConcurrentTaskRunner = ThreadPoolTaskRunner


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
