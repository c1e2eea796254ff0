"""Deployments: made, changed and deleted together with the runs that their schedules want."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

from headgate.core import deployments, errors, schedules, states
from headgate.core.states import StateType
from headgate_server.domain import parameters
from headgate_server.domain.checks import Checks
from headgate_server.services import masks
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.scheduling import Scheduling
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import (
    DeploymentFilter,
    FlowRunFilter,
    FlowRunOrder,
    Page,
    PageRequest,
    read_pages,
)

CHANGEABLE = (
    "collision_strategy",
    "concurrency_limit",
    "description",
    "enforce_parameter_schema",
    "entrypoint",
    "job_variables",
    "labels",
    "on_infrastructure_loss",
    "parameter_schema",
    "parameters",
    "path",
    "paused",
    "pull_steps",
    "schedules",
    "tags",
    "version",
    "work_pool_name",
    "work_queue_name",
)
_RACES_MAX = 5
_BATCH = 500


class DeploymentService:
    """Use-cases of deployments.

    Args:
        storage: Where they are kept.
        scheduling: Makes the runs that schedules want.
        orchestration: Cancels the waiting runs of a deployment that is deleted.
        new_id: Makes ids.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        scheduling: Scheduling,
        orchestration: Orchestration,
        new_id: Callable[[], str],
    ) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._scheduling = scheduling
        self._orchestration = orchestration
        self._new_id = new_id
        self._lifecycle = Lifecycle(new_id)

    async def create(
        self, deployment: deployments.Deployment, *, request_id: str = ""
    ) -> deployments.Deployment:
        """Make a deployment.

        Args:
            deployment: What to make; an interval anchored at the epoch has no anchor yet.
            request_id: The same request sent again returns the same deployment.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: The work pool or the queue does not exist.
            AlreadyExists: The flow has a deployment of this name.
        """
        checks = Checks()
        checks.optional_id("request_id", request_id)
        _check(checks, deployment)
        checks.raise_any()
        # The id of the deployment is that of the request, so no table of requests is needed.
        new_id = request_id or self._new_id()

        def change(tx: Transaction) -> deployments.Deployment:
            known = tx.deployments.get(new_id)
            return known if known is not None else self._insert(tx, deployment, new_id)

        made = await self._storage.write(change)
        self._scheduling.wake()
        return made

    async def get(self, deployment_id: str) -> deployments.Deployment:
        """Return a deployment by id.

        Raises:
            NotFound: There is none.
        """
        checks = Checks()
        checks.id("id", deployment_id)
        checks.raise_any()
        return await self._storage.read(lambda tx: _get(tx, deployment_id))

    async def get_by_name(self, full_name: str) -> deployments.Deployment:
        """Return a deployment by "flow/deployment".

        Raises:
            InvalidArgument: The name has no slash.
            NotFound: There is none.
        """
        return await self._storage.read(lambda tx: find(tx, full_name))

    async def list(
        self, where: DeploymentFilter, page: PageRequest
    ) -> Page[deployments.Deployment]:
        """List deployments by "flow/deployment" name."""
        checks = Checks()
        checks.ids("filter.flow_ids", where.flow_ids)
        checks.raise_any()
        return await self._storage.read(lambda tx: tx.deployments.list(where, page))

    async def update(
        self,
        deployment: deployments.Deployment,
        mask: Sequence[str],
        *,
        allow_missing: bool = False,
    ) -> deployments.Deployment:
        """Change a deployment, or make it where it is missing and that is allowed.

        Args:
            deployment: The new values; its id, or flow name and name, say which.
            mask: The fields to change; empty: all.
            allow_missing: Whether to make it if there is none.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: There is no such deployment, work pool or queue.
            EtagMismatch: It was changed since its etag was read.
        """
        if deployment.id:
            checks = Checks()
            checks.id("deployment.id", deployment.id)
            checks.raise_any()

        def change(tx: Transaction) -> deployments.Deployment | None:
            stored = _find_to_update(tx, deployment)
            if stored is None:
                if not allow_missing:
                    raise errors.NotFound("deployment", deployment.id or deployment.full_name)
                checks = Checks()
                _check(checks, deployment)
                checks.raise_any()
                return self._insert(tx, deployment, self._new_id())
            return self._replace(tx, stored, deployment, mask)

        for _ in range(_RACES_MAX):
            changed = await self._storage.write(change)
            if changed is not None:
                self._scheduling.wake()
                return changed
        raise errors.Unavailable(
            f"Deployment {deployment.full_name!r} is being changed by many at once; try again."
        )

    async def delete(self, deployment_id: str) -> None:
        """Delete a deployment and its future runs; what waits for a runner is cancelled.

        The deployment goes last. Who is killed in between has not deleted it yet, so nothing waits
        for ever without a deployment, and deleting it again ends the rest.

        Raises:
            NotFound: There is none.
        """
        checks = Checks()
        checks.id("id", deployment_id)
        checks.raise_any()

        seen: set[str] = set()

        def change(tx: Transaction) -> Sequence[str]:
            """Delete it, unless runs wait that were not looked at; return those."""
            stored = _get(tx, deployment_id)
            tx.flow_runs.delete_auto_scheduled(deployment_id)
            found = _waiting(tx, deployment_id, _BATCH + len(seen))
            waiting = [id for id in found if id not in seen]
            if not waiting:
                tx.deployments.delete(deployment_id)
                self._lifecycle.deployment(tx, "deleted", stored)
            return waiting

        while waiting := await self._storage.write(change):
            for flow_run_id in waiting:
                await self._cancel(flow_run_id)
            seen.update(waiting)

    async def _cancel(self, flow_run_id: str) -> None:
        state = states.new_state(
            StateType.CANCELLING,
            id=self._new_id(),
            now=await self._storage.read(lambda tx: tx.now()),
            message="Its deployment was deleted.",
        )
        with contextlib.suppress(errors.NotFound):  # somebody deleted the run meanwhile
            await self._orchestration.propose(flow_run_id, state, fencing_token=None)

    def _insert(
        self, tx: Transaction, given: deployments.Deployment, new_id: str
    ) -> deployments.Deployment:
        _require_queue(tx, given)
        flow = self._lifecycle.ensure_flow(tx, given.flow_name)
        now = tx.now()
        made = dataclasses.replace(
            given,
            id=new_id,
            flow_id=flow.id,
            create_time=now,
            update_time=now,
            etag=self._new_id(),
        )
        made = self._with_schedules(made, ())
        tx.deployments.insert(made)
        self._lifecycle.deployment(tx, "created", made)
        self._scheduling.insert_runs(tx, made)
        return made

    def _replace(
        self,
        tx: Transaction,
        stored: deployments.Deployment,
        given: deployments.Deployment,
        mask: Sequence[str],
    ) -> deployments.Deployment | None:
        """Store the changes; None if somebody else was faster."""
        if given.etag and given.etag != stored.etag:
            raise errors.EtagMismatch("deployment", stored.full_name, given.etag, stored.etag)
        after = masks.apply(stored, given, mask, allowed=CHANGEABLE, required=False)
        checks = Checks()
        _check(checks, after)
        checks.raise_any()
        _require_queue(tx, after)
        after = dataclasses.replace(after, update_time=tx.now(), etag=self._new_id())
        after = self._with_schedules(after, stored.schedules)
        if not tx.deployments.replace(after, expected_etag=stored.etag):
            return None
        changed = [name for name in CHANGEABLE if getattr(after, name) != getattr(stored, name)]
        self._lifecycle.deployment(tx, "updated", after, changed=changed)
        tx.flow_runs.delete_auto_scheduled(after.id)
        self._scheduling.insert_runs(tx, after)
        return after

    def _with_schedules(
        self, deployment: deployments.Deployment, stored: Sequence[deployments.Schedule]
    ) -> deployments.Deployment:
        """Give schedules their ids, slugs and anchors; those of stored ones stay."""
        by_slug = {schedule.slug: schedule for schedule in stored}
        by_rule = {schedule.rule: schedule for schedule in stored}
        identified: list[deployments.Schedule] = []
        for schedule in deployment.schedules:
            known = by_slug.get(schedule.slug) if schedule.slug else by_rule.get(schedule.rule)
            id = known.id if known else self._new_id()
            rule = _anchored(schedule.rule, known.rule if known else None, deployment)
            identified.append(
                dataclasses.replace(schedule, id=id, slug=schedule.slug or id, rule=rule)
            )
        return dataclasses.replace(deployment, schedules=tuple(identified))


