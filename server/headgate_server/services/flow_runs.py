"""Flow runs: asked for, looked at, stopped, resumed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from headgate.core import deployments, errors, names, runs, states
from headgate.core.states import StateType
from headgate_server.domain import parameter_templates, parameters, transforms
from headgate_server.domain.checks import Checks
from headgate_server.domain.context import Retry
from headgate_server.services import deployments as deployment_service
from headgate_server.services import masks, pause_answers
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.parameter_facts import template_context, variable_text
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import FlowRunFilter, FlowRunOrder, Page, PageRequest

INLINE_BYTES_MAX = 16 * 1024
#: Keys of calls, caches and results, which are often hashes or paths.
KEY_MAX = 4_096
_CHANGEABLE = ("name", "tags", "labels", "priority", "retry_policy")
#: Paused and Cancelling are what becomes of a run that somebody executes.
_FIRST_STATES = frozenset(StateType) - {StateType.PAUSED, StateType.CANCELLING}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlowRunRequest:
    """What is asked of a new run; see ``CreateFlowRunRequest``. One of the first three is set."""

    deployment_id: str = ""
    deployment_name: str = ""
    flow_name: str = ""
    flow_version: str = ""
    state: states.State | None = None
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    scheduled_time: datetime | None = None
    name: str = ""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    job_variables: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    work_queue_name: str = ""
    priority: int = 0
    parent_task_run_id: str | None = None
    parent_flow_run_id: str | None = None
    idempotency_key: str = ""


class FlowRunService:
    """Use-cases of flow runs.

    Args:
        storage: Where they are kept.
        orchestration: Answers proposed states.
        new_id: Makes ids.
        rng: Where chance comes from, for names.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        orchestration: Orchestration,
        new_id: Callable[[], str],
        rng: random.Random,
    ) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._orchestration = orchestration
        self._new_id = new_id
        self._rng = rng
        self._lifecycle = Lifecycle(new_id)

    async def create(self, request: FlowRunRequest) -> runs.FlowRun:
        """Store a run of a deployment, or of a flow; a known idempotency key returns its run.

        Raises:
            InvalidArgument: Fields are wrong, or the parameters do not fit the schema.
            NotFound: The deployment, the queue or the parent does not exist.
        """
        _check_request(request)
        try:
            return await self._storage.write(lambda tx: self._insert(tx, request))
        except errors.AlreadyExists:
            # Somebody used the key in the same moment; the second look finds that run.
            return await self._storage.write(lambda tx: self._insert(tx, request))

    def _insert(self, tx: Transaction, request: FlowRunRequest) -> runs.FlowRun:
        deployment = None if request.flow_name else _find_deployment(tx, request)
        if deployment is None:
            flow_id = self._lifecycle.ensure_flow(tx, request.flow_name).id
        else:
            flow_id = deployment.flow_id
        key = request.idempotency_key or None
        if key is not None:
            known = tx.flow_runs.find_idempotent(flow_id, key)
            if known is not None:
                return known
        run = self._make(tx, request, flow_id)
        if deployment is not None:
            run = self._of_deployment(tx, run, request, deployment)
        return dataclasses.replace(run, revision=tx.flow_runs.insert(run))

    def _make(self, tx: Transaction, request: FlowRunRequest, flow_id: str) -> runs.FlowRun:
        """Make a run of a flow, without a deployment."""
        id = self._new_id()
        parent = _find_parent(tx, request)
        now = tx.now()
        state = self._first_state(request, now)
        running = state.type is StateType.RUNNING
        return runs.FlowRun(
            id=id,
            name=request.name or names.random_name(self._rng),
            flow_id=flow_id,
            flow_name=request.flow_name,
            flow_version=request.flow_version,
            parameters=request.parameters,
            tags=tuple(dict.fromkeys(request.tags)),
            labels=request.labels,
            state=state,
            run_count=int(running),
            expected_start_time=state.details.scheduled_time or state.timestamp,
            start_time=state.timestamp if running else None,
            end_time=state.timestamp if state.is_terminal else None,
            parent_task_run_id=request.parent_task_run_id,
            parent_flow_run_id=parent.id if parent else None,
            root_flow_run_id=parent.root_flow_run_id if parent else id,
            priority=request.priority,
            idempotency_key=request.idempotency_key or None,
            create_time=now,
        )

    def _first_state(self, request: FlowRunRequest, now: datetime) -> states.State:
        if request.state is not None:
            state, time = request.state, request.scheduled_time
            if time is not None and state.type is StateType.SCHEDULED:
                details = dataclasses.replace(state.details, scheduled_time=time)
                state = dataclasses.replace(state, details=details)
            return transforms.first(state, now)
        if request.flow_name and request.scheduled_time is None:
            return states.new_state(StateType.PENDING, id=self._new_id(), now=now)
        return states.new_state(
            StateType.SCHEDULED,
            id=self._new_id(),
            now=now,
            details=states.StateDetails(scheduled_time=request.scheduled_time or now),
        )

    def _of_deployment(
        self,
        tx: Transaction,
        run: runs.FlowRun,
        request: FlowRunRequest,
        deployment: deployments.Deployment,
    ) -> runs.FlowRun:
        """Return the run with what its deployment has for it."""
        given = _parameters(tx, request, deployment, run_id=run.id, run_name=run.name)
        pool, queue = deployment.work_pool_name, deployment.work_queue_name
        if request.work_queue_name:
            queue = request.work_queue_name
            if tx.work_pools.get_queue(pool, queue) is None:
                raise errors.NotFound("work queue", f"{pool}/{queue}")
        return dataclasses.replace(
            run,
            flow_name=deployment.flow_name,
            deployment_id=deployment.id,
            deployment_name=deployment.full_name,
            parameters=given,
            tags=tuple(dict.fromkeys((*deployment.tags, *request.tags))),
            labels={**deployment.labels, **request.labels},
            work_pool_name=pool,
            work_queue_name=queue,
            job_variables={**deployment.job_variables, **request.job_variables},
        )

    async def get(self, flow_run_id: str) -> runs.FlowRun:
        """Return a run.

        Raises:
            NotFound: There is none.
        """
        _check_id("id", flow_run_id)
        return await self._storage.read(lambda tx: _get(tx, flow_run_id))

    async def list(
        self, where: FlowRunFilter, order: FlowRunOrder, page: PageRequest
    ) -> Page[runs.FlowRun]:
        """List runs."""
        _check_filter(where)
        return await self._storage.read(lambda tx: tx.flow_runs.list(where, order, page))

    async def count(self, where: FlowRunFilter) -> Sequence[runs.StateCount]:
        """Count runs by state."""
        _check_filter(where)
        return await self._storage.read(lambda tx: tx.flow_runs.count(where))

    async def states(self, flow_run_id: str) -> Sequence[states.State]:
        """Return all states of a run, oldest first.

        Raises:
            NotFound: There is no such run.
        """
        _check_id("flow_run_id", flow_run_id)

        def query(tx: Transaction) -> Sequence[states.State]:
            _get(tx, flow_run_id)
            return tx.flow_runs.states(flow_run_id)

        return await self._storage.read(query)

    async def update(self, run: runs.FlowRun, mask: Sequence[str]) -> runs.FlowRun:
        """Change name, tags, labels, priority or retry policy.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such run.
        """
        checks = Checks()
        checks.id("flow_run.id", run.id)
        if "name" in mask or "*" in mask:
            _check_run_name(checks, "flow_run.name", run.name, required=True)
        checks.tags("flow_run.tags", run.tags)
        checks.labels("flow_run.labels", run.labels)
        checks.retry_policy("flow_run.retry_policy", run.retry_policy)
        checks.raise_any()

        def change(tx: Transaction) -> runs.FlowRun:
            after = masks.apply(_get(tx, run.id), run, mask, allowed=_CHANGEABLE)
            tx.flow_runs.update(after)
            return after

        return await self._storage.write(change)

    async def set_state(
        self,
        flow_run_id: str,
        state: states.State,
        *,
        fencing_token: int | None = None,
        force: bool = False,
    ) -> tuple[states.Verdict, runs.FlowRun]:
        """Propose a state for a run.

        Raises:
            InvalidArgument: The state is malformed.
            NotFound: There is no such run.
            LeaseFenced: The token is not the newest of the run.
        """
        checks = Checks()
        checks.id("flow_run_id", flow_run_id)
        check_state(checks, "state", state)
        checks.raise_any()
        return await self._orchestration.propose(
            flow_run_id, state, fencing_token=fencing_token, force=force
        )

    async def cancel(self, flow_run_id: str) -> runs.FlowRun:
        """End a run: at once where nobody executes it, else by whoever does.

        Raises:
            NotFound: There is no such run.
        """
        state = await self._state(
            flow_run_id, StateType.CANCELLING, message="Somebody asked to cancel the run."
        )
        _, run = await self._orchestration.propose(flow_run_id, state, fencing_token=None)
        return run

    async def retry(
        self, flow_run_id: str, *, force: bool = False
    ) -> tuple[states.Verdict, runs.FlowRun]:
        """Let a run that did not complete run again.

        Args:
            flow_run_id: The run.
            force: Whether also one that is still said to be executed.

        Raises:
            NotFound: There is no such run.
        """
        state = await self._state(
            flow_run_id,
            StateType.SCHEDULED,
            name="AwaitingRetry",
            message="Somebody asked to retry the run.",
        )
        retry = Retry.TAKEN_FROM_ITS_HOLDER if force else Retry.ENDED
        return await self._orchestration.propose(
            flow_run_id, state, fencing_token=None, retry=retry
        )

    async def resume(
        self, flow_run_id: str, run_input: str = ""
    ) -> tuple[states.Verdict, runs.FlowRun]:
        """Let a paused run go on.

        Args:
            flow_run_id: The run.
            run_input: What its pause asks for, a JSON object as text; empty: nothing.

        Raises:
            NotFound: There is no such run.
            InvalidArgument: The input does not fit what the pause asks for.
        """
        run = await self.get(flow_run_id)
        if run.state.type is not StateType.PAUSED:
            verdict = states.Verdict(
                kind=states.VerdictKind.REJECT,
                state=run.state,
                reason=f"The run is not paused; it is {run.state.name}.",
            )
            return verdict, run
        await pause_answers.store(self._storage, run, run_input, new_id=self._new_id)
        state = await self._state(flow_run_id, StateType.SCHEDULED, name="Resuming")
        return await self._orchestration.propose(flow_run_id, state, fencing_token=None)

    async def delete(self, flow_run_id: str) -> None:
        """Delete a run with its task runs, states and logs.

        Raises:
            NotFound: There is no such run.
            FailedPrecondition: It is leased.
        """
        _check_id("id", flow_run_id)

        def change(tx: Transaction) -> None:
            run = _get(tx, flow_run_id)
            if tx.leases.get(flow_run_id) is not None:
                raise errors.FailedPrecondition(
                    f"Flow run {run.name!r} is being executed; cancel it first.",
                    "flow run",
                    run.id,
                )
            tx.flow_runs.delete(flow_run_id)

        await self._storage.write(change)

    async def _state(
        self, flow_run_id: str, type: StateType, *, name: str | None = None, message: str = ""
    ) -> states.State:
        _check_id("flow_run_id", flow_run_id)
        now = await self._storage.read(lambda tx: tx.now())
        return states.new_state(type, id=self._new_id(), now=now, name=name, message=message)


