"""All errors of Headgate, in one tree.

::

    Exception
    └── HeadgateError                   one sentence: the thing, the fact, the remedy
        ├── ControlPlaneError           what a server answers; each has a row in codec.errors
        │   ├── InvalidArgument         .violations (field, description)
        │   │   └── ProtocolViolation   .frame
        │   ├── NotFound                .resource .name
        │   ├── AlreadyExists           .resource .name
        │   ├── FailedPrecondition      .resource .name
        │   │   ├── LeaseFenced         .flow_run_id .token .current
        │   │   └── EtagMismatch        .etag .current
        │   ├── RevisionCompacted       .after_revision .oldest
        │   ├── SessionSuperseded       .session_id
        │   ├── ResourceExhausted       .limit .retry_after_seconds
        │   ├── Unavailable             .retry_after_seconds
        │   ├── Internal                .incident
        │   ├── DeadlineExceeded
        │   ├── Unauthenticated
        │   ├── PermissionDenied        .method
        │   └── Unsupported             .feature
        ├── MissingContextError         (RuntimeError)
        ├── UsageError                  (RuntimeError) called where, or when, it cannot be
        ├── OptionTypeError             (TypeError) an option that is not there, or is no such thing
        ├── OptionValueError            (ValueError) an option out of its bounds
        ├── ParameterTypeError
        ├── ParameterBindError          (TypeError)
        ├── ReservedArgumentError       (TypeError)
        ├── SignatureMismatchError      (TypeError)
        ├── MappingLengthMismatch
        ├── MappingMissingIterable
        ├── RunEndedError               .state: what a state that is no success becomes
        │   ├── UnfinishedRun
        │   │   └── UpstreamTaskError
        │   ├── PausedRun
        │   ├── FailedRun
        │   ├── CrashedRun
        │   └── CancelledRun
        ├── MissingResult
        ├── SerializationError          a value that has no bytes, or bytes that are no value
        ├── HashError                   a value of which no cache key can be made
        ├── ResultStorageError          .key
        ├── LockError                   .key
        ├── ConfigurationError
        ├── ConcurrencySlotAcquisitionError
        │   └── AcquireConcurrencySlotTimeoutError  (TimeoutError)
        ├── ConcurrencyLeaseLostError
        ├── FlowRunTimeoutError         (TimeoutError)
        ├── TaskRunTimeoutError         (TimeoutError)
        ├── IsolatedProcessDied
        ├── IsolatedError
        ├── FlowPauseTimeout            (TimeoutError)
        ├── FlowPauseError
        ├── FlowRunWaitTimeout          (TimeoutError)
        ├── BlockError                  (ValueError)
        │   ├── BlockNotFoundError
        │   ├── BlockExistsError
        │   └── UnknownBlockType
        ├── BlockNotSavedError          (RuntimeError)
        ├── InvalidBlockRegistration
        ├── NotificationError
        ├── FileSystemError             (ValueError) .path
        ├── TemplateError               (ValueError)
        ├── StorageError                (ValueError)
        ├── PullStepError               (RuntimeError)
        ├── FlowVisualizationError
        │   └── GraphvizExecutableNotFoundError
        ├── ScriptError
        ├── MissingFlowError
        ├── ServerStartError
        ├── VersionMismatch             .api_url .server_version .client_version
        └── DatabaseInUse               .path .pid

    BaseException
    └── HeadgateSignal                  passes through "except Exception" of user code
        ├── TerminationSignal           .signal
        ├── Abort
        └── Pause                       .state .flow_run_id
"""

from __future__ import annotations

import dataclasses
import signal as signals
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.core.states import State


class HeadgateError(Exception):
    """Any error of Headgate.

    Args:
        message: One sentence for people: the thing, the fact, the remedy.
    """

    def __init__(self, message: str = "") -> None:
        """Make an error that says this."""
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state: constructors of this tree take facts, not the message."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    cls: type[HeadgateError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> HeadgateError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


