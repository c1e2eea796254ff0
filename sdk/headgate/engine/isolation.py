"""Calls of a user's function in another process; see ``cells``."""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from headgate import context as contexts
from headgate.core import errors
from headgate.engine import carrying, far_transactions, shipping
from headgate.engine.cells import Cell, Cells
from headgate.engine.interruption import Injected

if TYPE_CHECKING:
    from headgate.engine.effects import Effect

__all__ = ["IsolatedCall", "shared"]


class IsolatedCall:
    """Call a function of the user's in another process; an effect of the engine.

    Args:
        cells: The processes.
        what: What is called, for messages.
        fn: Called there: a function, or a task, whose function is.
        args: Those it is called with.
        kwargs: Those it is called with by name.
        timeout_seconds: How long it may take.
        on_timeout: Makes the error that ends it.
    """

    __slots__ = (
        "_args",
        "_cell",
        "_cells",
        "_fn",
        "_is_cancelled",
        "_kwargs",
        "_on_timeout",
        "_timeout_seconds",
        "_what",
    )

    def __init__(
        self,
        cells: Cells,
        what: str,
        fn: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        timeout_seconds: float | None = None,
        on_timeout: Callable[[], Exception] = TimeoutError,
    ) -> None:
        """Make a call."""
        self._cells = cells
        self._what = what
        self._fn = fn
        self._args = args
        self._kwargs = kwargs or {}
        self._timeout_seconds = timeout_seconds
        self._on_timeout = on_timeout
        self._cell: Cell | None = None
        self._is_cancelled = False

    def perform(self) -> Any:
        """Call it, blocking."""
        from headgate.tasks import Task

        here = carrying.serialize(with_relay=False)
        task = contexts.TaskRunContext.get()
        if task is not None and isinstance(self._fn, Task):
            here["transaction"] = far_transactions.facts_of(task)
        payload = shipping.dump_call(
            self._what,
            here,
            self._fn,
            self._args,
            self._kwargs,
            None if self._timeout_seconds is None else self._on_timeout(),
        )
        context = contexts.current_flow()
        try:
            return self._cells.call(payload, self._timeout_seconds, context, on_cell=self._use)
        except errors.IsolatedProcessDied:
            if context is not None and context.interruption.intent is not None:
                # A signal for the whole process group ended it, and the flow run as well.
                raise Injected from None
            raise
        except TimeoutError as error:
            if type(error) is not TimeoutError or error.args:
                raise
            raise self._on_timeout() from None

    async def perform_async(self) -> Any:
        """Call it, awaiting."""
        import asyncio

        result: Future[Any] = Future()
        # Now it cannot be cancelled: what is awaited below may be, and the thread goes on.
        result.set_running_or_notify_cancel()
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(self._settle, result), daemon=True)
        thread.start()
        try:
            return await asyncio.wrap_future(result)
        except asyncio.CancelledError:
            self._is_cancelled = True
            if self._cell is not None:
                self._cell.kill()
            raise

    def _settle(self, result: Future[Any]) -> None:
        try:
            result.set_result(self.perform())
        except BaseException as error:  # passed on to who waits
            result.set_exception(error)

    def _use(self, cell: Cell) -> None:
        self._cell = cell
        if self._is_cancelled:
            cell.kill()


_shared: Cells | None = None
_shared_lock = threading.Lock()


def shared() -> Cells:
    """Return the processes for tasks that are isolated one by one, ``@task(isolate=True)``."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = Cells(os.cpu_count() or 1)
            atexit.register(_close_shared)
        return _shared


def _close_shared() -> None:
    global _shared
    with _shared_lock:
        cells, _shared = _shared, None
    if cells is not None:
        cells.close()


def _forget() -> None:
    """Begin anew in a fork: the children are the parent's."""
    global _shared, _shared_lock
    _shared, _shared_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)

if TYPE_CHECKING:
    _fits: Effect = cast("IsolatedCall", None)
