"""Where a flow run comes from: a call makes it here, or a runner leased it to this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from headgate import context as contexts
from headgate import parameters as parameter_codec
from headgate import states
from headgate.codec.session import FlowRunCreated
from headgate.core import errors, names, runs
from headgate.core.ids import new_id
from headgate.engine import flow_logs, process
from headgate.engine.outbox import Carrier, Outbox
from headgate.engine.tracking import Tracking

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["Leased", "Made", "Origin"]


class Origin(Protocol):
    """A flow run that is about to execute here."""

    @property
    def link(self) -> Carrier:
        """The link that it is recorded by."""
        ...

    @property
    def outbox(self) -> Outbox:
        """What it has to tell."""
        ...

    @property
    def flow_run(self) -> runs.FlowRun:
        """The run, as it stands before it executes."""
        ...

    @property
    def tracking(self) -> Tracking | None:
        """The task run that stands for it in the run that called it."""
        ...

    def announce(self, context: contexts.FlowRunContext, parameters: Mapping[str, Any]) -> None:
        """Tell the server what is known now that the parameters are.

        Raises:
            Exception: What ``flow_run_name`` raised; the server was told all the same.
        """
        ...


class Made:
    """A flow run that comes into being here.

    Args:
        flow: The flow.
        parent: The flow run that calls it.
        upstream_run_ids: The runs whose results it is given.

    Raises:
        ServerStartError: No server is configured and the embedded one did not start.
    """

    def __init__(
        self,
        flow: Flow[..., Any],
        parent: contexts.FlowRunContext | None,
        upstream_run_ids: tuple[str, ...],
    ) -> None:
        """Choose its id; nothing is recorded yet."""
        self._flow = flow
        self.link: Carrier = process.link() if parent is None else _link_of(parent)
        self.tracking = None if parent is None else Tracking(flow, parent, upstream_run_ids)
        run_id = new_id()
        self.flow_run = runs.FlowRun(
            id=run_id,
            name=names.random_name(process.rng),
            flow_id="",
            flow_name=flow.name,
            flow_version=flow.version or "",
            tags=tuple(sorted(contexts.current_tags())),
            state=states.Pending().record(),
            retry_policy=flow.retry_policy,
            parent_task_run_id=self.tracking.task_run_id if self.tracking else None,
            parent_flow_run_id=parent.flow_run.id if parent is not None else None,
            root_flow_run_id=parent.flow_run.root_flow_run_id if parent is not None else run_id,
            fencing_token=1,
            create_time=process.clock.now(),
        )
        self.outbox = self.link.create_run(run_id)

    def announce(self, context: contexts.FlowRunContext, parameters: Mapping[str, Any]) -> None:
        """Tell the server of the run; see ``Origin``."""
        texts, warnings = parameter_codec.encode_leniently(parameters)
        name: str | None = None
        try:
            with contexts.executing(context, None):
                name = self._flow.run_name(parameters)
        finally:
            context.flow_run = dataclasses.replace(
                context.flow_run, parameters=texts, name=name or context.flow_run.name
            )
            self.outbox.begin(FlowRunCreated(context.flow_run))
            if self.tracking is not None:
                self.tracking.begin(context.flow_run)
        for warning in warnings:
            flow_logs.warn(context, warning)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A flow run that a runner leased to this process.

    Attributes:
        flow: The flow, loaded.
        link: The link on which the run was opened.
        outbox: Its outbox there.
        flow_run: The run, as the server has it.
    """

    flow: Flow[..., Any]
    link: Carrier
    outbox: Outbox
    flow_run: runs.FlowRun

    @property
    def tracking(self) -> Tracking | None:
        """Nothing: who asked for the run keeps its own record of it."""
        return None

    def announce(self, context: contexts.FlowRunContext, parameters: Mapping[str, Any]) -> None:
        """Give the run the name that its flow has for it; see ``Origin``."""
        if self.flow.flow_run_name is None:
            return
        with contexts.executing(context, None):
            name = self.flow.run_name(parameters)
        if name is None or name == context.flow_run.name:
            return
        from headgate.client.orchestration import get_client

        try:
            with get_client(sync_client=True) as client:
                client.update_flow_run(context.flow_run.id, name=name)
        except errors.ControlPlaneError as error:
            flow_logs.warn(context, f"The run keeps its name: {error}")
            return
        context.flow_run = dataclasses.replace(context.flow_run, name=name)


def _link_of(parent: contexts.FlowRunContext) -> Carrier:
    """Return the link of the parent's run, which a change of settings must not split off."""
    recorder = parent.recorder
    if isinstance(recorder, Outbox) and recorder.failure is None:
        return recorder.link
    return process.link()