# --- What a server answers ------------------------------------------------------------------


class ControlPlaneError(HeadgateError):
    """What a server answers to a call that it does not carry out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field.

    Attributes:
        field: The path of the field, e.g. ``deployment.schedules[0].cron.expression``.
        description: One sentence: what is wrong, and what would be right.
    """

    field: str
    description: str


class InvalidArgument(ControlPlaneError, ValueError):
    """A field is missing or wrong. Nothing was changed."""

    def __init__(self, violations: Sequence[Violation] = (), message: str = "") -> None:
        """Make an error that names the fields."""
        self.violations = tuple(violations)
        named = " ".join(f"{v.field}: {v.description}" for v in self.violations)
        super().__init__(message or named or "The request is not valid.")

    @classmethod
    def of(cls, field: str, description: str) -> InvalidArgument:
        """Make an error about one field."""
        return InvalidArgument([Violation(field, description)])


class ProtocolViolation(InvalidArgument):
    """A frame that is not legal at this place of a stream."""

    def __init__(self, message: str, frame: str = "") -> None:
        """Make an error about a frame, e.g. ``batch``."""
        super().__init__((), message)
        self.frame = frame


class NotFound(ControlPlaneError):
    """There is no such thing."""

    def __init__(self, resource: str, name: str, message: str = "") -> None:
        """Make an error about e.g. the ``work pool`` named ``gpu``."""
        super().__init__(
            message or f"There is no {resource} {name!r}; check the name, or list what there is."
        )
        self.resource = resource
        self.name = name


class AlreadyExists(ControlPlaneError, ValueError):
    """The name is taken."""

    def __init__(self, resource: str, name: str, message: str = "") -> None:
        """Make an error about e.g. the ``work pool`` named ``gpu``."""
        super().__init__(
            message
            or f"There is a {resource} {name!r} already; choose another name, or update that one."
        )
        self.resource = resource
        self.name = name


class FailedPrecondition(ControlPlaneError):
    """What is asked does not go with the state of the thing."""

    def __init__(self, message: str, resource: str = "", name: str = "") -> None:
        """Make an error about e.g. the ``work pool`` named ``gpu``."""
        super().__init__(message)
        self.resource = resource
        self.name = name


class LeaseFenced(FailedPrecondition):
    """The fencing token is not the newest of the run: its lease was lost."""

    def __init__(self, flow_run_id: str, token: int, current: int, message: str = "") -> None:
        """Make an error about a write with this token, when current is the newest."""
        super().__init__(
            message
            or f"Flow run {flow_run_id} was given to another holder: fencing token {token} is "
            f"out of date, {current} is the newest; stop executing the run here.",
            "flow run",
            flow_run_id,
        )
        self.flow_run_id = flow_run_id
        self.token = token
        self.current = current


class EtagMismatch(FailedPrecondition):
    """The record was changed since its etag was read."""

    def __init__(
        self, resource: str, name: str, etag: str, current: str, message: str = ""
    ) -> None:
        """Make an error about a write with this etag, when current is the one stored."""
        super().__init__(
            message
            or f"The {resource} {name!r} was changed by somebody else (etag {etag!r} was sent, "
            f"{current!r} is current); read it again and repeat the change.",
            resource,
            name,
        )
        self.etag = etag
        self.current = current


class RevisionCompacted(ControlPlaneError):
    """The journal no longer reaches back that far."""

    def __init__(self, after_revision: int, oldest: int, message: str = "") -> None:
        """Make an error about reading after a revision that is older than the oldest kept."""
        super().__init__(
            message
            or f"The journal no longer has what came after revision {after_revision}; the oldest "
            f"it has comes after {oldest}. List the runs, then watch from now."
        )
        self.after_revision = after_revision
        self.oldest = oldest


