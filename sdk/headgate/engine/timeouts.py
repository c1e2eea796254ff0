"""Ends sync code that takes too long."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType

from headgate.core import errors
from headgate.core.clock import SystemClock

__all__ = ["inject", "limit"]

#: After how much more time a thread that does not end is told of.
STUCK_SECONDS = 1.0

_clock = SystemClock()


class TimeIsOver(BaseException):
    """Raised in code that takes too long; becomes the error of the timeout where it began.

    It passes through what catches exceptions, such as code that waits with a timeout of its own,
    and ends the runs in between without another attempt.
    """


def _of_one_limit() -> type[TimeIsOver]:
    """Make the kind that one limit raises, so that those within it let it through."""
    return type("TimeIsOver", (TimeIsOver,), {})


@contextlib.contextmanager
def limit(seconds: float, make_error: Callable[[], Exception]) -> Generator[None]:
    """Raise an error in the body of a ``with`` block that takes longer.

    On the main thread by SIGALRM, which also ends a blocking call. On other threads, and where
    there is no SIGALRM, by an exception that Python raises between two instructions: a blocking
    call in C ends first.

    Args:
        seconds: How long the body may take.
        make_error: Makes the error.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if on_main_thread and hasattr(signal, "SIGALRM"):
        with _alarm(seconds, make_error):
            yield
    else:
        with _watched(seconds, make_error):
            yield


@contextlib.contextmanager
def _alarm(seconds: float, make_error: Callable[[], Exception]) -> Generator[None]:
    outer_left, _interval = signal.getitimer(signal.ITIMER_REAL)
    if outer_left and outer_left <= seconds:
        # The limit around this one ends it first.
        yield
        return

    kind = _of_one_limit()
    over = False

    def on_alarm(number: int, frame: FrameType | None) -> None:
        if not over:
            raise kind

    started = _clock.monotonic()
    try:
        before = signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            try:
                yield
            finally:
                over = True
        finally:  # even if the alarm went off in the very moment before
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if outer_left:
                left = outer_left - (_clock.monotonic() - started)
                signal.setitimer(signal.ITIMER_REAL, max(left, 0.000_001))
    except kind as error:
        # Where the code was when its time was over; what was raised there is a means only.
        raise make_error().with_traceback(error.__traceback__) from None


@contextlib.contextmanager
def _watched(seconds: float, make_error: Callable[[], Exception]) -> Generator[None]:
    thread_id = threading.get_ident()
    kind = _of_one_limit()
    lock = threading.Lock()
    over = fired = False

    def fire() -> None:
        nonlocal fired
        with lock:
            if not over:
                fired = True
                inject(thread_id, kind)

    def warn() -> None:
        if not over:
            _warn(seconds)

    context = contextvars.copy_context()
    timers = [
        threading.Timer(seconds, fire),
        threading.Timer(seconds + STUCK_SECONDS, context.run, (warn,)),
    ]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                over = True
            for timer in timers:
                timer.cancel()
            if fired:
                # Not delivered yet if the body ended by itself in this very moment.
                inject(thread_id, None)
    except kind as error:
        # Where the code was when its time was over; what was raised there is a means only.
        raise make_error().with_traceback(error.__traceback__) from None


def _warn(seconds: float) -> None:
    """Say why a call goes on after its time: nobody would guess it."""
    from headgate.logging import get_logger, get_run_logger

    try:
        logger = get_run_logger()
    except errors.MissingContextError:
        logger = get_logger("engine")
    logger.warning(
        "The timeout of %g second(s) has passed, and the code blocks in a call that Python cannot "
        "interrupt on a thread; it ends when that call returns. Use @task(isolate=True), or a "
        "ProcessPoolTaskRunner, where a timeout must hold.",
        seconds,
    )


def inject(thread_id: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in another thread, between two instructions; None: take it back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), None if kind is None else ctypes.py_object(kind)
    )
