"""The server's own events: states that runs entered, and what was made, changed or deleted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from headgate.core.events import (
    FLOW_RUN_PREFIX,
    RESOURCE_ID,
    RESOURCE_NAME,
    RESOURCE_ROLE,
    TASK_RUN_PREFIX,
    Event,
    Labels,
)
from headgate.core.runs import FlowRun, RunKind, TransitionRecord
from headgate.core.states import State

PREFIX = "headgate."
#: What begins the ids of resources that the server knows.
DEPLOYMENT_PREFIX = "headgate.deployment."
FLOW_PREFIX = "headgate.flow."
TAG_PREFIX = "headgate.tag."
WORK_POOL_PREFIX = "headgate.work-pool."
WORK_QUEUE_PREFIX = "headgate.work-queue."


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run has to do with, as it is known when its event is read.

    Attributes:
        flow_run_name: Of the flow run that a task run belongs to.
        tags: Of the run itself.
    """

    flow_id: str = ""
    flow_name: str = ""
    flow_run_name: str = ""
    deployment_id: str | None = None
    deployment_name: str | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    tags: tuple[str, ...] = ()


def of_transition(line: TransitionRecord, around: Surroundings, before: State | None) -> Event:
    """Present a line of the journal as an event.

    Args:
        line: The line.
        around: What the run has to do with.
        before: The state that the run was in; None: it had none.
    """
    prefix = FLOW_RUN_PREFIX if line.kind is RunKind.FLOW_RUN else TASK_RUN_PREFIX
    state = line.state
    return Event(
        id=state.id,
        name=prefix + state.name,
        occurred=state.timestamp,
        resource={
            RESOURCE_ID: prefix + line.run_id,
            RESOURCE_NAME: line.run_name,
            "headgate.state-type": state.type.value,
            "headgate.state-name": state.name,
            "headgate.state-message": state.message,
            "headgate.state-timestamp": state.timestamp.isoformat(),
        },
        related=tuple(_related(line, around)),
        payload=_payload(state, before),
        follows=None if before is None else before.id,
        revision=line.revision,
        commit_time=line.commit_time,
    )


def _payload(state: State, before: State | None) -> str:
    payload = {
        "intended": {
            "from": None if before is None else before.type.value,
            "to": state.type.value,
        },
        "initial_state": None if before is None else _described(before),
        "validated_state": _described(state),
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def _described(state: State) -> Mapping[str, str]:
    return {"type": state.type.value, "name": state.name, "message": state.message}


def _related(line: TransitionRecord, around: Surroundings) -> Iterator[Labels]:
    if line.kind is RunKind.TASK_RUN:
        yield resource(FLOW_RUN_PREFIX + line.flow_run_id, around.flow_run_name, "flow-run")
    yield from _surrounding(around)


def _surrounding(around: Surroundings) -> Iterator[Labels]:
    if around.flow_id:
        yield resource(FLOW_PREFIX + around.flow_id, around.flow_name, "flow")
    if around.deployment_id:
        id = DEPLOYMENT_PREFIX + around.deployment_id
        yield resource(id, around.deployment_name or "", "deployment")
    pool, queue = around.work_pool_name, around.work_queue_name
    if pool:
        yield resource(WORK_POOL_PREFIX + pool, pool, "work-pool")
        if queue:
            yield resource(f"{WORK_QUEUE_PREFIX}{pool}/{queue}", queue, "work-queue")
    for tag in around.tags:
        yield resource(TAG_PREFIX + tag, tag, "tag")


def heartbeat(run: FlowRun, *, id: str, now: datetime) -> Event:
    """Make the event that a flow run is still executed.

    Args:
        run: The flow run.
        id: Of the event.
        now: The time.
    """
    around = Surroundings(
        flow_id=run.flow_id,
        flow_name=run.flow_name,
        deployment_id=run.deployment_id,
        deployment_name=run.deployment_name,
        work_pool_name=run.work_pool_name,
        work_queue_name=run.work_queue_name,
        tags=run.tags,
    )
    return Event(
        id=id,
        name=f"{FLOW_RUN_PREFIX}heartbeat",
        occurred=now,
        resource=resource(FLOW_RUN_PREFIX + run.id, run.name),
        related=tuple(_surrounding(around)),
        payload="{}",
    )


def resource(id: str, name: str, role: str = "") -> dict[str, str]:
    """Return the labels of a resource."""
    labels = {RESOURCE_ID: id}
    if name:
        labels[RESOURCE_NAME] = name
    if role:
        labels[RESOURCE_ROLE] = role
    return labels


def lifecycle(
    kind: str,
    verb: str,
    key: str,
    name: str,
    *,
    id: str,
    now: datetime,
    related: tuple[Labels, ...] = (),
    payload: Mapping[str, Any] | None = None,
) -> Event:
    """Make the event that something was made, changed or deleted.

    Args:
        kind: What it is, e.g. ``work-pool``.
        verb: What happened: ``created``, ``updated``, ``deleted``.
        key: What tells it apart from others of its kind: its id, or its unique name.
        name: For people.
        id: Of the event.
        now: The time.
        related: Labels of what else it has to do with.
        payload: What else there is to tell.
    """
    return Event(
        id=id,
        name=f"{PREFIX}{kind}.{verb}",
        occurred=now,
        resource=resource(f"{PREFIX}{kind}.{key}", name),
        related=related,
        payload=json.dumps(payload or {}, ensure_ascii=False, separators=(",", ":")),
    )


__all__ = [
    "DEPLOYMENT_PREFIX",
    "FLOW_PREFIX",
    "TAG_PREFIX",
    "WORK_POOL_PREFIX",
    "WORK_QUEUE_PREFIX",
    "Surroundings",
    "heartbeat",
    "lifecycle",
    "of_transition",
    "resource",
]