class SessionSuperseded(ControlPlaneError):
    """A newer stream of the same session has taken over."""

    def __init__(self, session_id: str, message: str = "") -> None:
        """Make an error about the older stream of a session."""
        super().__init__(
            message or f"A newer stream of session {session_id} has taken over; this one has ended."
        )
        self.session_id = session_id


class ResourceExhausted(ControlPlaneError):
    """A bounded queue is full."""

    def __init__(self, message: str, limit: str = "", retry_after_seconds: float = 1.0) -> None:
        """Make an error about a named limit, and when to come again."""
        super().__init__(message)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ControlPlaneError):
    """The server cannot be reached, is starting or stopping, or has lost its database."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        """Make an error that says when to come again."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Internal(ControlPlaneError):
    """A fault of the server; its log tells more under the incident."""

    def __init__(self, incident: str, message: str = "") -> None:
        """Make an error that leads to the server's log."""
        super().__init__(
            message
            or f"The server failed; its log tells more under incident {incident}. Please report it."
        )
        self.incident = incident


class DeadlineExceeded(ControlPlaneError):
    """The call took longer than it was given."""

    def __init__(self, message: str = "") -> None:
        """Make an error about a call that took too long."""
        super().__init__(
            message or "The call took longer than it was given; try again, or give it more time."
        )


class Unauthenticated(ControlPlaneError):
    """No token was sent, or one that is not known."""

    def __init__(self, message: str = "") -> None:
        """Make an error about a missing or unknown token."""
        super().__init__(message or "The server wants a token that it knows; set one and repeat.")


class PermissionDenied(ControlPlaneError):
    """The token may not do this."""

    def __init__(self, method: str, message: str = "") -> None:
        """Make an error about a method that the caller may not call."""
        super().__init__(message or f"The token may not call {method}; ask for one that may.")
        self.method = method


class Unsupported(ControlPlaneError):
    """This server does not do this."""

    def __init__(self, feature: str, message: str = "") -> None:
        """Make an error about a part of the contract that the server does not have."""
        super().__init__(
            message or f"This server does not have {feature}; upgrade the server, or do without."
        )
        self.feature = feature


# --- What the SDK and its processes raise ---------------------------------------------------


class MissingContextError(HeadgateError, RuntimeError):
    """Something that belongs into a flow or task run was called outside of one."""


class UsageError(HeadgateError, RuntimeError):
    """Something was called where, or when, it cannot be."""


class OptionTypeError(HeadgateError, TypeError):
    """There is no such option, or it was given a thing of the wrong kind."""


class OptionValueError(HeadgateError, ValueError):
    """An option was given the right kind of thing, but one that it does not take."""


class ParameterTypeError(HeadgateError):
    """A parameter does not fit its annotation."""


class ParameterBindError(HeadgateError, TypeError):
    """The arguments do not fit the signature."""


class ReservedArgumentError(HeadgateError, TypeError):
    """A function has a parameter with a name that Headgate uses itself."""


class SignatureMismatchError(HeadgateError, TypeError):
    """Parameters were passed that the function does not have."""


class MappingLengthMismatch(HeadgateError):
    """The iterables given to ``map`` differ in length."""


class MappingMissingIterable(HeadgateError):
    """``map`` was called without any iterable."""


class RunEndedError(HeadgateError):
    """A run is in a state that has no result.

    Args:
        message: One sentence for people.
        state: The state, where it is known.
    """

    def __init__(self, message: str = "", state: State | None = None) -> None:
        """Make an error about a state."""
        super().__init__(message)
        self.state = state


class UnfinishedRun(RunEndedError):
    """The result was asked for, and the run has not ended."""


class PausedRun(RunEndedError):
    """The result was asked for, and the run is paused."""


class FailedRun(RunEndedError):
    """The run has failed."""


class CrashedRun(RunEndedError):
    """The run has crashed."""


class CancelledRun(RunEndedError):
    """The run was cancelled."""


class MissingResult(HeadgateError):
    """The run completed, and its result was not kept."""