def _parameters(
    tx: Transaction,
    request: FlowRunRequest,
    deployment: deployments.Deployment,
    *,
    run_id: str,
    run_name: str,
) -> Mapping[str, str]:
    """Return the parameters of a new run: merged, resolved, checked.

    Raises:
        InvalidArgument: One is frozen, has a template that cannot be resolved, or does not fit.
    """
    checks = Checks()
    schema, defaults = deployment.parameter_schema, deployment.parameters
    checks.extend("", parameters.check_frozen(request.parameters, defaults, schema, "parameters"))
    resolved = parameter_templates.resolve(
        {**defaults, **request.parameters},
        "parameters",
        find_variable=lambda name: variable_text(tx, name),
        context=template_context(deployment, run_id=run_id, run_name=run_name),
    )
    checks.extend("", resolved.violations)
    checks.raise_any()
    if deployment.enforce_parameter_schema:
        checks.extend("", parameters.check(resolved.parameters, schema, "parameters"))
        checks.raise_any()
    return resolved.parameters


def check_state(checks: Checks, field: str, state: states.State) -> None:
    """Check a state that somebody proposes."""
    checks.id(f"{field}.id", state.id)
    checks.text(f"{field}.name", state.name, 255)
    checks.text(f"{field}.message", state.message)
    checks.optional_id(f"{field}.details.transition_id", state.details.transition_id)
    checks.optional_id(f"{field}.details.child_flow_run_id", state.details.child_flow_run_id)
    for part in ("cache_key", "call_key", "pause_key", "traceparent"):
        checks.text(f"{field}.details.{part}", getattr(state.details, part) or "", KEY_MAX)
    if state.data is not None:
        checks.text(f"{field}.data.serializer", state.data.serializer, KEY_MAX)
        checks.text(f"{field}.data.storage_key", state.data.storage_key or "", KEY_MAX)
    inline = state.data.inline if state.data else None
    if inline is not None and len(inline) > INLINE_BYTES_MAX:
        checks.add(
            f"{field}.data.inline",
            f"{len(inline)} bytes are too many; at most {INLINE_BYTES_MAX} ride inline, "
            "put them into the result storage.",
        )


