"""Stops a flow run from outside: by SIGTERM, or because the server says that it is cancelled."""

from __future__ import annotations

import contextlib
import enum
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING, Any

from headgate.core import errors
from headgate.engine import timeouts

if TYPE_CHECKING:
    import asyncio

__all__ = ["Injected", "Intent", "Interruption", "set_process_intent"]


class Intent(enum.StrEnum):
    """What shall become of a run that is stopped."""

    #: Somebody asked for its end: Cancelled.
    CANCEL = "cancel"
    #: Its process must end: Crashed.
    CRASH = "crash"
    #: Its process must end, and the run shall go on elsewhere: nothing is reported.
    RESCHEDULE = "reschedule"


class Injected(errors.TerminationSignal):
    """A termination signal that is raised in a thread other than the main one."""

    def __init__(self) -> None:
        """Make it; Python does, with no argument."""
        super().__init__(signal.SIGTERM)


def _no_intent() -> Intent | None:
    return None


_read_process_intent: Callable[[], Intent | None] = _no_intent


def set_process_intent(read: Callable[[], Intent | None]) -> None:
    """Say how to learn what SIGTERM means for all runs of this process.

    Args:
        read: Returns what whoever sent the signal said before; asked after the signal, so that
            neither can overtake the other.
    """
    global _read_process_intent
    _read_process_intent = read


class Interruption:
    """How one flow run is stopped. Made in the thread in which the run executes.

    Args:
        parent: That of the flow run that called this one; what stops it stops this one, too.
    """

    def __init__(self, parent: Interruption | None = None) -> None:
        """Make one that was not asked for."""
        self._parent = parent
        self._intent: Intent | None = None
        self._thread = threading.current_thread()
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._listens = False
        #: Signals on their way that this process sent to itself.
        self._own_signals = 0
        self.is_over = False
        self.signalled = False
        self.reason = ""

    @property
    def intent(self) -> Intent | None:
        """What shall become of the run, if somebody wants to stop it."""
        one: Interruption | None = self
        while one is not None:
            if one._intent is not None:
                return one._intent
            if one.signalled:
                return _read_process_intent() or Intent.CRASH
            one = one._parent
        return None

    @property
    def is_own(self) -> bool:
        """Whether it is this run that shall stop, and not one around it."""
        return self._parent is None or self._parent.intent is None

    def cause_of(self, error: BaseException) -> BaseException:
        """Say what tears the run down: on an event loop SIGTERM arrives as a cancellation."""
        if self._root.signalled and not isinstance(error, errors.TerminationSignal):
            return errors.TerminationSignal(signal.SIGTERM)
        return error

    def use_task(self) -> None:
        """Stop the run by cancelling the current task of asyncio."""
        import asyncio

        task = asyncio.current_task()
        if task is not None:
            self._task = (asyncio.get_running_loop(), task)

    def cancel(self, reason: str = "") -> None:
        """Stop the run and let it end as Cancelled. May be called from any thread, twice."""
        if self._intent is not None or self.is_over:
            return
        self._intent = Intent.CANCEL
        self.reason = reason
        self._deliver()

    def settle(self) -> None:
        """Take the cancellation of the asyncio task back: it was meant for this run alone."""
        if self._task is not None:
            self._task[1].uncancel()

    def _deliver(self) -> None:
        if self._task is not None:
            loop, task = self._task
            # A loop that is closed has ended the run itself.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        elif self._root._listens and self._thread is threading.main_thread():
            # A real signal, because it also ends a blocking call.
            assert self._thread.ident is not None
            self._root._own_signals += 1
            signal.pthread_kill(self._thread.ident, signal.SIGTERM)
        elif self._thread.ident is not None:
            timeouts.inject(self._thread.ident, Injected)

    @property
    def _root(self) -> Interruption:
        one = self
        while one._parent is not None:
            one = one._parent
        return one

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Take SIGTERM for this run, for the length of a ``with`` block.

        Only for the outermost run, and only on the main thread, where Python handles signals. If
        the user has a handler of their own, it is theirs to stop the run.
        """
        if (
            self._parent is not None
            or threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        ):
            yield
            return
        self._listens = True
        with self._waking():
            signal.signal(signal.SIGTERM, self._on_signal)
            try:
                yield
            finally:
                self._listens = False
                if signal.getsignal(signal.SIGTERM) == self._on_signal:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextlib.contextmanager
    def _waking(self) -> Generator[None]:
        """Have SIGTERM wake the event loop of the run, if it has one.

        Python calls handlers between two instructions. One for a signal that came just before the
        loop began to wait would be called when the loop goes on, however late that is.
        """
        loop = self._task[0] if self._task is not None else None
        wakes = False
        if loop is not None:
            # Not every loop knows signals, such as those of Windows.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(signal.SIGTERM, _nothing)
                wakes = True
        try:
            yield
        finally:
            if loop is not None and wakes:
                handler = signal.getsignal(signal.SIGTERM)
                loop.remove_signal_handler(signal.SIGTERM)
                if handler is not signal.SIG_DFL:
                    signal.signal(signal.SIGTERM, handler)  # the user's own

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._own_signals:
            self._own_signals -= 1
        elif self.is_over or self.signalled:
            return
        else:
            self.signalled = True
            if self._task is not None:
                # Raised within a loop it would end the loop, not the run.
                self._deliver()
                return
        raise errors.TerminationSignal(number)


def _nothing() -> None:
    """Do nothing: that the loop turns is enough."""
