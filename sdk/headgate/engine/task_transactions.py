"""Task runs as transactions: their cached results, their kept results, their rollback.

Only runs that keep their result, have hooks for it, or are within a transaction have one; all
others pay nothing for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headgate import context as contexts
from headgate import payloads, settings, states
from headgate.codec.session import Reported
from headgate.core import errors
from headgate.core.states import Payload, StateDetails, StateType
from headgate.engine import effects, keeping, process
from headgate.engine.effects import Call, Steps, Twin
from headgate.states import State
from headgate.transactions import BaseTransaction, TransactionState

if TYPE_CHECKING:
    from headgate.results import ResultRecord, ResultStore

__all__ = [
    "TaskTransaction",
    "again",
    "begin",
    "is_wanted",
    "let_go",
    "lighten",
    "of",
    "settle",
    "succeed",
    "tear_down",
]

#: What looking for an earlier result may fail with, and the task runs.
_UNREADABLE = (errors.SerializationError, errors.ResultStorageError, errors.MissingResult)
_ROLLED_BACK = "The task was rolled back with its transaction."
_making = threading.RLock()


class TaskTransaction(BaseTransaction):
    """The transaction that a task run is.

    Args:
        context: The run.
        options: As for ``BaseTransaction``.
    """

    lock_remedy = (
        "give the cache policy of the task a lock manager, as in "
        "INPUTS.configure(lock_manager=MemoryLockManager(), isolation_level=...)"
    )

    def __init__(self, context: contexts.TaskRunContext, **options: Any) -> None:
        """Make a transaction that has not begun."""
        super().__init__(parent=_parent(context), **options)
        self.context = context
        #: Whether a final state of the run was reported already.
        self.is_reported = False
        #: Why the result is not kept, where it was to be.
        self.loss: Exception | None = None

    def rollback_steps(self) -> Steps[bool]:
        """Roll back, and report that of a run that had completed."""
        was_staged = self.is_staged()
        done = yield from super().rollback_steps()
        if done and was_staged and self.is_reported:
            self._report()
        return done

    def _write(self, store: ResultStore, key: str) -> Steps[None]:
        """Write the result; a run goes on without that."""
        try:
            yield from super()._write(store, key)
        except Exception as error:  # each storage has errors of its own
            self.loss = error
            self.log(logging.WARNING, "The result is not kept: %s", error)

    def _report(self) -> None:
        context = self.context
        state = states.Completed(name="RolledBack", message=_ROLLED_BACK, task_run_id=context.id)
        context.state = state
        if context.flow is None:
            return
        # The reason why nothing is recorded any more is raised by the flow run.
        with contextlib.suppress(errors.HeadgateError):
            context.flow.recorder.record(
                Reported(
                    context.id,
                    StateType.COMPLETED,
                    state.name,
                    state.id,
                    state.timestamp,
                    state.message,
                )
            )

    def log(self, level: int, text: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """Log something as the task run."""
        from headgate.logging import loggers  # rarely needed here

        logger = loggers.get_run_logger(self.context)
        logger.log(level, text, *args, exc_info=exc_info)


def is_wanted(context: contexts.TaskRunContext) -> bool:
    """Say whether a run has a transaction from its beginning. On the hot path."""
    task = context.task
    if context.around is not None or task.on_rollback_hooks or task.on_commit_hooks:
        return True
    if context.persist_result:
        return True
    # A task that was called by one with a transaction belongs to that.
    caller = context.caller
    return caller is not None and caller.transaction is not None


def of(context: contexts.TaskRunContext) -> TaskTransaction:
    """Return the transaction of a run; made where it had none, for it was asked for."""
    with _making:
        if context.transaction is None:
            made: TaskTransaction | None = getattr(context, "stand_in", None)
            if made is None:  # else the run is in another process, and so is its transaction
                made = TaskTransaction(context)
                made.state = TransactionState.ACTIVE
            context.transaction = made
    return context.transaction


def begin(context: contexts.TaskRunContext) -> Steps[State[Any] | None]:
    """Begin the transaction of a run; returns its final state where its result is there already.

    Raises:
        ConfigurationError: It is to be serializable, and nothing can lock its key.
    """
    policy = context.task.cache_policy
    key, cached = None, False
    store = (yield from _opened_store(context)) if context.persist_result else None
    if store is not None:
        try:
            key = yield from _key(context)
            cached = key is not None
            key = key or _place(context) or store.storage_key_fn()
        except Exception as error:  # a policy is code of the user's
            _log_keyless(context, error)
            store = None
    made = TaskTransaction(
        context,
        key=key,
        store=store,
        isolation_level=policy.isolation_level if policy is not None and cached else None,
        overwrite=not cached or _refreshes(context),
    )
    with _making:
        context.transaction = made
    try:
        yield from made.begin_steps()
    except _UNREADABLE as error:
        made.log(logging.WARNING, "An earlier result is not used: %s", error)
        made.overwrite = True
        yield from made.begin_steps()
    if not made.is_committed():
        return None
    record = yield from made.read_steps()
    return None if record is None else (yield from _found(context, made, record))


def _opened_store(context: contexts.TaskRunContext) -> Steps[ResultStore | None]:
    """Return what keeps the result; None, and a warning, where that is not to be had."""
    try:
        store = context.result_store
        if not store.is_open:
            yield Twin(store.open, store.aopen)
        return store
    except errors.HeadgateError as problem:
        keeping.warn(context, f"The result is not kept: {problem}")
        return None


def _found(
    context: contexts.TaskRunContext, made: TaskTransaction, record: ResultRecord[Any]
) -> Steps[State[Any]]:
    yield from made.end_steps(failed=False)
    return states.Completed(
        name="Cached",
        message="The result of an earlier run was used.",
        data=record.result,
        payload=_payload(made, record),
        details=StateDetails(cache_key=made.key, cache_expire_time=record.expiration),
        task_run_id=context.id,
    )


def succeed(context: contexts.TaskRunContext, value: Any) -> Steps[State[Any]]:
    """End the transaction of a run that returned something; returns the final state of the run."""
    task, made = context.task, of(context)
    record: ResultRecord[Any] | None = None
    payload: Payload | None = None
    if made.store is not None:
        record = _record(context, made, value)
        payload = None if record is None else _payload(made, record)
    made.stage(record, task.on_rollback_hooks, task.on_commit_hooks)
    yield from made.end_steps(failed=False)
    made.is_reported = True
    if made.is_rolled_back():
        return states.Completed(name="RolledBack", message=_ROLLED_BACK, data=value)
    if record is None or made.loss is not None:
        return states.Completed(data=value)
    details = StateDetails(cache_key=made.key, cache_expire_time=record.expiration)
    return states.Completed(data=value, payload=payload, details=details)


def _record(
    context: contexts.TaskRunContext, made: TaskTransaction, value: Any
) -> ResultRecord[Any] | None:
    """Make the record of a result, with its bytes: later changes of the result do not count."""
    assert made.store is not None
    expires = context.task.cache_expiration
    try:
        record = made.store.create_result_record(
            value, made.key, None if expires is None else process.clock.now() + expires
        )
        # Here and not on another thread: meanwhile nobody can change the result.
        record.serialize_result()
    except errors.HeadgateError as error:
        made.loss = error
        made.write_on_commit = False
        made.log(logging.WARNING, "The result is not kept: %s", error)
        return None
    return record


def settle(context: contexts.TaskRunContext, state: State[Any]) -> Steps[State[Any]]:
    """End the transaction of a run with a final state; returns the state to report."""
    if state.type is not StateType.COMPLETED:
        return (yield from _fail(context, state))
    done = yield from succeed(context, state.data)
    return state.copy(payload=done.payload, details=done.details)


def lighten(context: contexts.TaskRunContext, state: State[Any]) -> State[Any]:
    """Return the final state for futures: without a result that is to be read where it is kept."""
    made = context.transaction
    kept = made is not None and made.is_committed() and state.payload is not None
    if context.task.cache_result_in_memory or not kept:
        return state
    lighter = state.without_data()
    context.state = lighter
    return lighter


def let_go(context: contexts.TaskRunContext) -> None:
    """Forget the result of a run whose transaction waits for the one around it."""
    made, state = context.transaction, context.state
    if made is not None and not made.is_committed() and isinstance(state, State):
        context.state = state.without_data()


def _fail(context: contexts.TaskRunContext, state: State[Any]) -> Steps[State[Any]]:
    made = of(context)
    yield from made.end_steps(failed=True)
    if made.store is None or not isinstance(state.data, BaseException):
        return state
    payload = keeping.exception_payload(state.data)
    return state if payload is None else state.copy(payload=payload)


def again(context: contexts.TaskRunContext) -> Steps[None]:
    """Undo what was done within an attempt of a run that is tried again."""
    made = of(context)
    for child in reversed(made.children):
        yield from child.rollback_steps()
    made.children.clear()
    made.state = TransactionState.ACTIVE


def tear_down(context: contexts.TaskRunContext) -> None:
    """Roll back the transaction of a run that is torn down, without awaiting."""
    if context.transaction is not None:
        effects.drive(context.transaction.end_steps(failed=True))


def _parent(context: contexts.TaskRunContext) -> BaseTransaction | None:
    """Return the transaction around a run: that of a block, else that of the task that called."""
    caller = context.caller
    if caller is None or caller.around is not context.around:
        return context.around
    return of(caller)


def _key(context: contexts.TaskRunContext) -> Steps[str | None]:
    """Return the key under which equal calls are found; None: none are."""
    task = context.task
    if settings.current().tasks_disable_caching:
        return None
    if task.cache_policy is not None:
        from headgate import cache_policies

        policy = task.cache_policy
        flow = context.flow
        parameters: Mapping[str, Any] = flow.parameters if flow is not None else {}
        return (yield Call(cache_policies.key_of, (policy, context, parameters)))
    return _place(context)


def _place(context: contexts.TaskRunContext) -> str | None:
    """Return the key that the task names for its results; None: it names none."""
    template = context.task.result_storage_key
    if template is None:
        return None
    from headgate import results

    return results.format_storage_key(template, context.parameters)


def _refreshes(context: contexts.TaskRunContext) -> bool:
    given = context.task.refresh_cache
    return settings.current().tasks_refresh_cache if given is None else given


def _payload(made: TaskTransaction, record: ResultRecord[Any]) -> Payload | None:
    """Return what the server is told of a result: small ones that no storage was named for ride."""
    store = made.store
    assert store is not None
    content = record.content
    rides = store.is_default and record.expiration is None
    if rides and content is not None and len(content) <= payloads.INLINE_BYTES_MAX:
        return record.metadata.inline(content)
    return store.reference(record)


def _log_keyless(context: contexts.TaskRunContext, error: Exception) -> None:
    from headgate.logging import loggers

    loggers.get_run_logger(context).error(
        "Error encountered when computing cache key - result will not be persisted. %s",
        error,
        exc_info=None if isinstance(error, errors.HashError) else error,
    )
