"""Deployments, their schedules, work pools, queues and runners, as records."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import datetime

from headgate.core import familiar
from headgate.core.record import record

MAX_SCHEDULED_RUNS = 100


class CollisionStrategy(enum.StrEnum):
    """What happens to a run above a concurrency limit."""

    ENQUEUE = "ENQUEUE"
    CANCEL_NEW = "CANCEL_NEW"


class InfrastructureLossAction(enum.StrEnum):
    """What to do with a run whose runner, or whose process, is lost."""

    CRASH = "CRASH"
    RESCHEDULE = "RESCHEDULE"


@record
class InfrastructureLossPolicy:
    """What happens to a run whose runner stops sending heartbeats, or whose process is killed."""

    action: InfrastructureLossAction = InfrastructureLossAction.CRASH
    max_reschedules: int = 3


CRASH_ON_LOSS = InfrastructureLossPolicy()
RESCHEDULE_ON_LOSS = InfrastructureLossPolicy(action=InfrastructureLossAction.RESCHEDULE)


@record
class CronRule:
    """Times by a cron expression."""

    expression: str
    time_zone: str = "UTC"
    day_or: bool = True


@record
class IntervalRule:
    """Times at a fixed distance, through ``anchor_time``."""

    interval_seconds: float
    anchor_time: datetime
    time_zone: str = "UTC"


@record
class RecurrenceRule:
    """Times by an RFC 5545 recurrence rule."""

    rule: str
    time_zone: str = "UTC"


ScheduleRule = CronRule | IntervalRule | RecurrenceRule


@record
class Schedule:
    """When a deployment runs by itself; see ``deployment.proto``."""

    id: str
    slug: str
    rule: ScheduleRule
    paused: bool = False
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    max_scheduled_runs: int = MAX_SCHEDULED_RUNS


@record
class PullStep:
    """One action of a runner before a flow is loaded; inputs: name to JSON text."""

    name: str
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


@record
class Deployment(familiar.Updated):
    """A flow that the server knows how to start; see ``deployment.proto``."""

    id: str
    name: str
    flow_id: str
    flow_name: str
    entrypoint: str = ""
    path: str = ""
    description: str = ""
    version: str = ""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    parameter_schema: str = ""
    enforce_parameter_schema: bool = False
    schedules: tuple[Schedule, ...] = ()
    paused: bool = False
    concurrency_limit: int | None = None
    collision_strategy: CollisionStrategy = CollisionStrategy.ENQUEUE
    work_pool_name: str = "default"
    work_queue_name: str = "default"
    job_variables: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    pull_steps: tuple[PullStep, ...] = ()
    on_infrastructure_loss: InfrastructureLossPolicy = CRASH_ON_LOSS
    create_time: datetime
    update_time: datetime
    etag: str

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return f"{self.flow_name}/{self.name}"


class WorkPoolState(enum.StrEnum):
    """Whether runs of a pool can start now."""

    READY = "READY"
    NOT_READY = "NOT_READY"
    PAUSED = "PAUSED"


@record
class WorkPool(familiar.Updated, familiar.Paused):
    """Where deployed runs wait for runners."""

    id: str
    name: str
    type: str = "process"
    description: str = ""
    concurrency_limit: int | None = None
    paused: bool = False
    state: WorkPoolState = WorkPoolState.NOT_READY
    base_job_template: str = ""
    create_time: datetime
    update_time: datetime


@record
class WorkQueue(familiar.Created, familiar.Paused):
    """A line of waiting runs within a pool; priority 1 goes first."""

    id: str
    name: str
    work_pool_name: str
    description: str = ""
    priority: int
    concurrency_limit: int | None = None
    paused: bool = False
    create_time: datetime


@record
class Runner:
    """A process that leases runs of pools and executes them."""

    id: str
    name: str
    work_pool_names: tuple[str, ...]
    work_queue_names: tuple[str, ...]
    online: bool
    slots: int
    leases: int
    last_beat_time: datetime
    sdk: str
