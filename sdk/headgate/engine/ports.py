"""How code in another process of this machine tells the process of its flow run what happens.

A *port* is one end of a connection to the process that has the link. Task runs, log lines and
questions go through it, in order, so that what happens in a child is recorded like all else, by
the one outbox that the run has.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from headgate import context as contexts
from headgate.codec.session import Item, Reported
from headgate.core import errors, runs, states
from headgate.engine.recording import Answer

__all__ = ["Host", "Port", "PortContext", "PortRecorder"]


class Port:
    """The end of the process that executes; may be used from any thread.

    Args:
        connection: To the process that records.
        on_message: Takes messages that are no answers; on the port's thread.
        on_closed: Called when the other process is gone; on the port's thread.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_message: Callable[[tuple[Any, ...]], None] = lambda message: None,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a connection over; ``start`` starts to read."""
        self._connection = connection
        self._on_message = on_message
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {}
        self._thread = threading.Thread(target=self._read, name="headgate-port", daemon=True)
        #: Why nothing is taken any more.
        self.failure: errors.HeadgateError | None = None
        _ports.add(self)

    def start(self) -> None:
        """Start the thread that reads."""
        self._thread.start()

    def send(self, *message: Any) -> None:
        """Send a message.

        Raises:
            HeadgateError: The process of the flow run takes nothing any more.
        """
        if self.failure is not None:
            raise self.failure
        try:
            with self._lock:
                self._connection.send(message)
        except (OSError, ValueError):
            raise self._lost() from None

    def ask(self, flow_run_id: str, question: str, *arguments: Any) -> Future[Any]:
        """Ask something; the future has the answer, or the failure."""
        answer: Future[Any] = Future()
        number = next(self._numbers)
        self._asked[number] = answer
        try:
            self.send("ask", flow_run_id, number, question, arguments)
        except errors.HeadgateError as error:
            self._asked.pop(number, None)
            answer.set_exception(error)
        return answer

    def detach(self) -> None:
        """Take nothing any more: in a fork, whose answers the process that it left would read."""
        self._lock = threading.Lock()
        self._asked = {}
        self.failure = errors.MissingContextError(
            "This process is a fork of one that executes a task for another process, so nothing "
            "is recorded here; call tasks and flows in the process that was forked."
        )

    def close(self) -> None:
        """Say goodbye."""
        with self._lock, contextlib.suppress(OSError):
            self._connection.close()

    def _read(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            # TypeError and ValueError: closed in the middle of reading.
            except (EOFError, OSError, TypeError, ValueError):
                break
            self._take(message)
        failure = self._lost()
        while self._asked:
            _number, answer = self._asked.popitem()
            answer.set_exception(failure)
        self._on_closed()

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("answer", number, value, error):
                answer = self._asked.pop(number, None)
                if answer is not None and error is not None:
                    answer.set_exception(error)
                elif answer is not None:
                    answer.set_result(value)
            case ("failed", error):
                self.failure = error
            case _:
                self._on_message(message)

    def _lost(self) -> errors.HeadgateError:
        if self.failure is None:
            self.failure = errors.MissingContextError(
                "The process that executes the flow run is gone; nothing is recorded any more."
            )
        return self.failure


#: Those of this process, for its forks.
_ports: weakref.WeakSet[Port] = weakref.WeakSet()


def _detach_all() -> None:
    for port in list(_ports):
        port.detach()


os.register_at_fork(after_in_child=_detach_all)


class PortRecorder:
    """A ``Recorder`` of a flow run whose outbox is in another process.

    Args:
        port: The way there.
        flow_run_id: The run.
    """

    def __init__(self, port: Port, flow_run_id: str) -> None:
        """Record through a port."""
        self._port = port
        self._flow_run_id = flow_run_id

    @property
    def failure(self) -> errors.HeadgateError | None:
        """Why nothing is taken any more."""
        return self._port.failure

    def record(self, item: Item) -> None:
        """Take a fact."""
        self._port.send("record", self._flow_run_id, item)

    def propose(
        self, state: states.State, *, task_run_id: str = "", force: bool = False
    ) -> Future[Answer]:
        """Ask to enter a state."""
        # The record only: a result need not be fit to be sent, and nobody there looks at it.
        plain = states.State(
            id=state.id,
            type=state.type,
            name=state.name,
            timestamp=state.timestamp,
            message=state.message,
            details=state.details,
            data=state.data if isinstance(state.data, states.Payload) else None,
        )
        return self._port.ask(self._flow_run_id, "propose", plain, task_run_id, force)

    def commit(self, item: Reported) -> Future[None]:
        """Take a fact; the future is done when it is committed, or has the failure."""
        return self._port.ask(self._flow_run_id, "commit", item)

    def flush(self) -> Future[None]:
        """Return a future that is done when all that was taken is committed."""
        return self._port.ask(self._flow_run_id, "flush")


class PortContext(contexts.FlowRunContext):
    """A flow run that executes in another process, as code in this one sees it."""

    __slots__ = ("port",)

    #: The way to the process that has the run.
    port: Port

    def next_call(self, task_key: str) -> int:
        """Number the calls of one task, together with those of the other process."""
        return self.port.ask(self.flow_run.id, "next_call", task_key).result()


class Host:
    """The end of the process that records: does what messages of a port ask for.

    Args:
        find: Returns the context of a flow run, while it executes.
        take_log: Takes a log line.
        task: The task run whose function is called at the other end, if it is one's.
    """

    def __init__(
        self,
        find: Callable[[str], contexts.FlowRunContext | None],
        take_log: Callable[[runs.LogRecord], None],
        task: contexts.TaskRunContext | None = None,
    ) -> None:
        """Serve the runs that are found."""
        self._task = task
        self._find = find
        self._take_log = take_log

    def take(self, message: tuple[Any, ...], reply: Callable[[tuple[Any, ...]], None]) -> bool:
        """Do what a message says; returns whether it was one for a host.

        Args:
            message: What came.
            reply: Sends a message back; called from any thread.
        """
        match message:
            case ("log", record):
                self._take_log(record)
            case ("record", flow_run_id, item):
                self._record(flow_run_id, item, reply)
            case ("ask", flow_run_id, number, question, arguments):
                self._answer(flow_run_id, number, question, arguments, reply)
            case _:
                return False
        return True

    def _record(
        self, flow_run_id: str, item: Item, reply: Callable[[tuple[Any, ...]], None]
    ) -> None:
        context = self._find(flow_run_id)
        if context is None:
            reply(("failed", _over(flow_run_id)))
            return
        try:
            context.recorder.record(item)
        except errors.HeadgateError as error:
            reply(("failed", error))

    def _answer(
        self,
        flow_run_id: str,
        number: int,
        question: str,
        arguments: tuple[Any, ...],
        reply: Callable[[tuple[Any, ...]], None],
    ) -> None:
        if question == "transaction":
            self._answer_transaction(number, arguments, reply)
            return
        context = self._find(flow_run_id)
        if context is None:
            reply(("answer", number, None, _over(flow_run_id)))
        elif question == "recall":
            from headgate.engine import recalling  # only for durable flows

            _pass_on(recalling.recall(context, *arguments), number, reply)
        elif question == "take_subflow":
            from headgate.engine import recalling  # only for flows that run again

            _pass_on(recalling.take_subflow(context, *arguments), number, reply)
        elif question == "next_call":
            reply(("answer", number, context.next_call(*arguments), None))
        elif question == "commit":
            _pass_on(context.recorder.commit(*arguments), number, reply)
        elif question == "flush":
            _pass_on(context.recorder.flush(), number, reply)
        else:
            state, task_run_id, force = arguments
            answering = context.recorder.propose(state, task_run_id=task_run_id, force=force)
            _pass_on(answering, number, reply)

    def _answer_transaction(
        self, number: int, arguments: tuple[Any, ...], reply: Callable[[tuple[Any, ...]], None]
    ) -> None:
        from headgate.engine import far_transactions  # rarely needed here

        try:
            value = far_transactions.answer(self._task, *arguments)
        except errors.HeadgateError as error:
            reply(("answer", number, None, error))
        except Exception as error:  # loading what came runs code of the user's
            msg = f"The transaction cannot be taken over: {type(error).__name__}: {error}"
            reply(("answer", number, None, errors.SerializationError(msg)))
        else:
            reply(("answer", number, value, None))


def _over(flow_run_id: str) -> errors.HeadgateError:
    return errors.MissingContextError(
        f"Flow run {flow_run_id} has ended, so nothing is recorded for it any more; wait in the "
        "flow for what it starts."
    )


def _pass_on(future: Future[Any], number: int, reply: Callable[[tuple[Any, ...]], None]) -> None:
    def send(done: Future[Any]) -> None:
        error = done.exception()
        reply(("answer", number, None if error is not None else done.result(), error))

    future.add_done_callback(send)
