"""Serves background tasks: executes their runs in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

from headgate import _calling, settings
from headgate._explaining import explained
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.engine.child import Spec
    from headgate.states import State
    from headgate.tasks import Task

__all__ = ["TaskWorker", "aserve", "serve"]

DEFAULT_LIMIT = 10
#: What no limit means: each run under way has a thread.
LIMIT_MAX = 1_000


class TaskWorker:
    """Executes the runs of tasks that were asked for by ``delay``.

    Runs are leased and pushed as those of a runner are. Sync tasks execute on threads, async ones
    on loops of their own.

    Args:
        *tasks: The tasks.
        limit: How many at most at once; None: 1,000.
        name: For people. Default: one that is made up.
        print_messages: Whether to say what happens.

    Raises:
        InvalidArgument: There is none, or one is no task.
    """

    def __init__(
        self,
        *tasks: Task[..., Any],
        limit: int | None = DEFAULT_LIMIT,
        name: str | None = None,
        print_messages: bool = True,
    ) -> None:
        """Make it; nothing is asked for yet."""
        from headgate.engine import background
        from headgate.tasks import Task

        if not tasks:
            raise errors.InvalidArgument.of("tasks", "must be one at least.")
        for task in tasks:
            if not isinstance(task, Task):
                raise errors.InvalidArgument.of("tasks", f"has {task!r}; decorate it with @task.")
        self.tasks = tasks
        self.limit = limit
        self.name = name
        self._print_messages = print_messages
        self._served = {background.queue_of(task): background.ServedTask(task) for task in tasks}
        self._under_way = 0
        self._lock = threading.Lock()
        self._runner: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Set when runs are pushed to it.
        self.is_started = threading.Event()

    @property
    def current_tasks(self) -> int:
        """How many runs are under way."""
        return self._under_way

    def start(self, timeout: float | None = None) -> None:
        """Execute runs until ``stop``, SIGTERM or Ctrl-C.

        Args:
            timeout: Stop after so many seconds. Default: never.

        Raises:
            FailedPrecondition: An event loop runs in this thread; use ``astart``.
        """
        if _calling.in_event_loop():
            msg = (
                "A task worker that is served blocks, and an event loop runs in this thread; use "
                "`await aserve(...)` here."
            )
            raise errors.FailedPrecondition(msg)
        import anyio  # only who serves pays

        anyio.run(functools.partial(self.astart, timeout))

    async def astart(self, timeout: float | None = None) -> None:
        """Do what ``start`` does, in a coroutine."""
        import anyio
        import anyio.to_thread

        from headgate.client import embedded

        api_url = settings.current().api_url or await anyio.to_thread.run_sync(
            embedded.ensure_server
        )
        await anyio.to_thread.run_sync(self._store)
        runner = self._runner = self._make_runner(api_url)
        self._loop = asyncio.get_running_loop()
        if self._print_messages:
            _say_what_is_served(self.tasks)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell_when_ready, runner)
            with anyio.move_on_after(timeout):
                await runner.run(
                    handle_signals=threading.current_thread() is threading.main_thread()
                )
            tasks.cancel_scope.cancel()

    def stop(self) -> None:
        """Let what is under way end, and stop. May be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._runner.stop)

    async def _tell_when_ready(self, runner: Any) -> None:
        await runner.ready.wait()
        self.is_started.set()

    def _store(self) -> None:
        from headgate.client.orchestration import get_client
        from headgate.engine import background

        with get_client(sync_client=True) as client:
            for task in self.tasks:
                background.store(client, task)

    def _make_runner(self, api_url: str) -> Any:
        from headgate.engine import background
        from headgate.runner import Runner, open_inline_executor

        @contextlib.asynccontextmanager
        async def open_executor(url: str) -> AsyncGenerator[Any]:
            async with open_inline_executor(url, execute=self._execute) as executor:
                yield executor

        return Runner(
            api_url,
            pools=[background.POOL],
            queues=list(self._served),
            name=self.name,
            limit=self.limit or LIMIT_MAX,
            write=print if self._print_messages else None,
            open_executor=open_executor,
        )

    def _execute(self, spec: Spec, queue_name: str) -> State[Any]:
        """Execute one leased run; on a thread of its own."""
        from headgate.engine import child

        with self._counted():
            return child.execute_flow(spec, self._served[queue_name])

    @contextlib.contextmanager
    def _counted(self) -> Generator[None]:
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1


@explained
def serve(
    *tasks: Task[..., Any],
    limit: int | None = DEFAULT_LIMIT,
    status_server_port: int | None = None,
    timeout: float | None = None,
) -> None:
    """Execute the runs of tasks that were asked for by ``delay``, until SIGTERM or Ctrl-C.

    Args:
        *tasks: The tasks.
        limit: How many at most at once; None: 1,000.
        status_server_port: A port of this machine on which ``GET /status`` answers what is served
            and how much is under way, and ``GET /health``. Default: none.
        timeout: Stop after so many seconds. Default: never.

    Raises:
        FailedPrecondition: An event loop runs in this thread; use ``aserve``.
        InvalidArgument: There is no task, or one is none.
    """
    worker = TaskWorker(*tasks, limit=limit)
    with _status_server(worker, status_server_port):
        worker.start(timeout)


@explained
async def aserve(
    *tasks: Task[..., Any],
    limit: int | None = DEFAULT_LIMIT,
    status_server_port: int | None = None,
    timeout: float | None = None,
) -> None:
    """Do what ``serve`` does, in a coroutine."""
    worker = TaskWorker(*tasks, limit=limit)
    with _status_server(worker, status_server_port):
        await worker.astart(timeout)


@contextlib.contextmanager
def _status_server(worker: TaskWorker, port: int | None) -> Generator[int | None]:
    """Answer how the worker stands, over HTTP, for the length of a ``with`` block."""
    if port is None:
        yield None
        return
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            body: dict[str, Any] = {
                "tasks": [task.task_key for task in worker.tasks],
                "limit": worker.limit,
                "current_tasks": worker.current_tasks,
            }
            known = self.path in ("/status", "/health")
            data = json.dumps(body if known else {"error": "not found"}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="headgate-status", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def _say_what_is_served(tasks: tuple[Task[..., Any], ...]) -> None:
    print("Serving the background tasks:")
    for task in tasks:
        print(f"  {task.name}")
    print("Stop with Ctrl-C.")
