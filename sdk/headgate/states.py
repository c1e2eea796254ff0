"""States as users meet them: a state with its result, and a function that makes each kind.

``Completed(message="Nothing new", name="Skipped")`` returned from a flow or task becomes its final
state. The record that is stored and sent is ``headgate.core.states.State``; this one adds what
lives in the process only: the result, or the exception.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeGuard, TypeVar, cast, overload

from headgate import _options, _state_fields
from headgate._explaining import explained
from headgate.core import errors, ids, states
from headgate.core.clock import process_clock as _clock
from headgate.core.record import record
from headgate.core.states import NO_DETAILS, StateDetails, StateType

if TYPE_CHECKING:
    from headgate._state_making import (
        exception_to_crashed_state,
        exception_to_failed_state,
        format_exception,
        return_value_to_state,
    )

__all__ = [
    "AwaitingConcurrencySlot",
    "AwaitingRetry",
    "Cancelled",
    "Cancelling",
    "Completed",
    "Crashed",
    "Failed",
    "InfrastructurePending",
    "Late",
    "Paused",
    "Pending",
    "Retrying",
    "Running",
    "Scheduled",
    "State",
    "StateDetails",
    "StateGroup",
    "StateType",
    "Submitting",
    "Suspended",
    "aget_state_exception",
    "araise_state_exception",
    "exception_to_crashed_state",
    "exception_to_failed_state",
    "format_exception",
    "from_record",
    "get_state_exception",
    "is_state",
    "is_state_iterable",
    "new",
    "raise_state_exception",
    "return_value_to_state",
]

R = TypeVar("R", covariant=True)


class _NotKept:
    """In the place of a result that is not in this process and was not stored."""

    def __repr__(self) -> str:
        return "<not kept>"


_NOT_KEPT = _NotKept()


@record
class RunStateDetails(StateDetails):
    """What a state carries beside, by the names that code written for Prefect uses, too."""

    flow_run_id: str | None = None
    task_run_id: str | None = None

    @property
    def cache_expiration(self) -> datetime | None:
        """Until when the result may be used again."""
        return self.cache_expire_time

    @property
    def pause_timeout(self) -> datetime | None:
        """When the pause fails."""
        return self.pause_expire_time


_DETAILS = dataclasses.fields(StateDetails)


def _state_type(given: object) -> StateType:
    try:
        return StateType(given)
    except ValueError as error:
        names = ", ".join(StateType)
        raise errors.OptionValueError(
            f"{given!r} is no type of states; use one of {names}."
        ) from error


@record
class State(states.State, Generic[R]):
    """Where a run stands, with its result where it has one.

    Attributes:
        data: The result of a completed run, the exception of one that failed; a payload where
            they are kept elsewhere.
        payload: What the server is told of the result or the exception.
        flow_run_id: The flow run whose state this is; None for a state made by hand.
        task_run_id: The same for a task run.
        given: What who called the function gets in the place of the result: the states that the
            function returned.
    """

    id: str = dataclasses.field(default_factory=ids.new_id)
    #: Empty: that of the type.
    name: str = ""
    timestamp: datetime = dataclasses.field(default_factory=lambda: _clock.now())
    data: Any = None
    payload: states.Payload | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None
    given: Any = None

    def __post_init__(self) -> None:
        """Fill in what code that makes a state by hand leaves away, and refuse what is wrong.

        The link sends states on a thread of its own, where nobody would be told.

        Raises:
            OptionTypeError: A field is of another type.
            OptionValueError: There is no such type.
        """
        if not isinstance(cast("object", self.type), StateType):
            object.__setattr__(self, "type", _state_type(self.type))
        if not self.name:
            object.__setattr__(self, "name", self.type.default_name)
        if cast("object", self.message) is None:
            object.__setattr__(self, "message", "")
        if not (
            type(self.id) is type(self.name) is type(self.message) is str
            and self.name.isascii()
            and type(self.timestamp) is datetime
            and self.timestamp.tzinfo is not None
            and self.details is NO_DETAILS
            and self.payload is None
        ):
            _state_fields.settle(self)

    @property
    def state_details(self) -> RunStateDetails:
        """What it carries beside, with the run whose state it is."""
        return RunStateDetails(
            **{field.name: getattr(self.details, field.name) for field in _DETAILS},
            flow_run_id=self.flow_run_id,
            task_run_id=self.task_run_id,
        )

    @property
    def has_data(self) -> bool:
        """Whether ``data`` is what the run returned or raised, rather than kept elsewhere."""
        return not isinstance(self.data, (_NotKept, states.Payload))

    @overload
    def result(
        self, raise_on_failure: Literal[True] = True, retry_result_failure: bool = True
    ) -> R: ...

    @overload
    def result(
        self, raise_on_failure: bool, retry_result_failure: bool = True
    ) -> R | BaseException: ...

    def result(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
        """Return the result of the run.

        Args:
            raise_on_failure: Raise what made the run fail; otherwise it is returned, or the states
                that the function returned.
            retry_result_failure: Whether reading a kept result is tried again for a while.

        Raises:
            UnfinishedRun: The run has not ended.
            UpstreamTaskError: It is NotReady: a run it builds on did not complete.
            PausedRun: It is paused.
            MissingResult: It completed, and its result was not kept, or has expired.
            HeadgateError: Its result cannot be read here.
        """
        if self.type is StateType.PAUSED:
            msg = "The run is paused; its result is there when it was resumed and has completed."
            raise errors.PausedRun(msg, self)
        if not self.is_terminal:
            if isinstance(self.data, errors.UpstreamTaskError):
                raise self.data
            msg = f"The run is {self.name} and has no result yet; wait until it has ended."
            raise errors.UnfinishedRun(msg, self)
        if self.type is not StateType.COMPLETED:
            if not raise_on_failure and (
                isinstance(self.data, State) or is_state_iterable(self.data)
            ):
                # What became of each of them is with them.
                return cast("Any", self.data)
            exception = get_state_exception(self)
            if raise_on_failure:
                try:
                    raise exception
                except BaseException:
                    _trim(exception)
                    raise
            return exception
        kept = self.payload if isinstance(self.data, _NotKept) else self.data
        if kept is self.data and not isinstance(kept, states.Payload):
            return kept
        if kept is None:
            msg = "The run completed, and its result was not kept; let the run store what you need."
            raise errors.MissingResult(msg)
        from headgate import results  # loads what reads results

        return results.read_payload(kept, retry=retry_result_failure)

    @overload
    async def aresult(
        self, raise_on_failure: Literal[True] = True, retry_result_failure: bool = True
    ) -> R: ...

    @overload
    async def aresult(
        self, raise_on_failure: bool, retry_result_failure: bool = True
    ) -> R | BaseException: ...

    async def aresult(
        self, raise_on_failure: bool = True, retry_result_failure: bool = True
    ) -> Any:
        """Return the result of the run; see ``result``."""
        if not isinstance(self.data, (_NotKept, states.Payload)):
            return self.result(raise_on_failure, retry_result_failure)
        import asyncio

        # It has to be read from where it is kept.
        return await asyncio.to_thread(self.result, raise_on_failure, retry_result_failure)

    def copy(self, **changes: Any) -> State[R]:
        """Return the same state with some fields changed.

        Raises:
            OptionTypeError: There is no such field.
        """
        return self._with(changes)

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> State[R]:
        """Do what ``copy`` does, as code that was written for Prefect says it.

        Args:
            update: The fields to change.
            deep: Copy the result, too.
        """
        changed = self.copy(**(update or {}))
        return copy.deepcopy(changed) if deep else changed

    def fresh_copy(self, **changes: Any) -> State[R]:
        """Return the state as one to be entered now: with a new id and time."""
        return self._with({"id": ids.new_id(), "timestamp": _clock.now(), **changes})

    def _with(self, changes: dict[str, Any]) -> State[R]:
        try:
            return dataclasses.replace(self, **changes)
        except TypeError:
            _options.refuse_unknown(changes, _FIELDS, "A state")
            raise

    def without_data(self) -> State[R]:
        """Return the same state without its result, which is read from where it is kept."""
        return self.copy(data=_NOT_KEPT)

    def record(self) -> states.State:
        """Return what is stored and sent of it."""
        return states.State(
            id=self.id,
            type=self.type,
            name=self.name,
            timestamp=self.timestamp,
            message=self.message,
            details=self.details,
            data=self.data if isinstance(self.data, states.Payload) else self.payload,
        )

    def __eq__(self, other: object) -> bool:
        """Two states are equal when they are one transition."""
        return isinstance(other, states.State) and other.id == self.id

    def __hash__(self) -> int:
        """Hash by the id."""
        return hash(self.id)

    def __repr__(self) -> str:
        """``Completed()``, or ``Skipped('Nothing new', type=COMPLETED)``."""
        message = repr(self.message) if self.message else ""
        kind = f"type={self.type.value}" if self.name != self.type.default_name else ""
        return f"{self.name}({', '.join(part for part in (message, kind) if part)})"

    __str__ = __repr__


_FIELDS = tuple(field.name for field in dataclasses.fields(State))


def new(
    type: StateType,
    /,
    *,
    name: str | None = None,
    message: str | None = None,
    data: Any = None,
    details: StateDetails = states.NO_DETAILS,
    timestamp: datetime | None = None,
    payload: states.Payload | None = None,
    flow_run_id: str | None = None,
    task_run_id: str | None = None,
    **unknown: Any,
) -> State[Any]:
    """Make a state that is entered now.

    Raises:
        OptionTypeError: Something else was given; it is named.
    """
    if unknown:
        _refuse(unknown, type)
    return State(
        id=ids.new_id(),
        type=type,
        name=name or type.default_name,
        timestamp=timestamp or _clock.now(),
        message=message or "",
        details=details,
        data=data,
        payload=payload,
        flow_run_id=flow_run_id,
        task_run_id=task_run_id,
    )


def _refuse(unknown: Mapping[str, Any], type: StateType) -> None:
    import inspect  # only who errs pays

    makes = inspect.signature(globals()[type.default_name])
    own = [name for name, given in makes.parameters.items() if given.kind != given.VAR_KEYWORD]
    names = (*own, *_options.options_of(new))
    _options.refuse_unknown(unknown, names, f"A state of the type {type.value}")


def from_record(
    record: states.State, *, flow_run_id: str | None = None, task_run_id: str | None = None
) -> State[Any]:
    """Make a state of one that came from the server."""
    if isinstance(record, State):
        return cast("State[Any]", record)
    return State(
        id=record.id,
        type=record.type,
        name=record.name,
        timestamp=record.timestamp,
        message=record.message,
        details=record.details,
        data=_NOT_KEPT if record.data is None else record.data,
        flow_run_id=flow_run_id,
        task_run_id=task_run_id,
    )


@explained
def Scheduled(scheduled_time: datetime | None = None, **fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: will run at a time. Default: now."""
    time = _state_fields.aware(scheduled_time, "scheduled_time")
    details = _state_fields.with_own(fields, scheduled_time=time or _clock.now())
    return new(StateType.SCHEDULED, details=details, **fields)