class SerializationError(HeadgateError):
    """A value cannot be turned into bytes, or bytes cannot be turned back into a value."""


class HashError(HeadgateError):
    """No stable hash can be made of a value, so there is no cache key."""


class ResultStorageError(HeadgateError):
    """A result cannot be kept where it is to be kept, or cannot be read there."""

    def __init__(self, message: str = "", key: str = "") -> None:
        """Make an error about the record under a key."""
        super().__init__(message)
        self.key = key


class LockError(HeadgateError):
    """A lock is held by somebody else, or is not held by who wants to release it."""

    def __init__(self, message: str = "", key: str = "") -> None:
        """Make an error about the lock of a key."""
        super().__init__(message)
        self.key = key


class ConfigurationError(HeadgateError):
    """Options do not go together."""


class UpstreamTaskError(UnfinishedRun):
    """A task was given the future of a task that did not complete, and is not run."""


class ConcurrencySlotAcquisitionError(HeadgateError):
    """Slots of concurrency limits cannot be had."""


class AcquireConcurrencySlotTimeoutError(ConcurrencySlotAcquisitionError, TimeoutError):
    """Slots of concurrency limits did not become free in time."""


class ConcurrencyLeaseLostError(HeadgateError):
    """The lease on slots could not be renewed, so others may have them."""


class FlowRunTimeoutError(HeadgateError, TimeoutError):
    """A flow run took longer than its timeout."""


class TaskRunTimeoutError(HeadgateError, TimeoutError):
    """A task run took longer than its timeout."""


class IsolatedProcessDied(HeadgateError):
    """The process that executed a task on behalf of this one ended before the task did."""


class IsolatedError(HeadgateError):
    """What a task raised in another process, where the exception itself cannot be sent."""


class FlowPauseTimeout(HeadgateError, TimeoutError):
    """A flow run was paused, and nobody resumed it in time."""


class FlowRunWaitTimeout(HeadgateError, TimeoutError):
    """A flow run had not ended when its end was waited for no longer."""


class FlowPauseError(HeadgateError):
    """A flow run cannot be paused, suspended or resumed."""


class BlockError(HeadgateError, ValueError):
    """A block cannot be loaded, saved or deleted as it was asked for."""


class BlockNotFoundError(BlockError):
    """There is no block of this name."""


class BlockExistsError(BlockError):
    """There is a block of this name, and it was not to be overwritten."""


class UnknownBlockType(BlockError):
    """No class of this process belongs to the type of a block."""


class BlockNotSavedError(HeadgateError, RuntimeError):
    """Something was asked of a block that only a saved one can do."""


class InvalidBlockRegistration(HeadgateError):
    """A class that is no kind of block was to be registered as one."""


class NotificationError(HeadgateError):
    """A notification was not accepted by those who deliver it."""


class FileSystemError(HeadgateError, ValueError):
    """A path is not there, is no file, or is outside of its file system."""

    def __init__(self, message: str = "", path: str = "") -> None:
        """Make an error about a path."""
        super().__init__(message)
        self.path = path


class TemplateError(HeadgateError, ValueError):
    """A template cannot be filled in."""


class StorageError(HeadgateError, ValueError):
    """The code of a flow cannot be got from where it is kept."""


class PullStepError(HeadgateError, RuntimeError):
    """What a runner does before it loads a flow has failed."""


class FlowVisualizationError(HeadgateError):
    """The graph of a flow cannot be drawn."""


class GraphvizExecutableNotFoundError(FlowVisualizationError):
    """A picture of a graph was wanted, and Graphviz is not installed."""


class ScriptError(HeadgateError):
    """A file with flows could not be loaded."""


class MissingFlowError(HeadgateError):
    """A file does not have the flow that was asked for."""


class ServerStartError(HeadgateError):
    """The embedded server did not start."""