def _waiting(tx: Transaction, deployment_id: str, most: int) -> list[str]:
    """Return the runs of a deployment that wait for a runner, so many at most."""
    where = FlowRunFilter(deployment_ids=(deployment_id,), state_types=(StateType.SCHEDULED,))
    found = read_pages(lambda page: tx.flow_runs.list(where, FlowRunOrder.ID_DESC, page), most=most)
    return [run.id for run in found]


def find(tx: Transaction, full_name: str) -> deployments.Deployment:
    """Return the deployment named "flow/deployment".

    Raises:
        InvalidArgument: The name has no slash.
        NotFound: There is none.
    """
    flow_name, slash, name = full_name.partition("/")
    if not slash:
        raise errors.InvalidArgument.of(
            "name", f"{full_name!r} is not the name of a deployment; write flow/deployment."
        )
    deployment = tx.deployments.get_by_name(flow_name, name)
    if deployment is None:
        raise errors.NotFound("deployment", full_name)
    return deployment


def _get(tx: Transaction, deployment_id: str) -> deployments.Deployment:
    deployment = tx.deployments.get(deployment_id)
    if deployment is None:
        raise errors.NotFound("deployment", deployment_id)
    return deployment


def _find_to_update(
    tx: Transaction, given: deployments.Deployment
) -> deployments.Deployment | None:
    if given.id:
        return tx.deployments.get(given.id)
    return tx.deployments.get_by_name(given.flow_name, given.name)


