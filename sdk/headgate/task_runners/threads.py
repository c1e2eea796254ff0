"""Tasks on threads of this process, and on the loop of an async flow."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from headgate import _calling, settings
from headgate import context as contexts
from headgate._explaining import explained
from headgate.core import errors
from headgate.core.ids import new_id
from headgate.futures import FlowRunFuture, Future, FutureList
from headgate.task_runners.base import TaskRunner, track

if TYPE_CHECKING:
    from headgate.engine.cells import Cells
    from headgate.engine.on_loop import OnLoop
    from headgate.engine.pool import Pool
    from headgate.engine.spreading import Spread
    from headgate.engine.submission import Job, SubmittedFlow
    from headgate.flows import Flow
    from headgate.tasks import Task

__all__ = ["ThreadPoolTaskRunner"]


class ThreadPoolTaskRunner(TaskRunner):
    """Executes tasks on threads of this process.

    Async tasks that an async flow submits run on the flow's own loop, so they may share its
    clients and connections. A thread that waits for another task gives its place away, so tasks
    may submit tasks however small ``max_workers`` is.

    Args:
        max_workers: How many tasks run at once. Default: the setting
            ``HEADGATE_TASKS_RUNNER_THREAD_POOL_MAX_WORKERS``, or as many as there are.

    Raises:
        OptionValueError: The number is less than 1.
    """

    @explained
    def __init__(self, max_workers: int | None = None) -> None:
        """Make a runner; it has threads when it has tasks."""
        given: object = max_workers
        if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
            msg = f"max_workers is {given!r}; use a whole number, or leave it away for no limit."
            raise errors.OptionTypeError(msg)
        if max_workers is not None and max_workers < 1:
            msg = (
                f"max_workers is {max_workers}, and must be 1 at least; leave it away for no limit."
            )
            raise errors.OptionValueError(msg)
        self.max_workers = max_workers
        self._pool: Pool | None = None
        self._on_loop: OnLoop | None = None
        self._waiting: dict[str, tuple[Job, Future[Any]]] = {}
        self._flows: dict[str, SubmittedFlow] = {}
        self._spreads: set[Spread[Any]] = set()
        self._lock = threading.Lock()

    def duplicate(self) -> Self:
        """Return a new runner with the same options."""
        return type(self)(self.max_workers)

    def __eq__(self, other: object) -> bool:
        """Runners are equal when they are of one kind and have the same options."""
        return type(other) is type(self) and cast("Self", other).max_workers == self.max_workers

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the options: threads stay where they are."""
        return type(self), (self.max_workers,)

    # --- Tasks and flows ---

    def submit(
        self,
        task: Task[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any = None,
        dependencies: Any = None,
    ) -> Future[Any]:
        """Execute a task on a thread, or, if both it and the caller are async, on this loop."""
        job = self._task_job(task, parameters, wait_for)
        future: Future[Any] = Future(job.id)
        track(future)
        self._start(job, future, is_async=task.isasync)
        return future

    def map(
        self,
        task: Task[..., Any],
        calls: Iterable[Mapping[str, Any]],
        wait_for: Any = None,
        *,
        max_concurrency: int | None = None,
        batch_size: int | None = None,
    ) -> FutureList[Any]:
        """Execute a task once for each of many parameters; memory is for those under way.

        Args:
            task: The task.
            calls: What each call is called with, by name.
            wait_for: Futures that must be completed first.
            max_concurrency: How many are under way at once. Default: as many as the runner
                has threads; 1,000 if it has no limit.
            batch_size: How many calls one thread executes one after the other.
        """
        count, take = _taken(calls)
        flow = contexts.current_flow()
        # Counted here, in order, for they begin whenever there is room.
        numbers = [0 if flow is None else flow.next_call(task.task_key) for _ in range(count)]
        futures = FutureList[Any](
            Future(new_id(), start_elsewhere=self._make_way) for _number in numbers
        )

        def make(n: int) -> Job:
            return self._task_job(
                task, take(n), wait_for, run_id=futures[n].task_run_id, number=numbers[n]
            )

        self._spread(futures, make, task.isasync, max_concurrency, batch_size)
        return futures

    def submit_flow(
        self, flow: Flow[..., Any], parameters: Mapping[str, Any], wait_for: Any = None
    ) -> FlowRunFuture[Any]:
        """Execute a flow on a thread, or, if both it and the caller are async, on this loop."""
        from headgate.engine import submission

        ids = submission.new_ids()
        future: FlowRunFuture[Any] = FlowRunFuture(*ids)
        track(future)
        job = self._flow_job(flow, parameters, wait_for, future)
        self._start(job, future, is_async=flow.isasync)
        return future

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

        count, take = _taken(calls)
        pairs = [submission.new_ids() for _ in range(count)]
        futures = [FlowRunFuture[Any](*pair, start_elsewhere=self._make_way) for pair in pairs]

        def make(n: int) -> Job:
            return self._flow_job(flow, take(n), wait_for, futures[n])

        self._spread(futures, make, flow.isasync, max_concurrency, batch_size)
        return FutureList[Any](futures)

    # --- Jobs ---

    def _task_job(
        self, task: Task[..., Any], parameters: Mapping[str, Any], wait_for: Any, **facts: Any
    ) -> Job:
        from headgate.engine import task_engine

        args, kwargs = task.signature.call_arguments(parameters)
        return task_engine.TaskCall(
            task, args, kwargs, wait_for, return_state=True, cells=self._cells_here(), **facts
        )

    def _flow_job(
        self,
        flow: Flow[..., Any],
        parameters: Mapping[str, Any],
        wait_for: Any,
        future: FlowRunFuture[Any],
    ) -> Job:
        from headgate.engine import submission

        ids = future.flow_run_id, future.task_run_id
        job = submission.SubmittedFlow(
            flow, parameters, wait_for, ids=ids, cells=self._cells_here()
        )
        self._flows[job.id] = job
        future.add_done_callback(lambda _ended: self._flows.pop(ids[0], None))
        return job

    def _cells_here(self) -> Cells | None:
        """The processes that execute what is submitted; None: this one does."""
        return None

    def _spread(
        self,
        futures: Sequence[Future[Any]],
        make: Callable[[int], Job],
        is_async: bool,
        max_concurrency: int | None,
        batch_size: int | None,
    ) -> None:
        from headgate.engine.spreading import Spread

        batch_size = batch_size or 1
        for future in futures:
            track(future)

        def start(batch: list[tuple[Job, Future[Any]]]) -> None:
            if len(batch) == 1 or (is_async and _running_loop() is not None):
                for job, future in batch:
                    self._start(job, future, is_async=is_async)
            else:
                self._start_batch(batch)

        width = max_concurrency or max(1, self._ahead() // batch_size)
        spread = Spread(futures, make, start, width=width, batch_size=batch_size)
        with self._lock:
            self._spreads = {one for one in self._spreads if not one.is_over} | {spread}
        spread.fill()

    def _ahead(self) -> int:
        """How many calls of one ``map`` are begun before the first has ended."""
        from headgate.engine.spreading import AHEAD

        size = self._size()
        return AHEAD if size is None else max(100, 2 * size)

    def _start(self, job: Job, future: Future[Any], *, is_async: bool) -> None:
        loop = _running_loop() if is_async and self._cells_here() is None else None
        if loop is not None:
            self._loop_of(loop).start(job, future)
            return
        job.announce()
        future.begin(job.state, self._way_for(job))
        self._execute(job, future)

    def _start_batch(self, batch: list[tuple[Job, Future[Any]]]) -> None:
        """Run jobs on a thread, one after the other."""
        for job, future in batch:
            job.announce()
            future.begin(job.state, self._way_for(job))
            self._waiting[job.id] = (job, future)
        context = contextvars.copy_context()

        def run() -> None:
            while batch:
                context.copy().run(self._run, *batch.pop(0))

        self._threads().submit(run)

    def _execute(self, job: Job, future: Future[Any]) -> None:
        """Run a job on a thread."""
        self._waiting[job.id] = (job, future)
        context = contextvars.copy_context()
        self._threads().submit(lambda: context.run(self._run, job, future))

    def _run(self, job: Job, future: Future[Any]) -> None:
        if self._waiting.pop(job.id, None) is None:
            return
        future.end(job.run())

    def _size(self) -> int | None:
        size = self.max_workers
        return size or settings.current().tasks_runner_thread_pool_max_workers

    def _threads(self) -> Pool:
        if self._pool is None:
            from headgate.engine.pool import Pool

            self._pool = Pool(self._size(), name="headgate-task")
        return self._pool

    def _loop_of(self, loop: asyncio.AbstractEventLoop) -> OnLoop:
        if self._on_loop is None or self._on_loop.loop is not loop:
            from headgate.engine.on_loop import OnLoop

            self._on_loop = OnLoop(loop, execute=self._execute)
        return self._on_loop

    def _make_way(self) -> None:
        """Called by a thread that is about to block on a run that has not been started."""
        if self._on_loop is not None:
            self._on_loop.make_way()

    def _way_for(self, job: Job) -> Callable[[], None] | None:
        """Say what to do before a thread blocks on a job of another thread.

        The job may wait in turn for one that only the loop of the blocked thread could execute.
        """
        on_loop = self._on_loop
        return None if on_loop is None else lambda: on_loop.make_way(job.id, *job.waits_for)

    def cancel_all(self) -> None:
        """Forget tasks that have not begun."""
        for spread in list(self._spreads):
            spread.cancel()
        if self._on_loop is not None:
            self._on_loop.cancel_all()
        while self._waiting:
            _id, (job, future) = self._waiting.popitem()
            future.end(job.abandon())
        if self._pool is not None:
            self._pool.cancel()

    def interrupt_all(self) -> None:
        """Raise an exception in the threads that execute tasks, and cancel those on the loop.

        A blocking call in C ends first: Python raises between two of its own instructions.
        """
        for submitted in list(self._flows.values()):
            submitted.interrupt()
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


def _taken(
    calls: Iterable[Mapping[str, Any]],
) -> tuple[int, Callable[[int], Mapping[str, Any]]]:
    """Say how many calls there are, and how to take the nth, which is let go by that."""
    from headgate.engine.mapping import Calls

    if isinstance(calls, Calls):
        return len(calls), calls.take
    listed = list(calls)
    return len(listed), listed.__getitem__


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs here, if it can go on: a sync run on it stops it to its end."""
    return asyncio.get_running_loop() if _calling.in_event_loop() else None