class VersionMismatch(HeadgateError):
    """The server speaks another contract than this client."""

    def __init__(
        self, api_url: str, server_version: str, client_version: str, contracts: Sequence[str] = ()
    ) -> None:
        """Make an error about a server and the contracts that it serves."""
        super().__init__(
            f"The server at {api_url} is of version {server_version} and serves "
            f"{', '.join(contracts) or 'another contract'}, which this client "
            f"({client_version}) does not speak; install a version of headgate that fits it."
        )
        self.api_url = api_url
        self.server_version = server_version
        self.client_version = client_version


class DatabaseInUse(HeadgateError):
    """Another server has the database file."""

    def __init__(self, path: str, pid: int | None = None, message: str = "") -> None:
        """Make an error about the file, and the process that has it."""
        holder = f"the server with process id {pid}" if pid else "another server"
        super().__init__(
            message
            or f"The database {path} is in use by {holder}; stop that one, or choose another "
            "database with --database-url."
        )
        self.path = path
        self.pid = pid


class HeadgateSignal(BaseException):
    """Ends or pauses a run; passes through ``except Exception`` in user code."""


class TerminationSignal(HeadgateSignal):
    """The process was told to end."""

    def __init__(self, signal: int) -> None:
        """Make it for a signal number."""
        super().__init__(signal)
        self.signal = signal

    def __str__(self) -> str:
        return f"The process was told to end, by {signals.Signals(self.signal).name}."


class Abort(HeadgateSignal):
    """The server said not to go on with the run."""


class Pause(HeadgateSignal):
    """The run is to be paused."""

    def __init__(
        self, message: str = "", state: State | None = None, flow_run_id: str | None = None
    ) -> None:
        """Make it with the paused state, and for the run, where there is one."""
        super().__init__(message)
        self.state = state
        self.flow_run_id = flow_run_id


__all__ = [
    "Abort",
    "AcquireConcurrencySlotTimeoutError",
    "AlreadyExists",
    "BlockError",
    "BlockExistsError",
    "BlockNotFoundError",
    "BlockNotSavedError",
    "CancelledRun",
    "ConcurrencyLeaseLostError",
    "ConcurrencySlotAcquisitionError",
    "ConfigurationError",
    "ControlPlaneError",
    "CrashedRun",
    "DatabaseInUse",
    "DeadlineExceeded",
    "EtagMismatch",
    "FailedPrecondition",
    "FailedRun",
    "FileSystemError",
    "FlowPauseError",
    "FlowPauseTimeout",
    "FlowRunTimeoutError",
    "FlowRunWaitTimeout",
    "FlowVisualizationError",
    "GraphvizExecutableNotFoundError",
    "HashError",
    "HeadgateError",
    "HeadgateSignal",
    "Internal",
    "InvalidArgument",
    "InvalidBlockRegistration",
    "IsolatedError",
    "IsolatedProcessDied",
    "LeaseFenced",
    "LockError",
    "MappingLengthMismatch",
    "MappingMissingIterable",
    "MissingContextError",
    "MissingFlowError",
    "MissingResult",
    "NotFound",
    "NotificationError",
    "OptionTypeError",
    "OptionValueError",
    "ParameterBindError",
    "ParameterTypeError",
    "Pause",
    "PausedRun",
    "PermissionDenied",
    "ProtocolViolation",
    "PullStepError",
    "ReservedArgumentError",
    "ResourceExhausted",
    "ResultStorageError",
    "RevisionCompacted",
    "RunEndedError",
    "ScriptError",
    "SerializationError",
    "ServerStartError",
    "SessionSuperseded",
    "SignatureMismatchError",
    "StorageError",
    "TaskRunTimeoutError",
    "TemplateError",
    "TerminationSignal",
    "Unauthenticated",
    "Unavailable",
    "UnfinishedRun",
    "UnknownBlockType",
    "Unsupported",
    "UpstreamTaskError",
    "UsageError",
    "VersionMismatch",
    "Violation",
]
