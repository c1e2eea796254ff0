"""Executes each run in a process of its own, made by a warm fork server."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import anyio
import anyio.abc

from headgate import settings
from headgate.core import errors
from headgate_runner import jobs
from headgate_runner.executors import interface, wire
from headgate_runner.executors.child import ProcessChild

#: What a child calls to execute its run, and to call the hooks of its flow.
DEFAULT_ENTRY = "headgate.engine.child:main"
_HOOKS_ENTRY = "headgate_runner.hooks:main"
_RESTART_DELAY_SECONDS = 0.5
#: Longer than the grace that a fork server gives its children.
_END_SECONDS_MAX = 6.0


@dataclasses.dataclass(slots=True)
class _Link:
    """The runner's end of the socket to one fork server."""

    sock: socket.socket
    #: Frames must not be mixed up.
    lock: anyio.Lock = dataclasses.field(default_factory=anyio.Lock)

    async def send(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        data = wire.encode(message, len(descriptors))
        loop = asyncio.get_running_loop()
        async with self.lock:
            while descriptors:
                try:
                    sent = wire.send_some(self.sock, data, descriptors)
                except BlockingIOError:
                    await anyio.wait_writable(self.sock)
                else:
                    data, descriptors = data[sent:], []
            if data:
                await loop.sock_sendall(self.sock, data)


class ProcessExecutor:
    """Starts jobs through a fork server, and the fork server anew if it dies.

    Made by ``open_executor``.
    """

    def __init__(self, api_url: str, entry: str, tasks: anyio.abc.TaskGroup) -> None:
        self._api_url = api_url
        self._entry = entry
        self._tasks = tasks
        self._link: _Link | None = None
        self._linked = anyio.Event()
        self._ready = False
        self._children: dict[int, ProcessChild] = {}
        self._next_id = 1

    async def start(
        self, job: jobs.Job, work: interface.Work = interface.Work.EXECUTE
    ) -> ProcessChild:
        """Start a job, or what is left to do about it."""
        env = jobs.environment(job, api_url=self._api_url)
        id = self._next_id
        self._next_id += 1
        child = ProcessChild(lambda number: self._post_signal(id, number))
        with contextlib.ExitStack() as if_it_fails:
            if_it_fails.callback(child.close)
            await self._spawn(id, child, env, work)
            await child.started.wait()
            if child.failure:
                raise jobs.UnusableJob(child.failure)
            if_it_fails.pop_all()
        return child

    async def _spawn(
        self, id: int, child: ProcessChild, env: Mapping[str, str], work: interface.Work
    ) -> None:
        entry = self._entry if work is interface.Work.EXECUTE else _HOOKS_ENTRY
        given: list[int] = []
        try:
            await child.open(given)
            link = await self._current_link()
            self._children[id] = child
            await link.send({"do": "spawn", "id": id, "entry": entry, "env": env}, given)
        except OSError as error:
            self._children.pop(id, None)
            msg = f"No process could be made for the run ({error}); the run can be tried again."
            raise jobs.UnusableJob(msg) from error
        finally:
            for descriptor in given:
                os.close(descriptor)

    async def _current_link(self) -> _Link:
        while self._link is None:
            await self._linked.wait()
        return self._link

    def _post_signal(self, id: int, number: int) -> None:
        self._tasks.start_soon(self._send_signal, id, number)

    async def _send_signal(self, id: int, number: int) -> None:
        # By the fork server, which knows whether the process is still that child. One that is
        # gone has no children left to signal.
        if self._link is not None and id in self._children:
            with contextlib.suppress(OSError):
                await self._link.send({"do": "signal", "id": id, "signal": int(number)}, [])

    async def keep_fork_server(self) -> None:
        """Hold a fork server, for ever.

        Raises:
            HeadgateError: It cannot even start.
        """
        while True:
            ours, theirs = socket.socketpair()
            with ours:
                ours.setblocking(False)
                with theirs:
                    server = await _start_fork_server(theirs, self._entry)
                self._ready = False
                self._link = _Link(ours)
                self._linked.set()
                try:
                    await self._listen(ours)
                finally:
                    self._linked = anyio.Event()
                    self._link = None
                    ours.close()  # tells it to end, and its children before it
                    await _see_off(server)
            self._fail_all(f"The fork server of this runner ended with code {server.returncode}.")
            if not self._ready:
                msg = (
                    "The process that makes the processes of runs cannot start (exit code "
                    f"{server.returncode}); its own words stand above this line."
                )
                raise errors.HeadgateError(msg)
            await anyio.sleep(_RESTART_DELAY_SECONDS)

    async def _listen(self, sock: socket.socket) -> None:
        """Hear the fork server, until it is gone."""
        loop = asyncio.get_running_loop()
        decoder = wire.Decoder()
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(sock, wire.READ_SIZE):
                for message, _descriptors in decoder.feed(data):
                    self._hear(message)

    def _hear(self, message: Mapping[str, Any]) -> None:
        if message["did"] == "warm":
            self._ready = True
            return
        child = self._children.get(message["id"])
        if child is None:
            return
        match message["did"]:
            case "start":
                child.pid = message["pid"]
                child.started.set()
            case "exit":
                del self._children[message["id"]]
                child.note_exit(message["code"])
            case _:
                del self._children[message["id"]]
                child.failure = f"No process could be made for the run: {message['reason']}."
                child.started.set()

    def _fail_all(self, reason: str) -> None:
        for child in list(self._children.values()):
            if not child.started.is_set():
                child.failure = reason
            # The kernel has killed it along with the fork server.
            child.note_exit(-signal.SIGKILL)
        self._children.clear()


async def _start_fork_server(theirs: socket.socket, entry: str) -> anyio.abc.Process:
    module = "headgate_runner.executors.forkserver"
    command = [sys.executable, "-m", module, str(theirs.fileno()), entry]
    return await anyio.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=None,
        stderr=None,
        env={**os.environ, **settings.environment()},
        pass_fds=[theirs.fileno()],
        start_new_session=True,  # a Ctrl-C at the runner's terminal is the runner's to handle
    )


async def _see_off(server: anyio.abc.Process) -> None:
    """Wait for the end of a fork server that was told to end."""
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(_END_SECONDS_MAX):
            await server.wait()
            return
        server.kill()
        await server.wait()


@contextlib.asynccontextmanager
async def open_executor(
    api_url: str, *, entry: str = DEFAULT_ENTRY
) -> AsyncGenerator[ProcessExecutor]:
    """Start a fork server; it ends, with what is left of its children, at the end.

    Args:
        api_url: The server that the children report to.
        entry: ``module:function``, what a child calls to execute its run.
    """
    async with anyio.create_task_group() as tasks:
        executor = ProcessExecutor(api_url, entry, tasks)
        tasks.start_soon(executor.keep_fork_server)
        try:
            yield executor
        finally:
            tasks.cancel_scope.cancel()