def _require_queue(tx: Transaction, deployment: deployments.Deployment) -> None:
    pool, queue = deployment.work_pool_name, deployment.work_queue_name
    if tx.work_pools.get(pool) is None:
        raise errors.NotFound("work pool", pool)
    if tx.work_pools.get_queue(pool, queue) is None:
        raise errors.NotFound("work queue", f"{pool}/{queue}")


def _anchored(
    rule: deployments.ScheduleRule,
    known: deployments.ScheduleRule | None,
    deployment: deployments.Deployment,
) -> deployments.ScheduleRule:
    """Anchor an interval that has no anchor: as before, or now."""
    if not isinstance(rule, deployments.IntervalRule) or rule.anchor_time.timestamp() != 0:
        return rule
    anchor = known.anchor_time if isinstance(known, deployments.IntervalRule) else None
    return dataclasses.replace(rule, anchor_time=anchor or deployment.update_time)


def _check(checks: Checks, deployment: deployments.Deployment) -> None:
    checks.name("deployment.name", deployment.name)
    checks.name("deployment.flow_name", deployment.flow_name)
    for field in ("entrypoint", "path", "description", "version"):
        checks.text(f"deployment.{field}", getattr(deployment, field))
    checks.tags("deployment.tags", deployment.tags)
    checks.labels("deployment.labels", deployment.labels)
    checks.json_map("deployment.job_variables", deployment.job_variables)
    checks.positive("deployment.concurrency_limit", deployment.concurrency_limit)
    if deployment.on_infrastructure_loss.max_reschedules < 0:
        checks.add("deployment.on_infrastructure_loss.max_reschedules", "0 is the least.")
    for index, step in enumerate(deployment.pull_steps):
        checks.name(f"deployment.pull_steps[{index}].name", step.name)
        checks.json_map(f"deployment.pull_steps[{index}].inputs", step.inputs)
    _check_schedules(checks, deployment)
    _check_parameters(checks, deployment)


def _check_schedules(checks: Checks, deployment: deployments.Deployment) -> None:
    slugs: set[str] = set()
    for index, schedule in enumerate(deployment.schedules):
        path = f"deployment.schedules[{index}]"
        checks.extend("", schedules.validate(schedule.rule, path))
        checks.json_map(f"{path}.parameters", schedule.parameters)
        checks.text(f"{path}.slug", schedule.slug, 255)
        if schedule.slug and schedule.slug in slugs:
            checks.add(f"{path}.slug", f"{schedule.slug!r} is used twice; slugs are unique.")
        slugs.add(schedule.slug)
        if not 1 <= schedule.max_scheduled_runs <= deployments.MAX_SCHEDULED_RUNS:
            checks.add(
                f"{path}.max_scheduled_runs",
                f"{schedule.max_scheduled_runs} is not in 1 to {deployments.MAX_SCHEDULED_RUNS}.",
            )


def _check_parameters(checks: Checks, deployment: deployments.Deployment) -> None:
    """Check the schema, and the defaults against it once both parse."""
    checks.text("deployment.parameter_schema", deployment.parameter_schema, 512 * 1024)
    schema = parameters.check_schema(deployment.parameter_schema, "deployment.parameter_schema")
    checks.extend("", schema)
    checks.json_map("deployment.parameters", deployment.parameters)
    if checks.found:
        return
    for index, schedule in enumerate(deployment.schedules):
        frozen = parameters.check_frozen(
            schedule.parameters,
            deployment.parameters,
            deployment.parameter_schema,
            f"deployment.schedules[{index}].parameters",
        )
        checks.extend("", frozen)
    if not deployment.enforce_parameter_schema:
        return
    checks.extend(
        "",
        parameters.check(
            deployment.parameters,
            deployment.parameter_schema,
            "deployment.parameters",
            # What a default does not give, each run must.
            complete=False,
        ),
    )
