"""Where a flow run comes from: a call makes it here, or a runner leased it to this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from headgate import context as contexts
from headgate import parameters as parameter_codec
from headgate import states
from headgate.codec.session import FlowRunCreated, RunOpened
from headgate.core import errors, names, runs
from headgate.core.ids import new_id
from headgate.engine import entry, flow_logs, process
from headgate.engine.effects import Steps, Wait
from headgate.engine.outbox import Carrier, Outbox
from headgate.engine.tracking import Tracking

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["LOSSY_LABEL", "Leased", "Made", "Origin", "Resumed"]

#: The label in which a run names the parameters that are recorded as their ``repr``.
LOSSY_LABEL = "headgate.parameters-as-repr"


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
        ids: The id of the run, and that of the task run that stands for it in the parent, where
            they were chosen before.

    Raises:
        ServerStartError: No server is configured and the embedded one did not start.
    """

    def __init__(
        self,
        flow: Flow[..., Any],
        parent: contexts.FlowRunContext | None,
        upstream_run_ids: tuple[str, ...],
        ids: tuple[str, str] | None = None,
    ) -> None:
        """Choose its id; nothing is recorded yet."""
        self._flow = flow
        self.link: Carrier = process.link() if parent is None else _link_of(parent)
        run_id, tracking_id = ids or (new_id(), "")
        self.tracking = (
            None if parent is None else Tracking(flow, parent, upstream_run_ids, tracking_id)
        )
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
        recorded = parameter_codec.record(parameters)
        name: str | None = None
        try:
            with contexts.executing(context, None):
                name = self._flow.run_name(parameters)
        finally:
            labels = dict(context.flow_run.labels)
            if self.tracking is None and not self._flow.is_task_root:
                labels.update(entry.label(self._flow))
            if recorded.lossy:
                # Who retries the run elsewhere must not take a repr, or a mask, for the value.
                labels[LOSSY_LABEL] = ", ".join(recorded.lossy)
            context.flow_run = dataclasses.replace(
                context.flow_run,
                parameters=recorded.texts,
                name=name or context.flow_run.name,
                labels=labels,
            )
            self.outbox.begin(FlowRunCreated(context.flow_run))
            if self.tracking is not None:
                self.tracking.begin(context.flow_run)
        for warning in recorded.warnings:
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A subflow of an earlier attempt of its parent, which goes on here.

    Attributes:
        link: The link of the parent's run.
        outbox: Its outbox there.
        flow_run: The run, as the server has it.
        tracking: What stands for it in this attempt of the parent.
    """

    link: Carrier
    outbox: Outbox
    flow_run: runs.FlowRun
    tracking: Tracking | None

    @classmethod
    def claim(
        cls,
        flow: Flow[..., Any],
        parent: contexts.FlowRunContext,
        flow_run_id: str,
        upstream_run_ids: tuple[str, ...],
        tracking_id: str = "",
    ) -> Steps[Resumed]:
        """Take a run that is Scheduled.

        Args:
            flow: Its flow.
            parent: The flow run that calls it.
            flow_run_id: The run.
            upstream_run_ids: The runs whose results it is given.
            tracking_id: The id of the task run that stands for it, where it was chosen before.

        Raises:
            HeadgateError: Another process has it.
        """
        link = _link_of(parent)
        outbox = link.claim_run(flow_run_id)
        opened: RunOpened = yield Wait(outbox.opened)
        if opened.flow_run is None:
            raise errors.NotFound("flow run", flow_run_id)
        tracking = Tracking(flow, parent, upstream_run_ids, tracking_id)
        return cls(link=link, outbox=outbox, flow_run=opened.flow_run, tracking=tracking)

    def announce(self, context: contexts.FlowRunContext, parameters: Mapping[str, Any]) -> None:
        """Say in the parent's run that the subflow goes on; see ``Origin``."""
        if self.tracking is not None:
            self.tracking.begin(context.flow_run)


def _link_of(parent: contexts.FlowRunContext) -> Carrier:
    """Return the link of the parent's run, which a change of settings must not split off."""
    recorder = parent.recorder
    if isinstance(recorder, Outbox) and recorder.failure is None:
        return recorder.link
    return process.link()
