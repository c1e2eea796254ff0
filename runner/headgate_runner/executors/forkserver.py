"""The fork server: a process that has imported everything and makes one child per run.

It runs as ``python -m headgate_runner.executors.forkserver FD MODULE:FUNCTION``, where FD is its
end of a unix socket and the function is what most children will call: it finds its run in the
environment and returns the exit code. Importing the SDK takes some hundred milliseconds, forking
a process that has done so takes a few. For the fork to be safe this process has one thread and has
never opened a channel (gRPC and fork do not go together); user code is imported in the children
only, so that each run sees the files as they are then.

Frames from the runner (see ``wire``):

- ``{"do": "spawn", "id": n, "entry": "module:function", "env": {...}}`` with four descriptors:
  standard output, standard error, the child's and the runner's end of the control socket.
- ``{"do": "signal", "id": n, "signal": 15}``; SIGKILL goes to all of the child's process group.

Frames to the runner: ``{"did": "warm"}`` once, then ``{"did": "start", "id": n, "pid": p}``,
``{"did": "exit", "id": n, "code": c}`` and ``{"did": "fail", "id": n, "reason": "..."}``.

When the runner dies its end of the socket closes. Then each child is told to end without a word
to the server, which decides by the missing heartbeats what becomes of the run: by SIGTERM, after a
grace by SIGKILL. Then the fork server ends. When the fork server itself dies the kernel kills the
children (on Linux).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import dataclasses
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

import pydantic

from headgate.core import clock
from headgate_runner.executors import interface, wire
from headgate_runner.executors.child import words

GRACE_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1
#: What the SDK loads no sooner than a run needs it, which here is sooner or later.
_LOADED_BY_RUNS = (
    "asyncio",
    "headgate._parameter_models",
    "headgate.client.embedded",
    "headgate.engine.on_loop",
    "headgate.engine.prints",
    "headgate.engine.sources",
    "headgate.engine.task_engine",
    "headgate.flows",
    "headgate.logging.prints",
    "headgate.task_runners",
    "headgate.tasks",
    "tempfile",
)
_LAST_WORDS = words(interface.Intent.RESCHEDULE)


@dataclasses.dataclass(frozen=True, slots=True)
class Spawn:
    """What a child was made for: found by the child itself when ``serve`` returns in it."""

    entry: str
    env: dict[str, str]
    stdout: int
    stderr: int
    control: int


@dataclasses.dataclass(slots=True)
class _Child:
    id: int
    pid: int
    runner_end: int
    #: Whether what it started must end with it.
    sweep: bool = False


class ForkServer:
    """The loop of the fork server.

    Args:
        sock: Its end of the socket.
        time: Where time comes from.
    """

    def __init__(self, sock: socket.socket, time: clock.Clock) -> None:
        self._sock = sock
        self._time = time
        self._decoder = wire.Decoder()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()

    def serve(self) -> Spawn | None:
        """Serve until the runner is gone; returns in each child, too, with its job."""
        self._watch_children()
        self._tell({"did": "warm"})
        self._selector.register(self._sock, selectors.EVENT_READ)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        while True:
            for key, _events in self._selector.select():
                if key.fileobj is not self._sock:
                    self._reap()
                    continue
                job, alive = self._read()
                if job is not None:
                    return job
                if not alive:
                    self._end_children()
                    return None

    def _watch_children(self) -> None:
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)
        # Ctrl-C and a stop of the whole group are the runner's to handle; this process ends
        # when the runner does.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _read(self) -> tuple[Spawn | None, bool]:
        """Carry out what the runner says; returns a job in a child, and whether it lives."""
        try:
            data, descriptors = wire.receive(self._sock)
        except OSError:
            return None, False
        if not data:
            return None, False
        frames = deque(self._decoder.feed(data, descriptors))
        while frames:
            frame, received = frames.popleft()
            if frame["do"] == "spawn":
                job = self._spawn(frame, received)
                if job is not None:
                    # What is left is for the fork server. A descriptor kept here would keep
                    # the pipes of another run open.
                    for descriptor in [d for _frame, kept in frames for d in kept]:
                        os.close(descriptor)
                    return job, True
            else:
                self._signal(int(frame["id"]), int(frame["signal"]))
        return None, True

    def _spawn(self, frame: dict[str, Any], descriptors: list[int]) -> Spawn | None:
        stdout, stderr, control, runner_end = descriptors
        # Held back until the child has let go of the fork server's handlers, which ignore it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            pid = os.fork()
            if pid == 0:
                self._become_child(runner_end)
                return Spawn(frame["entry"], frame["env"], stdout, stderr, control)
        except OSError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            self._tell({"did": "fail", "id": frame["id"], "reason": str(error)})
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for descriptor in (stdout, stderr, control):
            os.close(descriptor)
        self._children[pid] = _Child(int(frame["id"]), pid, runner_end)
        self._tell({"did": "start", "id": frame["id"], "pid": pid})
        return None

    def _become_child(self, runner_end: int) -> None:
        """Let go of all that is the fork server's."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        self._sock.close()
        self._decoder.close()
        siblings = [child.runner_end for child in self._children.values()]
        for descriptor in (self._wake_read, self._wake_write, runner_end, *siblings):
            os.close(descriptor)
        self._children.clear()

    def _signal(self, id: int, number: int) -> None:
        child = next((c for c in self._children.values() if c.id == id), None)
        if child is None:
            return  # it has ended, and its pid may be another process's by now
        child.sweep = True
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(child.pid, number)
            os.kill(child.pid, number)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
        for child in list(self._children.values()):
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            if child.sweep or ended.si_status != 0:
                # Before it is reaped, for until then its process group's number is its own.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(child.pid, signal.SIGKILL)
            _pid, raw = os.waitpid(child.pid, 0)
            os.close(child.runner_end)
            del self._children[child.pid]
            code = os.waitstatus_to_exitcode(raw)
            self._tell({"did": "exit", "id": child.id, "code": code})

    def _tell(self, message: dict[str, Any]) -> None:
        # A runner that is gone reads nothing; the next read finds that out.
        with contextlib.suppress(OSError):
            self._sock.sendall(wire.encode(message))

    def _end_children(self) -> None:
        """The runner is gone: end what it started."""
        for child in self._children.values():
            child.sweep = True
            with contextlib.suppress(OSError):
                os.write(child.runner_end, _LAST_WORDS)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
        self._selector.unregister(self._sock)
        deadline = self._time.monotonic() + GRACE_SECONDS
        while self._children and (left := deadline - self._time.monotonic()) > 0:
            self._selector.select(left)
            self._reap()
        for child in list(self._children.values()):
            self._signal(child.id, signal.SIGKILL)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wakeup descriptor has noted the signal; ignoring it would reap."""


def find(entry: str) -> Callable[[], int]:
    """Import ``module:function``."""
    module, _, function = entry.partition(":")
    return getattr(importlib.import_module(module), function)


def warm(entry: str) -> None:
    """Import what every run needs, and keep the collector off these objects."""
    find(entry)
    for name in _LOADED_BY_RUNS:
        importlib.import_module(name)
    # Pydantic loads most of itself with the first model.
    pydantic.create_model("Warm", number=(float, ...)).model_json_schema()
    # The pages of what was imported stay shared with the children.
    gc.collect()
    gc.freeze()


class _Leaving:
    """Ends a child after its last exit handler, without taking the interpreter apart."""

    def __init__(self) -> None:
        self.code: int | None = None

    def __call__(self) -> None:
        if self.code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(self.code)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the fork server dies, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _dress(job: Spawn) -> None:
    """Give the child its own session, streams and environment."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (job.stdout, 1), (job.stderr, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # Lines are logs: each goes out when it is complete.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]  # TextIO's stub lacks it
    os.environ.update(job.env)
    os.environ["HEADGATE__CONTROL_FD"] = str(job.control)


def _run(entry: str) -> int:
    """Do what this child was made for, and return its exit code."""
    try:
        return find(entry)()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # the last word of a process: whatever it was, it is told
        traceback.print_exc()
        return 1


def main(arguments: list[str]) -> int:
    """Serve on the socket; in a child, execute its run."""
    leaving = _Leaving()
    atexit.register(leaving)  # registered first, so that it is called last
    descriptor, entry = arguments
    sock = socket.socket(fileno=int(descriptor))
    server_pid = os.getpid()
    warm(entry)
    job = ForkServer(sock, clock.SystemClock()).serve()
    if job is None:
        return 0
    _die_with(server_pid)
    _dress(job)
    leaving.code = 1
    leaving.code = _run(job.entry)
    return leaving.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
