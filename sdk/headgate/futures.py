"""Futures of submitted tasks: what they return is there later."""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

from headgate import _options
from headgate._explaining import explained
from headgate.core import errors
from headgate.core.clock import SystemClock
from headgate.states import State, get_state_exception

if TYPE_CHECKING:
    from headgate._distributed_future import DistributedFuture
    from headgate._distributed_future import DistributedFuture as HeadgateDistributedFuture
    from headgate.engine.effects import Steps

__all__ = [
    "DistributedFuture",
    "DoneAndNotDoneFutures",
    "FlowRunFuture",
    "Future",
    "FutureList",
    "HeadgateConcurrentFuture",
    "HeadgateDistributedFuture",
    "HeadgateFlowRunFuture",
    "HeadgateFuture",
    "HeadgateFutureList",
    "as_completed",
    "resolve_futures_to_results",
    "resolve_futures_to_states",
    "wait",
]

R = TypeVar("R", covariant=True)
T = TypeVar("T")

_clock = SystemClock()


class Future(Generic[R]):
    """The future of a task run.

    What it holds in the end is the final state with its result; the arguments are let go.

    A task runner of one's own makes it with the id of the run, and ends it with ``end``.

    Args:
        task_run_id: UUID text of the run.
        current: Returns the state of the run while it has not ended.
        start_elsewhere: Called before a thread blocks on a run that only this very thread could
            execute; starts it on another one. Raises if that is too late.
    """

    #: What kind of run, for messages.
    _kind = "Task run"

    def __init__(
        self,
        task_run_id: str,
        *,
        current: Callable[[], State[R]] | None = None,
        start_elsewhere: Callable[[], None] | None = None,
    ) -> None:
        """Make the future of a run that has not ended."""
        self.task_run_id = task_run_id
        self._current = current
        self._start_elsewhere = start_elsewhere
        self._ended: concurrent.futures.Future[State[R]] = concurrent.futures.Future()

    @property
    def run_id(self) -> str:
        """UUID text of the run."""
        return self.task_run_id

    @property
    def state(self) -> State[R]:
        """Where the run stands; does not wait."""
        if self._ended.done():
            return self._ended.result()
        current = self._current
        return current() if current is not None else self._pending()

    def _pending(self) -> State[R]:
        from headgate import states

        return states.Pending(task_run_id=self.task_run_id)

    def done(self) -> bool:
        """Say whether the run has ended."""
        return self._ended.done()

    def begin(
        self,
        current: Callable[[], State[Any]],
        start_elsewhere: Callable[[], None] | None = None,
    ) -> None:
        """Say who knows of the run now that it was made; for task runners. See the arguments."""
        self._current = current
        self._start_elsewhere = start_elsewhere

    def end(self, state: State[Any]) -> None:
        """Set the state that the run ended in; for task runners. Runs the callbacks."""
        self._current = self._start_elsewhere = None
        if not self._ended.done():
            self._ended.set_result(state)

    def track_in(self, futures: set[concurrent.futures.Future[Any]]) -> None:
        """Keep the future below in a set for as long as the run has not ended; for task runners."""
        futures.add(self._ended)
        self._ended.add_done_callback(futures.discard)

    def wait(self, timeout: float | None = None) -> None:
        """Block until the run has ended, or for so many seconds."""
        if self._ended.done():
            return
        _options.checked_seconds(timeout, "timeout")
        self._make_way()
        from headgate.engine import effects

        try:
            effects.Wait(self._ended, timeout).perform()
        except TimeoutError:
            return

    @overload
    def result(self, timeout: float | None = None, raise_on_failure: Literal[True] = True) -> R: ...

    @overload
    def result(
        self, timeout: float | None = None, *, raise_on_failure: bool
    ) -> R | BaseException: ...

    @overload
    def result(self, timeout: float | None, raise_on_failure: bool) -> R | BaseException: ...

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """Block until the run has ended, and return its result.

        Args:
            timeout: How many seconds to wait at most. Default: for ever.
            raise_on_failure: Raise what made the run fail; otherwise it is returned.

        Raises:
            TimeoutError: The run has not ended in time.
        """
        try:
            self.wait(timeout)
            self._demand(timeout)
            return self.state.result(raise_on_failure)
        except BaseException as error:
            _trim(error)
            raise

    async def wait_async(self, timeout: float | None = None) -> None:
        """Await the end of the run; see ``wait``."""
        _options.checked_seconds(timeout, "timeout")
        from headgate.engine import effects

        try:
            await effects.Wait(self._ended, timeout).perform_async()
        except TimeoutError:
            return

    @overload
    async def result_async(
        self, timeout: float | None = None, raise_on_failure: Literal[True] = True
    ) -> R: ...

    @overload
    async def result_async(
        self, timeout: float | None = None, *, raise_on_failure: bool
    ) -> R | BaseException: ...

    @overload
    async def result_async(
        self, timeout: float | None, raise_on_failure: bool
    ) -> R | BaseException: ...

    async def result_async(
        self, timeout: float | None = None, raise_on_failure: bool = True
    ) -> Any:
        """Await the result of the run; see ``result``."""
        try:
            await self.wait_async(timeout)
            self._demand(timeout)
            return await self.state.aresult(raise_on_failure)
        except BaseException as error:
            _trim(error)
            raise

    aresult = result_async

    def __await__(self) -> Generator[Any, Any, R]:
        """Await the result of the run."""
        return self.result_async().__await__()

    def add_done_callback(self, fn: Callable[[Future[R]], object]) -> None:
        """Call a function with this future when the run has ended; at once if it has.

        It runs on the thread that ended the run. What it raises is logged.
        """
        self._ended.add_done_callback(lambda _ended: fn(self))

    def wait_steps(self) -> Steps[None]:
        """Wait within the engine."""
        from headgate.engine import effects

        yield effects.Wait(self._ended, make_way=self._make_way)

    def _make_way(self) -> None:
        start_elsewhere = self._start_elsewhere
        if start_elsewhere is not None:
            start_elsewhere()

    def _demand(self, timeout: float | None) -> None:
        if not self._ended.done():
            msg = f"{self._kind} {self.run_id} did not end within {timeout} seconds; wait longer."
            raise TimeoutError(msg)

    def __del__(self) -> None:
        """Warn where nobody will ever hear how the run ended."""
        # An error in the constructor leaves nothing to warn of.
        ended = getattr(self, "_ended", None)
        if ended is None or ended.done() or sys.is_finalizing():
            return
        from headgate.logging import get_logger

        get_logger("futures").warning(
            "A future was garbage collected before it resolved: that of %s %s. Call its wait() "
            "or result().",
            self._kind.lower(),
            self.run_id,
        )

    def __repr__(self) -> str:
        """``Future('0190...', Running())``."""
        return f"{type(self).__name__}({self.run_id!r}, {self.state!r})"