@explained
def Late(scheduled_time: datetime | None = None, **fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: its time has passed, and it has not started."""
    fields.setdefault("name", "Late")
    return Scheduled(scheduled_time, **fields)


@explained
def AwaitingRetry(scheduled_time: datetime | None = None, **fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: will be tried again at a time. Default: now."""
    fields.setdefault("name", "AwaitingRetry")
    return Scheduled(scheduled_time, **fields)


@explained
def AwaitingConcurrencySlot(  # noqa: N802  # a state's name
    scheduled_time: datetime | None = None, **fields: Any
) -> State[Any]:
    """Make a state: its deployment has as many runs as it may have; looked at again at a time."""
    fields.setdefault("name", "AwaitingConcurrencySlot")
    return Scheduled(scheduled_time, **fields)


@explained
def Submitting(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: taken by a runner, which makes a place for it."""
    fields.setdefault("name", "Submitting")
    return new(StateType.PENDING, **fields)


@explained
def InfrastructurePending(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: its place was asked for, and is not there yet."""
    fields.setdefault("name", "InfrastructurePending")
    return new(StateType.PENDING, **fields)


@explained
def Pending(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: taken, not running yet."""
    return new(StateType.PENDING, **fields)


@explained
def Running(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: user code is executing."""
    return new(StateType.RUNNING, **fields)


@explained
def Retrying(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: user code is executing again."""
    fields.setdefault("name", "Retrying")
    return new(StateType.RUNNING, **fields)


@explained
def Completed(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: ended well.

    Args:
        **fields: ``name``, ``message``, ``data`` (the result).
    """
    return new(StateType.COMPLETED, **fields)


@explained
def Failed(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: failed.

    Args:
        **fields: ``name``, ``message``, ``data`` (the exception).
    """
    return new(StateType.FAILED, **fields)


@explained
def Crashed(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: lost with its process."""
    return new(StateType.CRASHED, **fields)


@explained
def Cancelling(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: asked to end."""
    return new(StateType.CANCELLING, **fields)


@explained
def Cancelled(**fields: Any) -> State[Any]:  # noqa: N802  # a state's name
    """Make a state: ended because somebody asked for it."""
    return new(StateType.CANCELLED, **fields)


@explained
def Paused(  # noqa: N802  # a state's name
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    reschedule: bool = False,
    pause_key: str | None = None,
    **fields: Any,
) -> State[Any]:
    """Make a state: waits to be resumed.

    Args:
        timeout_seconds: The pause fails after this time.
        pause_expiration_time: Or at this time.
        reschedule: The process ends, and resuming schedules the run anew.
        pause_key: A key that lets one pause fire once only.
        **fields: ``name``, ``message``.

    Raises:
        OptionValueError: Both a time and a timeout are given.
    """
    if timeout_seconds is not None and pause_expiration_time is not None:
        msg = "A pause ends after a timeout or at a time, not both; give one of them."
        raise errors.OptionValueError(msg)
    _options.checked_seconds(timeout_seconds, "timeout_seconds")
    _options.checked_time(pause_expiration_time, "pause_expiration_time")
    if timeout_seconds is not None:
        pause_expiration_time = _clock.now() + timedelta(seconds=timeout_seconds)
    details = _state_fields.with_own(
        fields,
        pause_expire_time=pause_expiration_time,
        pause_reschedule=reschedule,
        pause_key=pause_key,
    )
    return new(StateType.PAUSED, details=details, **fields)


@explained
def Suspended(  # noqa: N802  # a state's name
    timeout_seconds: float | None = None,
    pause_expiration_time: datetime | None = None,
    pause_key: str | None = None,
    **fields: Any,
) -> State[Any]:
    """Make a state: waits to be resumed, and its process has ended."""
    fields.setdefault("name", "Suspended")
    return Paused(
        timeout_seconds, pause_expiration_time, reschedule=True, pause_key=pause_key, **fields
    )


def is_state(value: object) -> TypeGuard[State[Any]]:
    """Say whether a value is a state."""
    return isinstance(value, State)


def is_state_iterable(value: object) -> TypeGuard[Iterable[State[Any]]]:
    """Say whether a value is a list, tuple or set of states, of one at least."""
    if not isinstance(value, (list, tuple, set)) or not value:
        return False
    return all(isinstance(item, State) for item in cast("Iterable[object]", value))


class StateGroup:
    """Counts states by what they are.

    Args:
        states: The states.
    """

    def __init__(self, states: Iterable[State[Any]]) -> None:
        """Count them."""
        self.states = list(states)
        self.type_counts = Counter(state.type for state in self.states)
        self.total_count = len(self.states)
        self.final_count = sum(state.is_terminal for state in self.states)
        self.not_final_count = self.total_count - self.final_count

    @property
    def fail_count(self) -> int:
        """How many have failed or crashed."""
        return self.type_counts[StateType.FAILED] + self.type_counts[StateType.CRASHED]

    @property
    def cancelled_count(self) -> int:
        """How many were cancelled."""
        return self.type_counts[StateType.CANCELLED]

    def counts_message(self) -> str:
        """Return e.g. ``total=3, not final=1, 'COMPLETED'=2, 'RUNNING'=1``."""
        parts = [f"total={self.total_count}"]
        if self.not_final_count:
            parts.append(f"not final={self.not_final_count}")
        parts += [f"{type.value!r}={count}" for type, count in self.type_counts.items() if count]
        return ", ".join(parts)

    def all_completed(self) -> bool:
        """Whether all ended well."""
        return self.type_counts[StateType.COMPLETED] == self.total_count

    def any_cancelled(self) -> bool:
        """Whether one was cancelled."""
        return self.type_counts[StateType.CANCELLED] > 0

    def any_failed(self) -> bool:
        """Whether one has failed or crashed."""
        return self.fail_count > 0

    def any_paused(self) -> bool:
        """Whether one is paused."""
        return self.type_counts[StateType.PAUSED] > 0

    def all_final(self) -> bool:
        """Whether all have ended."""
        return self.not_final_count == 0


_WRAPPERS: dict[StateType, type[errors.RunEndedError]] = {
    StateType.FAILED: errors.FailedRun,
    StateType.CRASHED: errors.CrashedRun,
    StateType.CANCELLED: errors.CancelledRun,
}


def _trim(error: BaseException) -> None:
    """Let the traceback show the code of the user first."""
    from headgate.logging import tracebacks  # only who fails pays

    tracebacks.trim(error)


def get_state_exception(state: State[Any]) -> BaseException:
    """Return what made a run fail, crash or be cancelled.

    It is the run's own exception where that is at hand; else ``FailedRun``, ``CrashedRun`` or
    ``CancelledRun`` with the message of the state.

    Raises:
        OptionValueError: The run did not end this way.
    """
    wrapper = _WRAPPERS.get(state.type)
    if wrapper is None:
        msg = f"The run is {state.name}; only one that failed, crashed or was cancelled has an "
        raise errors.OptionValueError(msg + "exception.")
    data = state.data
    if isinstance(data, states.Payload):
        data = _restored(data)
    if isinstance(data, BaseException):
        return data
    if isinstance(data, State):
        data = [cast("State[Any]", data)]
    if is_state_iterable(data):
        for inner in data:
            if inner.type in _WRAPPERS:
                return get_state_exception(inner)
    if isinstance(data, str) and data:
        return wrapper(data, state)
    return wrapper(state.message or f"The run ended as {state.name}.", state)


def _restored(kept: states.Payload) -> Any:
    """Return the exception that the server was told of; None where it cannot be read here."""
    from headgate import results  # loads what reads results

    try:
        return results.read_payload(kept, retry=False)
    except errors.HeadgateError:
        # The message of the state tells of it as well.
        return None


async def aget_state_exception(state: State[Any]) -> BaseException:
    """Return what made a run fail, crash or be cancelled; see ``get_state_exception``."""
    import asyncio

    # It may have to be read from where it is kept.
    return await asyncio.to_thread(get_state_exception, state)


async def araise_state_exception(state: State[Any]) -> None:
    """Raise what made a run fail, crash or be cancelled; do nothing if it did not."""
    if state.type in _WRAPPERS:
        raise await aget_state_exception(state)


def raise_state_exception(state: State[Any]) -> None:
    """Raise what made a run fail, crash or be cancelled; do nothing if it did not."""
    if state.type in _WRAPPERS:
        exception = get_state_exception(state)
        try:
            raise exception
        except BaseException:
            _trim(exception)
            raise


_MADE_ELSEWHERE = frozenset(
    {
        "exception_to_crashed_state",
        "exception_to_failed_state",
        "format_exception",
        "return_value_to_state",
    }
)


def __getattr__(name: str) -> Any:
    if name in _MADE_ELSEWHERE:
        from headgate import _state_making  # only who makes states of values by hand

        return getattr(_state_making, name)
    msg = f"module 'headgate.states' has no attribute {name!r}"
    raise AttributeError(msg)
