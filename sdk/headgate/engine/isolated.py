"""The process of a cell, which executes calls of another process; see ``cells``."""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from headgate.core import errors
from headgate.engine import carrying, prints, shipping
from headgate.engine.effects import Call
from headgate.engine.ports import Port

if TYPE_CHECKING:
    from headgate.tasks import Task

__all__ = ["main"]


def main(descriptor: int) -> None:
    """Execute calls until nobody wants any more."""
    # Ctrl+C is for the process of the flow run, which ends this one. A handler, not SIG_IGN, which
    # programs that a task starts would inherit.
    signal.signal(signal.SIGINT, _stay)
    messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
    executing = threading.Event()

    def on_closed() -> None:
        if executing.is_set():
            # Whatever it is: nobody would hear of it.
            os._exit(0)
        messages.put(None)

    port = Port(Connection(descriptor), on_message=messages.put, on_closed=on_closed)
    port.start()
    while (message := messages.get()) is not None:
        executing.set()
        match message:
            case ("begin", initial):
                _begin(port, initial)
            case ("call", payload, timeout_seconds):
                _execute(port, payload, timeout_seconds)
            case _:
                pass
        executing.clear()


def _stay(_number: int, _frame: object) -> None:
    """Take no notice."""


def _begin(port: Port, initial: bytes) -> None:
    try:
        if initial:
            initializer, initargs = shipping.load(initial)
            initializer(*initargs)
    except BaseException as error:  # any code may be in there; whoever calls hears of it
        port.send("raised", shipping.dump_error(error))
        return
    port.send("ready")


def _execute(port: Port, payload: bytes, timeout_seconds: float | None) -> None:
    try:
        answer = ("done", _call(port, payload, timeout_seconds))
    except BaseException as error:  # any code may be in a task; whoever called hears of it
        answer = ("raised", shipping.dump_error(error))
    port.send(*answer)


def _call(port: Port, payload: bytes, timeout_seconds: float | None) -> bytes:
    from headgate import context as contexts

    try:
        context, fn, args, kwargs, timeout_error = shipping.load(payload)
    except Exception as problem:  # loading imports the user's modules
        msg = (
            f"The call could not be loaded in another process: {type(problem).__name__}: "
            f"{problem}. Modules of a task must be importable there; or run the task on threads."
        )
        raise errors.SerializationError(msg) from problem
    with carrying.hydrated(context, port=port):
        task_context = contexts.TaskRunContext.get()
        what = "the call" if task_context is None else f"task {task_context.task.name!r}"
        port.send("begun")
        if task_context is None:
            value = _perform(fn, args, kwargs, timeout_seconds, timeout_error)
        else:
            with prints.logged(task_context):
                value = _perform(fn, args, kwargs, timeout_seconds, timeout_error)
    return shipping.dump_value(value, what)


def _perform(
    fn: Task[..., Any] | Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    timeout_seconds: float | None,
    timeout_error: Exception | None,
) -> Any:
    from headgate.tasks import Task

    inner: Any = fn.fn if isinstance(fn, Task) else fn
    call = Call(inner, args, kwargs, timeout_seconds, lambda: timeout_error or TimeoutError())
    if inspect.iscoroutinefunction(inner):
        return asyncio.run(call.perform_async())
    value = call.perform()
    if inspect.isgenerator(value):
        return list(value)
    if inspect.isasyncgen(value):
        return asyncio.run(_collect(value))
    return value


async def _collect(generator: Any) -> list[Any]:
    return [item async for item in generator]