class FlowRunFuture(Future[R]):
    """The future of a flow run, made by ``Flow.submit`` and ``Flow.map``.

    Args:
        flow_run_id: UUID text of the run.
        task_run_id: The task run that stands for it in the flow run that submitted it; empty
            where that was none.
        current: Returns the state of the run while it has not ended.
        start_elsewhere: As for ``Future``.
    """

    _kind = "Flow run"

    def __init__(
        self,
        flow_run_id: str,
        task_run_id: str = "",
        *,
        current: Callable[[], State[R]] | None = None,
        start_elsewhere: Callable[[], None] | None = None,
    ) -> None:
        """Make the future of a run that has not ended."""
        super().__init__(task_run_id, current=current, start_elsewhere=start_elsewhere)
        self.flow_run_id = flow_run_id

    @property
    def run_id(self) -> str:
        """UUID text of the run."""
        return self.flow_run_id

    def _pending(self) -> State[R]:
        from headgate import states

        return states.Pending(flow_run_id=self.flow_run_id)


class FutureList(list[Future[T]]):
    """Futures, e.g. of ``Task.map``, with ways to wait for all of them."""

    def wait(self, timeout: float | None = None) -> None:
        """Block until all have ended, or for so many seconds."""
        wait(self, timeout)

    @overload
    def result(
        self, timeout: float | None = None, raise_on_failure: Literal[True] = True
    ) -> list[T]: ...

    @overload
    def result(
        self, timeout: float | None = None, *, raise_on_failure: bool
    ) -> list[T | BaseException]: ...

    @overload
    def result(self, timeout: float | None, raise_on_failure: bool) -> list[T | BaseException]: ...

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        """Block until all have ended, and return their results in order.

        Args:
            timeout: How many seconds to wait for all of them.
            raise_on_failure: Raise what made the first of them fail, in order.

        Raises:
            TimeoutError: They have not all ended in time.
        """
        deadline = None if timeout is None else _clock.monotonic() + timeout
        results: list[Any] = []
        for future in self:
            left = None if deadline is None else max(0.0, deadline - _clock.monotonic())
            results.append(future.result(left, raise_on_failure))
        return results


