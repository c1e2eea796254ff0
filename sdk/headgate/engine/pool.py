"""Threads for tasks: as many as are needed, or a fixed number of those that do something."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator

from headgate.core import errors
from headgate.engine import blocking

__all__ = ["Pool"]

#: How long a thread without work stays.
IDLE_SECONDS = 10.0


class Pool:
    """A pool of daemon threads.

    At most ``size`` of them are *active*. A thread that waits for another task is not: it gives
    its place away (``blocking.released``), so tasks that wait for tasks cannot lock the pool.

    Args:
        size: How many threads may be active; None: as many as there are jobs.
        name: The name of the threads.
    """

    def __init__(self, size: int | None, *, name: str) -> None:
        """Make a pool without threads."""
        self._size = size
        self._name = name
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._place = threading.Condition(self._lock)
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = 0
        self._active = 0
        self._returning = 0
        self._closed = False
        self._threads: set[threading.Thread] = set()

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job on one of the threads. It must not raise.

        Raises:
            UsageError: The pool is closed.
        """
        with self._lock:
            if self._closed:
                msg = "The task runner has ended with its flow run; submit tasks before that."
                raise errors.UsageError(msg)
            self._jobs.append(job)
            start = self._staff()
        if start is not None:
            start.start()

    def cancel(self) -> int:
        """Forget jobs that no thread has begun; returns how many."""
        with self._lock:
            count = len(self._jobs)
            self._jobs.clear()
        return count

    def close(self) -> None:
        """Take no more jobs; threads end when they have none."""
        with self._lock:
            self._closed = True
            self._work.notify_all()

    def busy_threads(self) -> list[int]:
        """Return the ids of the threads that run a job."""
        with self._lock:
            return [thread.ident for thread in self._threads if thread.ident is not None]

    @contextlib.contextmanager
    def released(self) -> Generator[None]:
        """Give the place of this thread away for the length of a ``with`` block."""
        size = self._size
        if size is None:
            yield
            return
        with self._lock:
            start = self._leave()
        if start is not None:
            start.start()
        try:
            yield
        finally:
            with self._lock:
                self._returning += 1
                while self._active >= size:
                    self._place.wait()
                self._returning -= 1
                self._active += 1

    def _free(self) -> int:
        """How many more threads may be active; those who come back from waiting go first."""
        if self._size is None:
            return len(self._jobs)
        return self._size - self._active - self._returning

    def _staff(self) -> threading.Thread | None:
        """Find a thread for the jobs that wait: an idle one, or one to be started."""
        wanted = min(len(self._jobs), self._free())
        if wanted <= 0:
            return None
        if self._idle >= wanted:
            self._work.notify()
            return None
        # Idle until it has got hold of the lock, so that nobody starts another one for its job.
        self._idle += 1
        return threading.Thread(target=self._run, name=self._name, daemon=True)

    def _leave(self) -> threading.Thread | None:
        """Give a place back; returns a thread to be started for a job that waited for it."""
        self._active -= 1
        if self._returning:
            self._place.notify()
            return None
        return self._staff()

    def _run(self) -> None:
        thread = threading.current_thread()
        with self._lock:
            self._idle -= 1
            job = self._next(thread)
        while job is not None:
            with blocking.occupy(self):
                job()
            del job  # its arguments must not live for as long as the thread is idle
            with self._lock:
                self._threads.discard(thread)
                # This thread itself is the one that takes the next job, so none is started.
                self._active -= 1
                if self._returning:
                    self._place.notify()
                job = self._next(thread)

    def _next(self, thread: threading.Thread) -> Callable[[], None] | None:
        """Take the next job, waiting for it; None: the thread is to end."""
        while True:
            if self._jobs and self._free() > 0:
                self._active += 1
                self._threads.add(thread)
                return self._jobs.popleft()
            if self._closed and not self._jobs:
                return None
            self._idle += 1
            woken = self._work.wait(IDLE_SECONDS)
            self._idle -= 1
            # A job may have come, and have counted on this thread, in the moment of giving up.
            if not woken and not self._jobs:
                return None