def _get(tx: Transaction, flow_run_id: str) -> runs.FlowRun:
    run = tx.flow_runs.get(flow_run_id)
    if run is None:
        raise errors.NotFound("flow run", flow_run_id)
    return run


def _find_deployment(tx: Transaction, request: FlowRunRequest) -> deployments.Deployment:
    if request.deployment_name:
        return deployment_service.find(tx, request.deployment_name)
    deployment = tx.deployments.get(request.deployment_id)
    if deployment is None:
        raise errors.NotFound("deployment", request.deployment_id)
    return deployment


def _find_parent(tx: Transaction, request: FlowRunRequest) -> runs.FlowRun | None:
    parent_id = request.parent_flow_run_id
    if request.parent_task_run_id and not parent_id:
        # The task run may still be on its way in the stream of the parent; then the parent
        # cannot be known from it, and the caller has to name it.
        task_run = tx.task_runs.get(request.parent_task_run_id)
        if task_run is None:
            raise errors.NotFound("task run", request.parent_task_run_id)
        parent_id = task_run.flow_run_id
    return _get(tx, parent_id) if parent_id else None


def _check_run_name(checks: Checks, field: str, name: str, *, required: bool) -> None:
    if required and not name.strip():
        checks.add(field, "A name is required.")
    checks.text(field, name, 255)