class DoneAndNotDoneFutures(NamedTuple):
    """What ``wait`` returns."""

    done: set[Future[Any]]
    not_done: set[Future[Any]]


def _trim(error: BaseException) -> None:
    from headgate.logging import tracebacks  # only who fails pays

    tracebacks.trim(error)


def _futures(given: Iterable[Future[T]]) -> set[Future[T]]:
    several: Any = given
    if not isinstance(several, Iterable):
        several = [several]
    made = set(cast("Iterable[Any]", several))
    for future in made:
        if not isinstance(future, Future):
            msg = f"futures has {future!r}; use a list of what submit returned."
            raise errors.OptionTypeError(msg)
    return made


@explained
def wait(futures: Iterable[Future[Any]], timeout: float | None = None) -> DoneAndNotDoneFutures:
    """Block until all have ended, or for so many seconds.

    Returns:
        Those that have ended, and those that have not.
    """
    waited = _futures(futures)
    _options.checked_seconds(timeout, "timeout")
    deadline = None if timeout is None else _clock.monotonic() + timeout
    for future in waited:
        future.wait(None if deadline is None else max(0.0, deadline - _clock.monotonic()))
    done = {future for future in waited if future.done()}
    return DoneAndNotDoneFutures(done, waited - done)


@explained
def as_completed(futures: Iterable[Future[R]], timeout: float | None = None) -> Iterator[Future[R]]:
    """Yield futures in the order in which they end.

    Args:
        futures: The futures.
        timeout: How many seconds to wait for all of them.

    Raises:
        TimeoutError: They have not all ended in time.
    """
    import queue

    from headgate.engine import blocking

    waited = _futures(futures)
    _options.checked_seconds(timeout, "timeout")
    ended: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
    for future in waited:
        future._make_way()  # pyright: ignore[reportPrivateUsage]  # of this module
        future.add_done_callback(ended.put)
    deadline = None if timeout is None else _clock.monotonic() + timeout
    for left in range(len(waited), 0, -1):
        seconds = None if deadline is None else max(0.0, deadline - _clock.monotonic())
        try:
            with blocking.released():
                future = ended.get(timeout=seconds)
        except queue.Empty:
            msg = f"{left} of {len(waited)} futures did not end within {timeout} seconds."
            raise TimeoutError(msg) from None
        yield future


def resolve_futures_to_states(value: Any) -> Any:
    """Wait for the futures in a value, at any depth, and replace them by their states."""
    from headgate.engine import effects, resolve

    return effects.drive(resolve.states_of(value))


def resolve_futures_to_results(value: Any) -> Any:
    """Wait for the futures in a value, at any depth, and replace them by their results.

    Raises:
        Exception: What made one of the runs fail.
    """
    from headgate.engine import effects, resolve

    upstream = resolve.find([value])
    for future, _allowed in upstream.futures:
        effects.drive(future.wait_steps())
    for future, _allowed in upstream.futures:
        if not future.state.is_completed():
            if future.state.is_terminal:
                raise get_state_exception(future.state)
            msg = f"The run {future.run_id} is {future.state.name} and has no result."
            raise errors.UnfinishedRun(msg, future.state)
    return resolve.values_of(value) if upstream.replace else value


#: For code that was written for Prefect, and annotates with its names.
HeadgateFuture = HeadgateConcurrentFuture = Future
HeadgateFlowRunFuture = FlowRunFuture
HeadgateFutureList = FutureList


def __getattr__(name: str) -> Any:
    if name in ("DistributedFuture", "HeadgateDistributedFuture"):
        # It builds on the futures here, and loads what only background tasks need.
        from headgate import _distributed_future

        return _distributed_future.DistributedFuture
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
