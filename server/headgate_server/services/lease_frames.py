"""What a runner's stream says and is told, in the server's own words.

The transport turns frames of the contract into these and back; see ``lease_service.proto``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from headgate.core.deployments import Deployment
from headgate.core.runs import FlowRun
from headgate_server.domain.leasing import Held, Outcome
from headgate_server.services.engine_frames import Cancel, GoAway


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who a runner is and what it serves."""

    name: str
    instance_id: str
    session_id: str = ""
    resume_token: str = ""
    work_pool_names: tuple[str, ...]
    work_queue_names: tuple[str, ...] = ()
    slots: int
    sdk: str = ""
    features: frozenset[str] = frozenset()
    held: frozenset[Held] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Credit:
    """How many offers it was ever ready to take."""

    granted_total: int


@dataclasses.dataclass(frozen=True, slots=True)
class Accept:
    """It takes an offer."""

    held: Held


@dataclasses.dataclass(frozen=True, slots=True)
class Decline:
    """It does not take an offer."""

    held: Held
    reason: str
    retry_after_seconds: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """It lives."""

    seq: int
    held_count: int
    held_digest: int


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """A run of it has ended."""

    held: Held
    outcome: Outcome
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Drain:
    """It takes no more offers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Goodbye:
    """It ends now."""

    reason: str


Inbound = Hello | Credit | Accept | Decline | Beat | Release | Drain | Goodbye


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The answer to Hello."""

    session_id: str
    epoch: int
    resume_token: str
    ttl_seconds: float
    beat_interval_seconds: float
    offer_ttl_seconds: float
    keep: Sequence[Held]
    drop: Sequence[Held]
    cancel_flow_run_ids: Sequence[str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A run to execute."""

    fencing_token: int
    flow_run: FlowRun
    deployment: Deployment | None
    attempt: int


@dataclasses.dataclass(frozen=True, slots=True)
class BeatAck:
    """The answer to a heartbeat."""

    seq: int
    ttl_seconds: float
    lost: Sequence[Held]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """A lease ends from the server's side."""

    held: Held
    reason: str
    grace_seconds: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Released:
    """A release is committed."""

    held: Held


@dataclasses.dataclass(frozen=True, slots=True)
class CallHooks:
    """The hooks of a run, whose own runner is lost, are to be called."""

    flow_run: FlowRun
    deployment: Deployment


Outbound = Welcome | Offer | BeatAck | Revoke | Cancel | Released | CallHooks | GoAway