def _check_request(request: FlowRunRequest) -> None:
    checks = Checks()
    if request.flow_name:
        _check_without_deployment(checks, request)
    elif not (request.deployment_id or request.deployment_name):
        checks.add("deployment", "Set deployment_id, deployment_name or flow_name.")
    elif request.flow_version:
        checks.add("flow_version", "A run of a deployment has that of its deployment.")
    if request.state is not None:
        check_state(checks, "state", request.state)
        if request.state.type not in _FIRST_STATES:
            checks.add(
                "state.type",
                f"No run begins as {request.state.type.value}; make it, then set its state.",
            )
    checks.optional_id("deployment_id", request.deployment_id)
    checks.json_map("parameters", request.parameters)
    checks.json_map("job_variables", request.job_variables)
    checks.tags("tags", request.tags)
    checks.labels("labels", request.labels)
    checks.optional_id("parent_task_run_id", request.parent_task_run_id)
    checks.optional_id("parent_flow_run_id", request.parent_flow_run_id)
    checks.text("idempotency_key", request.idempotency_key, 255)
    _check_run_name(checks, "name", request.name, required=False)
    checks.raise_any()


def _check_without_deployment(checks: Checks, request: FlowRunRequest) -> None:
    checks.name("flow_name", request.flow_name)
    checks.text("flow_version", request.flow_version, 255)
    if request.deployment_id or request.deployment_name:
        checks.add("flow_name", "A run is of a deployment or of a flow; set one of them.")
    for field in ("job_variables", "work_queue_name"):
        if getattr(request, field):
            checks.add(field, "It goes with a deployment only: no runner starts a run without one.")


def _check_id(field: str, value: str) -> None:
    checks = Checks()
    checks.id(field, value)
    checks.raise_any()


def _check_filter(where: FlowRunFilter) -> None:
    checks = Checks()
    checks.ids("filter.ids", where.ids)
    checks.ids("filter.flow_ids", where.flow_ids)
    checks.ids("filter.deployment_ids", where.deployment_ids)
    checks.optional_id("filter.parent_flow_run_id", where.parent_flow_run_id)
    checks.raise_any()
