"""The task run that stands for a subflow in the flow run that called it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from headgate import context as contexts
from headgate import states
from headgate.codec.session import Reported, TaskRunCreated
from headgate.core import runs
from headgate.core.ids import new_id
from headgate.engine import process

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["Tracking"]


class Tracking:
    """Tells the calling run's story of a subflow.

    Args:
        flow: The subflow.
        parent: The flow run that calls it.
        upstream_run_ids: The runs whose results it was given.
        task_run_id: The id of the task run, where it was chosen before.
    """

    def __init__(
        self,
        flow: Flow[..., Any],
        parent: contexts.FlowRunContext,
        upstream_run_ids: tuple[str, ...],
        task_run_id: str | None = None,
    ) -> None:
        """Choose an id; nothing is recorded yet."""
        self.task_run_id = task_run_id or new_id()
        self._flow = flow
        self._parent = parent
        self._upstream_run_ids = upstream_run_ids
        self._child_flow_run_id = ""
        #: Whether the subflow is going to run; else it stays as it is made.
        self.is_ready = True

    def begin(self, child: runs.FlowRun) -> None:
        """Record that the subflow was called."""
        key = f"flow:{self._flow.name}"
        number = str(self._parent.next_call(key))
        calling = contexts.TaskRunContext.get()
        self._child_flow_run_id = child.id
        self._parent.recorder.record(
            TaskRunCreated(
                self.task_run_id,
                f"{self._flow.name}-{number}",
                key,
                number,
                child.flow_version,
                child.tags,
                0,
                calling.id if calling is not None else None,
                self._upstream_run_ids,
                self._parent.attempt,
                states.StateType.RUNNING if self.is_ready else states.StateType.PENDING,
                "Running" if self.is_ready else "Pending",
                new_id(),
                process.clock.now(),
                child.id,
            )
        )

    def mirror(self, state: states.State[Any]) -> None:
        """Record that the subflow entered a state."""
        details = dataclasses.replace(state.details, child_flow_run_id=self._child_flow_run_id)
        self._parent.recorder.record(
            Reported(
                self.task_run_id,
                state.type,
                state.name,
                new_id(),
                state.timestamp,
                state.message,
                details,
            )
        )
