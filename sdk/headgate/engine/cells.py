"""Processes that execute calls for this one: what ends a call that nothing else can end.

A thread cannot be stopped while it is in C code, and shares its memory and its fate with all
others. A *cell* is a child process, a fresh interpreter, that executes one call at a time; it can
be killed. The run stays here: its states, retries and hooks are those of a call on a thread, and
only the function is called in the cell.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from headgate import context as contexts
from headgate.core import errors, runs
from headgate.core.clock import SystemClock
from headgate.engine import shipping
from headgate.engine.interruption import Injected
from headgate.engine.ports import Host

__all__ = ["Cell", "Cells"]

#: How long after its timeout a call may take to end by itself, before its process is killed.
GRACE_SECONDS = 1.0
#: How long a fresh interpreter may take until it is ready.
START_SECONDS = 60.0
#: How long a process may take to end in order: what its flow runs reported is stored first.
END_SECONDS = 5.0
#: How often a thread that waits for a cell looks whether somebody wants to stop it.
_LOOK_SECONDS = 0.25
#: Where modules come from is told first: not by the environment, which the user's own children
#: would inherit.
_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from headgate.engine import isolated
isolated.main(int(sys.argv[1]))
"""

_clock = SystemClock()


class Cell:
    """One child process.

    Args:
        initial: What it does first: a function and its arguments, pickled; empty: nothing.
    """

    def __init__(self, initial: bytes = b"") -> None:
        """Start the process; it gets ready while the caller does something else."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._lock = threading.Lock()
        self._is_ready = False
        #: Whether somebody here ended it.
        self.is_killed = False
        self._send(("begin", initial))

    @property
    def is_alive(self) -> bool:
        """Whether the process can take a call."""
        return not self.is_killed and self._process.poll() is None

    def call(self, payload: bytes, timeout_seconds: float | None, host: Host) -> Any:
        """Let the process execute a call, and return what it returned.

        Args:
            payload: The call; see ``shipping``.
            timeout_seconds: After how long the process ends the call itself; a little later it
                is killed.
            host: Does what the process asks for meanwhile.

        Raises:
            TimeoutError: The process was killed because the call did not end.
            IsolatedProcessDied: It ended in the middle of the call.
            BaseException: What the call raised.
        """
        self._await_ready()
        self._send(("call", payload, timeout_seconds))
        deadline: float | None = None
        while True:
            message = self._receive(deadline)
            match message:
                case ("begun",):
                    if timeout_seconds is not None:
                        deadline = _clock.monotonic() + timeout_seconds + GRACE_SECONDS
                case ("done", value):
                    return shipping.load(value)
                case ("raised", error):
                    raise shipping.load_error(error)
                case _:
                    host.take(message, self._send)

    def _await_ready(self) -> None:
        if self._is_ready:
            return
        match self._receive(_clock.monotonic() + START_SECONDS):
            case ("ready",):
                self._is_ready = True
            case ("raised", error):
                self.kill()
                raise shipping.load_error(error)
            case other:
                msg = f"A process for isolated calls said {other!r} at first; please report it."
                raise errors.IsolatedProcessDied(msg)

    def _send(self, message: tuple[Any, ...]) -> None:
        # Who waits for the answer hears that the process is gone.
        with self._lock, contextlib.suppress(OSError):
            self._connection.send(message)

    def _receive(self, deadline: float | None) -> tuple[Any, ...]:
        """Wait for the next message, in short steps: between them this thread can be stopped."""
        try:
            while not self._connection.poll(_LOOK_SECONDS):
                if deadline is not None and _clock.monotonic() > deadline:
                    self.kill()
                    raise TimeoutError
            return self._connection.recv()
        except (EOFError, ConnectionError):
            raise self._death() from None

    def _death(self) -> BaseException:
        if self.is_killed:
            return Injected()
        code = self._process.wait()
        return errors.IsolatedProcessDied(
            f"The process that executed the call ended in the middle of it: {_explained(code)}"
        )

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.is_killed = True
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        """Tell the process, which has no call, to end in order."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.close()

    def wait(self) -> None:
        """Wait for the end of the process."""
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


_TRY_AGAIN = "Somebody else ended it; with retries the task is tried again."
_CRASHED = "Code in C crashed; set PYTHONFAULTHANDLER=1 to see where."
_REMEDIES: Mapping[int, str] = {
    signal.SIGKILL: "Perhaps the machine ran out of memory; run fewer at once, or on less data.",
    **dict.fromkeys((signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL), _CRASHED),
    signal.SIGSEGV: _CRASHED,
}


def _explained(code: int) -> str:
    if code >= 0:
        return (
            f"it exited with code {code}. Find what ends the process, such as os._exit, and let "
            "it raise an exception instead."
        )
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"it was ended by {name}. {_REMEDIES.get(-code, _TRY_AGAIN)}"


class Cells:
    """Child processes, started when they are needed and used again.

    Args:
        idle_max: How many are kept that have nothing to do.
        initializer: What each does first.
        initargs: What that is called with.
        transform: Looks at messages of children; see ``ProcessPoolTaskRunner``.
    """

    def __init__(
        self,
        idle_max: int,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        transform: Callable[[runs.LogRecord], runs.LogRecord | None] | None = None,
    ) -> None:
        """Start nothing yet."""
        self._idle_max = idle_max
        self._initial = b""
        if initializer is not None:
            self._initial = shipping.dump_initializer(initializer, initargs)
        self._transform = transform
        self._lock = threading.Lock()
        self._idle: list[Cell] = []
        self._busy: set[Cell] = set()
        self._closed = False

    def call(
        self,
        payload: bytes,
        timeout_seconds: float | None,
        context: contexts.FlowRunContext | None,
        *,
        on_cell: Callable[[Cell], None] = lambda cell: None,
    ) -> Any:
        """Execute a call in one of the processes; see ``Cell.call``.

        Args:
            payload: The call.
            timeout_seconds: How long it may take.
            context: The flow run that it belongs to.
            on_cell: Told of the process before it begins.
        """
        cell = self._take()
        kept = False
        try:
            on_cell(cell)
            task = contexts.TaskRunContext.get()
            host = Host(lambda _run_id: context, self._take_log, task)
            value = cell.call(payload, timeout_seconds, host)
            kept = True
        except shipping.RemoteError as error:
            kept = True
            raise error.error from None
        finally:
            self._give_back(cell, kept=kept)
        return value

    def _take(self) -> Cell:
        with self._lock:
            if self._closed:
                msg = "The task runner has ended with its flow run; submit tasks before that."
                raise errors.MissingContextError(msg)
            while self._idle:
                cell = self._idle.pop()
                if cell.is_alive:
                    self._busy.add(cell)
                    return cell
            cell = Cell(self._initial)
            self._busy.add(cell)
            return cell

    def _give_back(self, cell: Cell, *, kept: bool) -> None:
        with self._lock:
            self._busy.discard(cell)
            keep = kept and cell.is_alive and not self._closed and len(self._idle) < self._idle_max
            if keep:
                self._idle.append(cell)
        if not keep and kept:
            cell.hang_up()
            cell.wait()
        elif not keep:
            cell.kill()
            cell.hang_up()

    def _take_log(self, record: runs.LogRecord) -> None:
        from headgate.engine import process

        changed = record if self._transform is None else self._transform(record)
        if changed is not None:
            process.take_log(changed)

    def kill_all(self) -> None:
        """End the processes that execute something."""
        with self._lock:
            busy = list(self._busy)
        for cell in busy:
            cell.kill()

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        self.kill_all()
        for cell in idle:
            cell.hang_up()
        for cell in idle:
            cell.wait()
