"""The future of a background task, which another process executes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import InvalidStateError
from typing import TYPE_CHECKING, Any, TypeVar

from headgate import settings
from headgate.core import errors, runs, states
from headgate.futures import FlowRunFuture, Future

if TYPE_CHECKING:
    import concurrent.futures

    import tenacity

    from headgate.core.runs import FlowRun
    from headgate.engine.effects import Steps
    from headgate.states import State

__all__ = ["DistributedFuture"]

R = TypeVar("R", covariant=True)

#: After how long it is said that nobody serves what is waited for.
REMIND_SECONDS = 5.0
#: Of how many runs that is asked at most.
_ASKED_MAX = 200


class DistributedFuture(FlowRunFuture[R]):
    """The future of a background task, made by ``Task.delay`` and ``Task.apply_async``.

    The server says when the run has ended; nothing is polled. Where nobody serves the task the
    run waits for as long as it takes.

    Args:
        run: The run that was asked for.
        task_run_id: The id that its task run is going to have.
        task_name: The task.
    """

    _kind = "Background task"

    def __init__(self, run: FlowRun, task_run_id: str, task_name: str = "") -> None:
        """Make the future of a run that was asked for."""
        super().__init__(run.id, task_run_id)
        self._run = run
        self.task_name = task_name or run.name

    @property
    def state(self) -> State[R]:
        """Where the run stands; asks the server."""
        if not self._ended.done():
            from headgate.client.orchestration import get_client

            with get_client(sync_client=True) as client:
                self.look(client.read_flow_run(self.flow_run_id))
        return self._ended.result() if self._ended.done() else self._state_of(self._run)

    def wait(self, timeout: float | None = None) -> None:
        """Block until the run has ended, or for so many seconds."""
        if self._ended.done():
            return
        from headgate.client import ending
        from headgate.client.orchestration import get_client

        self._remind(timeout)
        with get_client(sync_client=True) as client:
            self.look(ending.wait_blocking(client, self._run, timeout))

    async def wait_async(self, timeout: float | None = None) -> None:
        """Await the end of the run; see ``wait``."""
        if self._ended.done():
            return
        from headgate.client import ending
        from headgate.client.orchestration import get_client

        self._remind(timeout)
        async with get_client() as client:
            self.look(await ending.wait(client, self._run, timeout))

    def add_done_callback(self, fn: Callable[[Future[R]], object]) -> None:
        """Call a function with this future when the run has ended; at once if it has.

        It runs on a thread that waits for the run. What it raises is logged.
        """
        super().add_done_callback(fn)
        self.watch()

    def wait_steps(self) -> Steps[None]:
        """Wait within the engine."""
        self.watch()
        return super().wait_steps()

    def track_in(self, futures: set[concurrent.futures.Future[Any]]) -> None:
        """Keep the future below in a set for as long as the run has not ended; for task runners."""
        super().track_in(futures)
        self.watch()

    def watch(self) -> None:
        """Let a thread, one for all such futures of the process, wait for the end of the run."""
        if not self._ended.done():
            self._remind()
            _watcher().add(self)

    def _remind(self, timeout: float | None = None) -> None:
        """Have it said when nobody takes the run for some seconds."""
        if timeout is None or timeout > REMIND_SECONDS:
            _reminder().add(self)

    @property
    def known_revision(self) -> int:
        """Up to which revision the end of the run is known not to have come."""
        return self._run.revision

    def look(self, run: FlowRun) -> bool:
        """Take note of where the run stands; says whether it has ended."""
        self._run = run
        if run.state.is_terminal:
            # Who waits and who watches may hear of it at once.
            with contextlib.suppress(InvalidStateError):
                self.end(self._state_of(run))
        return self._ended.done()

    def _state_of(self, run: FlowRun) -> State[Any]:
        from headgate.states import from_record

        return from_record(run.state, flow_run_id=run.id, task_run_id=self.task_run_id or None)

    def __del__(self) -> None:
        """Warn of nothing: the run goes on without anybody who waits for it."""


class _Watcher:
    """Hears of the ends of runs at one server, on a thread of its own while there is any."""

    def __init__(self, api_url: str | None) -> None:
        self._api_url = api_url
        self._lock = threading.Lock()
        self._waiting: dict[str, DistributedFuture[Any]] = {}
        self._is_running = False

    def add(self, future: DistributedFuture[Any]) -> None:
        """Hear of the end of one more."""
        with self._lock:
            if future.flow_run_id in self._waiting:
                return
            self._waiting[future.flow_run_id] = future
            was_running, self._is_running = self._is_running, True
        if was_running:
            # Its end may have passed by already.
            self._look_at(future)
        else:
            threading.Thread(target=self._run, name="headgate-wait", daemon=True).start()

    def _run(self) -> None:
        """Follow until nobody waits any more, whatever becomes of the server meanwhile."""
        import tenacity  # only who waits pays

        for attempt in tenacity.Retrying(
            # Anything: if this thread ended, those who wait would wait for ever.
            retry=tenacity.retry_if_exception_type(Exception),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=5.0),
            before_sleep=_tell_of_mistakes,
        ):
            with attempt:
                if attempt.retry_state.attempt_number > 1:
                    # What is missed, or no longer in the journal, is in the runs themselves.
                    with self._lock:
                        left = list(self._waiting.values())
                    for future in left:
                        self._look_at(future)
                self._follow()

    def _follow(self) -> None:
        from headgate.client.orchestration import get_client

        with self._lock:
            if not self._waiting:
                self._is_running = False
                return
            first = min(future.known_revision for future in self._waiting.values())
        with get_client(sync_client=True, api_url=self._api_url) as client:
            ends = client.watch(
                after_revision=first,
                kind=runs.RunKind.FLOW_RUN,
                state_types=sorted(states.TERMINAL),
            )
            with contextlib.closing(ends):
                for transition in ends:
                    future = self._waiting.get(transition.run_id)
                    if future is not None:
                        self._look_at(future)
                    with self._lock:
                        if not self._waiting:
                            self._is_running = False
                            return

    def _look_at(self, future: DistributedFuture[Any]) -> None:
        from headgate.client.orchestration import get_client

        with get_client(sync_client=True, api_url=self._api_url) as client:
            if future.look(client.read_flow_run(future.flow_run_id)):
                # Under the lock: the thread that begins to follow looks at all of them.
                with self._lock:
                    self._waiting.pop(future.flow_run_id, None)


def _tell_of_mistakes(state: tenacity.RetryCallState) -> None:
    problem = state.outcome.exception() if state.outcome is not None else None
    if problem is not None and not isinstance(problem, errors.HeadgateError):
        from headgate.logging import get_logger

        logger = get_logger("headgate.tasks")
        logger.error("Waiting for background tasks failed; trying again", exc_info=problem)


class Reminder:
    """Says, once per task, that nobody takes its runs: to wait for them looks like a hang.

    Args:
        api_url: The server.
        seconds: How long they may wait before.
    """

    def __init__(self, api_url: str | None, seconds: float = REMIND_SECONDS) -> None:
        """Make one; nothing is waited for yet."""
        self._api_url = api_url
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: dict[str, DistributedFuture[Any]] = {}
        self._timer: threading.Timer | None = None
        self._told: set[str] = set()

    def add(self, future: DistributedFuture[Any]) -> None:
        """Look after one more."""
        with self._lock:
            if future.task_name in self._told:
                return
            self._waiting[future.flow_run_id] = future
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self.tell)
                self._timer.daemon = True
                self._timer.start()

    def tell(self) -> None:
        """Say which tasks have runs that nobody has taken."""
        with self._lock:
            waiting, self._waiting, self._timer = self._waiting, {}, None
        tasks = {id: future.task_name for id, future in waiting.items() if not future.done()}
        if not tasks:
            return
        from headgate.client.orchestration import get_client
        from headgate.logging import get_logger

        asked = list(tasks)[:_ASKED_MAX]
        # Who waits hears himself of a server that does not answer.
        with (
            contextlib.suppress(errors.HeadgateError),
            get_client(sync_client=True, api_url=self._api_url) as client,
        ):
            found = client.read_flow_runs(ids=asked, state_types=[states.StateType.SCHEDULED])
            for name in sorted({tasks[run.id] for run in found}):
                self._told.add(name)
                get_logger("headgate.tasks").warning(
                    "Waiting for the background task %r, which nobody has taken for %g s; serve "
                    "it in another process, by `headgate task serve FILE:TASK` or its serve().",
                    name,
                    self._seconds,
                )


#: By what the settings said of the server.
_watchers: dict[str, _Watcher] = {}
_reminders: dict[str, Reminder] = {}


def _watcher() -> _Watcher:
    now = settings.current()
    return _watchers.setdefault(now.api_url or f"embedded:{now.home}", _Watcher(now.api_url))


def _reminder() -> Reminder:
    now = settings.current()
    return _reminders.setdefault(now.api_url or f"embedded:{now.home}", Reminder(now.api_url))
