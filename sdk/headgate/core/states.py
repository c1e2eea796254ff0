"""Where a run stands: nine state types, their names, and the table of legal moves."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from headgate.core import errors
from headgate.core.record import record


class StateType(enum.StrEnum):
    """The kind of place a run stands in; rules decide by it, people read the name."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"

    #: As quick as a text's; that of an enum is a function in Python, and states are looked up by
    #: type many times for each call of a task.
    __hash__ = str.__hash__

    @property
    def is_terminal(self) -> bool:
        """Whether a run in a state of this type has ended."""
        return self in TERMINAL

    @property
    def default_name(self) -> str:
        """The name of a state of this type when none is given, e.g. ``Running``."""
        return self.value.title()


TERMINAL = frozenset(
    {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED}
)

_S = StateType

#: From each type (None: the run does not exist yet), the types a run may move to without
#: anybody's special leave. Rules may refuse more; only ``force`` may allow what is not here.
MOVES: Mapping[StateType | None, frozenset[StateType]] = MappingProxyType(
    {
        None: frozenset({_S.SCHEDULED, _S.PENDING, _S.RUNNING}) | TERMINAL,
        _S.SCHEDULED: frozenset(
            {_S.SCHEDULED, _S.PENDING, _S.RUNNING, _S.PAUSED, _S.CANCELLING} | TERMINAL
        ),
        _S.PENDING: frozenset(
            {_S.SCHEDULED, _S.PENDING, _S.RUNNING, _S.PAUSED, _S.CANCELLING} | TERMINAL
        ),
        _S.RUNNING: frozenset({_S.SCHEDULED, _S.RUNNING, _S.PAUSED, _S.CANCELLING} | TERMINAL),
        _S.PAUSED: frozenset({_S.SCHEDULED, _S.RUNNING, _S.PAUSED, _S.CANCELLING} | TERMINAL),
        _S.CANCELLING: frozenset({_S.CANCELLED, _S.CANCELLING}),
        # Leaving a terminal state is a manual retry: Scheduled for a deployed run (a rule
        # checks that), and names may change within the type (Completed -> RolledBack).
        _S.COMPLETED: frozenset({_S.COMPLETED, _S.SCHEDULED}),
        _S.FAILED: frozenset({_S.FAILED, _S.SCHEDULED}),
        _S.CANCELLED: frozenset({_S.CANCELLED, _S.SCHEDULED}),
        _S.CRASHED: frozenset({_S.CRASHED, _S.SCHEDULED}),
    }
)


def may_move(current: StateType | None, proposed: StateType) -> bool:
    """Say whether the table of moves lets a run go from one type to another."""
    return proposed in MOVES[current]


@record
class Payload:
    """Bytes of user data, a result or an exception; only their own language reads them.

    Attributes:
        serializer: How the bytes were made, e.g. ``pickle``, ``json``.
        inline: The bytes, at most 16 KiB; None where they are in storage.
        storage_key: Their key in the result storage; None where they are inline.
    """

    serializer: str
    inline: bytes | None = None
    storage_key: str | None = None


@record
class StateDetails:
    """What a state carries beside type, name and message; see ``state.proto``."""

    scheduled_time: datetime | None = None
    child_flow_run_id: str | None = None
    cache_key: str | None = None
    cache_expire_time: datetime | None = None
    retriable: bool | None = None
    pause_expire_time: datetime | None = None
    pause_reschedule: bool = False
    pause_key: str | None = None
    transition_id: str | None = None
    traceparent: str | None = None
    call_key: str | None = None


NO_DETAILS = StateDetails()


@record
class State:
    """Where a run stands.

    Attributes:
        id: UUID text; the id of the transition into this state.
        type: What rules decide by.
        name: What people read.
        timestamp: When it was entered, UTC-aware.
        message: One sentence for people, or empty.
        details: What it carries beside.
        data: The result or the exception, if there is one.
    """

    id: str
    type: StateType
    name: str
    timestamp: datetime
    message: str = ""
    details: StateDetails = NO_DETAILS
    data: Payload | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.type in TERMINAL

    def result(self, raise_on_failure: bool = True, retry_result_failure: bool = True) -> Any:
        """Return the result of the run, of states that clients return; see ``headgate.states``.

        Raises:
            MissingResult: This is a bare record.
        """
        msg = "A record of a state has no result; ask headgate.states.from_record(state) for it."
        raise errors.MissingResult(msg)

    async def aresult(
        self, raise_on_failure: bool = True, retry_result_failure: bool = True
    ) -> Any:
        """Return the result of the run; see ``result``."""
        return self.result(raise_on_failure, retry_result_failure)

    def is_scheduled(self) -> bool:
        """Whether the run waits for a time."""
        return self.type is StateType.SCHEDULED

    def is_pending(self) -> bool:
        """Whether the run is taken and not running yet."""
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        """Whether user code is executing."""
        return self.type is StateType.RUNNING

    def is_completed(self) -> bool:
        """Whether the run ended well."""
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        """Whether the run failed."""
        return self.type is StateType.FAILED

    def is_crashed(self) -> bool:
        """Whether the run was lost with its process."""
        return self.type is StateType.CRASHED

    def is_cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self.type is StateType.CANCELLED

    def is_cancelling(self) -> bool:
        """Whether the run was asked to end, and has not ended yet."""
        return self.type is StateType.CANCELLING

    def is_paused(self) -> bool:
        """Whether the run waits to be resumed."""
        return self.type is StateType.PAUSED

    def is_final(self) -> bool:
        """Whether the run has ended; the same as ``is_terminal``."""
        return self.type in TERMINAL


def new_state(
    type: StateType,
    *,
    id: str,
    now: datetime,
    name: str | None = None,
    message: str = "",
    details: StateDetails = NO_DETAILS,
    data: Payload | None = None,
) -> State:
    """Make a state; the name defaults to that of the type."""
    return State(
        id=id,
        type=type,
        name=name or type.default_name,
        timestamp=now,
        message=message,
        details=details,
        data=data,
    )


class VerdictKind(enum.StrEnum):
    """What the server says to a proposed state."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    WAIT = "WAIT"
    ABORT = "ABORT"


@record
class Verdict:
    """The answer to a proposed state.

    Attributes:
        kind: ACCEPT: it stands. REJECT: ``state`` stands instead. WAIT: nothing changed,
            propose again after ``delay_seconds``. ABORT: nothing changed, stop.
        state: The state the run is in after the verdict; None only where a run without any
            state was refused one.
        reason: One sentence why; empty on ACCEPT.
        delay_seconds: WAIT: how long to wait.
    """

    kind: VerdictKind
    state: State | None
    reason: str = ""
    delay_seconds: float = 0.0
