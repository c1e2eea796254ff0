"""What an engine's stream says and is told, in the server's own words.

The transport turns frames of the contract into these and back; see ``engine_service.proto``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from headgate.core import errors, runs, states
from headgate_server.domain.recording import TaskItem


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunCursor:
    """A run on a session, and how far its engine has come; ``claim``: it wants to have it."""

    flow_run_id: str
    fencing_token: int
    claim: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Opens the session, or runs on it."""

    session_id: str = ""
    resume_token: str = ""
    name: str = ""
    sdk: str = ""
    runs: Sequence[RunCursor] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunCreation:
    """A flow run that a process starts by itself. Of ``flow_run`` the engine's part is read."""

    flow_run: runs.FlowRun
    flow_name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunMove:
    """The flow run entered a state (a report), or asks to (a proposal)."""

    state: states.State
    force: bool = False
    proposed: bool = False


Item = TaskItem | FlowRunCreation | FlowRunMove


@dataclasses.dataclass(slots=True, kw_only=True)
class Batch:
    """Items of one run, in order; ``error`` where one of them does not decode."""

    flow_run_id: str
    fencing_token: int
    first_seq: int
    items: Sequence[Item]
    size_bytes: int = 0
    error: errors.ControlPlaneError | None = None


@dataclasses.dataclass(slots=True, kw_only=True)
class LogBatch:
    """Log lines of one run, in order; ``error`` where one of them does not decode."""

    flow_run_id: str
    fencing_token: int
    first_seq: int
    records: Sequence[runs.LogRecord]
    size_bytes: int = 0
    error: errors.ControlPlaneError | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat."""

    seq: int


@dataclasses.dataclass(frozen=True, slots=True)
class Close:
    """The process ends in order."""


Inbound = Open | Batch | LogBatch | Beat | Close


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRun:
    """What the server has of a run."""

    flow_run_id: str
    flow_run: runs.FlowRun | None = None
    error: errors.ControlPlaneError | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The answer to Open."""

    session_id: str
    resume_token: str
    ttl_seconds: float
    beat_interval_seconds: float
    window_items: int
    window_bytes: int
    runs: Sequence[OpenedRun]


@dataclasses.dataclass(frozen=True, slots=True)
class Ack:
    """Items were committed."""

    flow_run_id: str
    committed_seq: int
    revision: int


@dataclasses.dataclass(frozen=True, slots=True)
class LogAck:
    """Log lines were committed."""

    flow_run_id: str
    committed_log_seq: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VerdictFrame:
    """The answer to a proposal."""

    flow_run_id: str
    seq: int
    verdict: states.Verdict
    run_count: int


@dataclasses.dataclass(frozen=True, slots=True)
class BeatAck:
    """The answer to a heartbeat."""

    seq: int
    server_time: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class RunError:
    """Something is wrong with one run; the stream goes on."""

    flow_run_id: str
    error: errors.ControlPlaneError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Stop a run and report it as Cancelled."""

    flow_run_id: str
    grace_seconds: float
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Pause a run before its next task."""

    flow_run_id: str
    suspend: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Somebody resumed the run."""

    flow_run_id: str


Control = Cancel | Pause | Resume


@dataclasses.dataclass(frozen=True, slots=True)
class GoAway:
    """Come again after the delay."""

    reconnect_after_seconds: float
    reason: str


Outbound = Opened | Ack | LogAck | VerdictFrame | BeatAck | RunError | Control | GoAway
