"""Flows and deployments, in every storage alike."""

import dataclasses

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.deployments import (
    CollisionStrategy,
    CronRule,
    InfrastructureLossAction,
    InfrastructureLossPolicy,
    IntervalRule,
    PullStep,
    RecurrenceRule,
    Schedule,
)
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import (
    DeploymentFilter,
    FlowFilter,
    FlowRunFilter,
    FlowRunOrder,
    PageRequest,
)
from tests.contract.storage import builders
from tests.contract.storage.builders import ALL, at


async def test_a_flow_is_made_once_per_name(storage: Storage) -> None:
    first = await builders.make_flow(storage, "etl")
    second = await builders.make_flow(storage, "etl")
    assert second == first
    assert await storage.read(lambda t: t.flows.get(first.id)) == first
    assert await storage.read(lambda t: t.flows.get_by_name("etl")) == first
    assert await storage.read(lambda t: t.flows.get(ids.new_id())) is None
    assert await storage.read(lambda t: t.flows.get_by_name("other")) is None


async def test_a_flow_keeps_labels_and_tags(storage: Storage, clock: ManualClock) -> None:
    flow = await builders.make_flow(storage)
    clock.advance(5)
    changed = dataclasses.replace(flow, labels={"team": "data"}, tags=("a", 'quo"te'))
    stored = await storage.write(lambda t: t.flows.update(changed))
    assert stored == dataclasses.replace(changed, update_time=clock.now())
    assert await storage.read(lambda t: t.flows.get(flow.id)) == stored


async def test_flows_are_listed_by_name_page_by_page(storage: Storage) -> None:
    for name in ("b", "C", "a", "é", "d_1"):
        await builders.make_flow(storage, name)
    names: list[str] = []
    page = PageRequest(size=2)
    while True:
        found = await storage.read(lambda t, p=page: t.flows.list(FlowFilter(), p))
        names += [flow.name for flow in found.items]
        if found.next is None:
            break
        page = PageRequest(size=2, after=found.next)
    assert names == ["C", "a", "b", "d_1", "é"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (FlowFilter(name_contains="LOAD"), ["load", "unload"]),
        (FlowFilter(name_contains="_"), []),
        (FlowFilter(name_contains="%"), []),
        (FlowFilter(tags=("x",)), ["load"]),
        (FlowFilter(tags=("x", "y")), ["load"]),
        (FlowFilter(tags=("x", "z")), []),
    ],
)
async def test_flows_are_filtered(storage: Storage, where: FlowFilter, expected: list[str]) -> None:
    load = await builders.make_flow(storage, "load")
    await builders.make_flow(storage, "unload")
    await builders.make_flow(storage, "extract")
    await storage.write(lambda t: t.flows.update(dataclasses.replace(load, tags=("x", "y"))))
    page = await storage.read(lambda t: t.flows.list(where, ALL))
    assert [flow.name for flow in page.items] == expected


async def test_a_deployment_is_stored_as_it_is(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    deployment = builders.deployment(
        flow,
        entrypoint="flows.py:etl",
        path="/srv",
        description="each night",
        version="3",
        tags=("a", "b"),
        labels={"k": "v"},
        parameters={"n": "12345678901234567890", "text": '"ü"'},
        parameter_schema='{"type": "object"}',
        enforce_parameter_schema=True,
        schedules=(
            Schedule(id=ids.new_id(), slug="cron", rule=CronRule(expression="0 4 * * *")),
            Schedule(
                id=ids.new_id(),
                slug="interval",
                rule=IntervalRule(
                    interval_seconds=1.5, anchor_time=at(0.000001), time_zone="Europe/Berlin"
                ),
                paused=True,
                parameters={"n": "1"},
                max_scheduled_runs=3,
            ),
            Schedule(id=ids.new_id(), slug="rrule", rule=RecurrenceRule(rule="FREQ=DAILY")),
        ),
        paused=True,
        concurrency_limit=2,
        collision_strategy=CollisionStrategy.CANCEL_NEW,
        work_pool_name="gpu",
        work_queue_name="fast",
        job_variables={"image": '"x"'},
        pull_steps=(PullStep(name="git_clone", inputs={"url": '"u"'}),),
        on_infrastructure_loss=InfrastructureLossPolicy(
            action=InfrastructureLossAction.RESCHEDULE, max_reschedules=5
        ),
    )
    await storage.write(lambda t: t.deployments.insert(deployment))
    assert await storage.read(lambda t: t.deployments.get(deployment.id)) == deployment
    named = await storage.read(lambda t: t.deployments.get_by_name("etl", "nightly"))
    assert named == deployment
    assert await storage.read(lambda t: t.deployments.get_by_name("etl", "daily")) is None


async def test_the_name_of_a_deployment_is_taken_within_its_flow_only(storage: Storage) -> None:
    etl, report = await builders.make_flow(storage), await builders.make_flow(storage, "report")
    await storage.write(lambda t: t.deployments.insert(builders.deployment(etl)))
    await storage.write(lambda t: t.deployments.insert(builders.deployment(report)))
    with pytest.raises(errors.AlreadyExists, match="etl/nightly"):
        await storage.write(lambda t: t.deployments.insert(builders.deployment(etl)))


async def test_a_deployment_is_replaced_only_over_the_etag_that_was_read(
    storage: Storage,
) -> None:
    flow = await builders.make_flow(storage)
    first = builders.deployment(flow, etag="1")
    second = dataclasses.replace(first, paused=True, etag="2")
    await storage.write(lambda t: t.deployments.insert(first))
    assert await storage.write(lambda t: t.deployments.replace(second, expected_etag="1"))
    assert not await storage.write(lambda t: t.deployments.replace(first, expected_etag="1"))
    assert await storage.read(lambda t: t.deployments.get(first.id)) == second


async def test_deployments_are_listed_by_flow_and_name(storage: Storage) -> None:
    etl, report = await builders.make_flow(storage), await builders.make_flow(storage, "a")
    for flow, name in ((etl, "x"), (report, "y"), (etl, "b")):
        deployment = builders.deployment(flow, name)
        await storage.write(lambda t, d=deployment: t.deployments.insert(d))
    first = await storage.read(
        lambda t: t.deployments.list(DeploymentFilter(), PageRequest(size=2))
    )
    rest = await storage.read(
        lambda t: t.deployments.list(DeploymentFilter(), PageRequest(size=2, after=first.next))
    )
    found = [*first.items, *rest.items]
    assert [one.full_name for one in found] == ["a/y", "etl/b", "etl/x"]
    assert rest.next is None


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (DeploymentFilter(name_contains="IGHT"), {"nightly"}),
        (DeploymentFilter(name_contains="L/dai"), {"daily"}),
        (DeploymentFilter(work_pool_name="gpu"), {"nightly"}),
        (DeploymentFilter(paused=True), {"daily"}),
        (DeploymentFilter(paused=False), {"nightly"}),
        (DeploymentFilter(tags=("x",)), {"daily"}),
    ],
)
async def test_deployments_are_filtered(
    storage: Storage, where: DeploymentFilter, expected: set[str]
) -> None:
    flow = await builders.make_flow(storage)
    for deployment in (
        builders.deployment(flow, "nightly", work_pool_name="gpu"),
        builders.deployment(flow, "daily", paused=True, tags=("x",)),
    ):
        await storage.write(lambda t, d=deployment: t.deployments.insert(d))
    page = await storage.read(lambda t: t.deployments.list(where, ALL))
    assert {found.name for found in page.items} == expected
    of_flow = DeploymentFilter(flow_ids=(flow.id,))
    assert len((await storage.read(lambda t: t.deployments.list(of_flow, ALL))).items) == 2
    of_other = DeploymentFilter(flow_ids=(ids.new_id(),))
    assert not (await storage.read(lambda t: t.deployments.list(of_other, ALL))).items


async def test_only_deployments_that_run_by_themselves_are_scheduled(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    active = Schedule(id=ids.new_id(), slug="s", rule=CronRule(expression="* * * * *"))
    resting = dataclasses.replace(active, paused=True)
    for deployment in (
        builders.deployment(flow, "active", schedules=(resting, active)),
        builders.deployment(flow, "paused", schedules=(active,), paused=True),
        builders.deployment(flow, "resting", schedules=(resting,)),
        builders.deployment(flow, "by-hand"),
    ):
        await storage.write(lambda t, d=deployment: t.deployments.insert(d))
    page = await storage.read(lambda t: t.deployments.list_scheduled(ALL))
    assert [found.name for found in page.items] == ["active"]


async def test_runs_outlive_their_deployment(storage: Storage) -> None:
    flow = await builders.make_flow(storage)
    deployment = builders.deployment(flow)
    await storage.write(lambda t: t.deployments.insert(deployment))
    run = await builders.store_run(storage, builders.ready_run(flow, deployment_id=deployment.id))
    assert run.deployment_name == "etl/nightly"
    await storage.write(lambda t: t.deployments.delete(deployment.id))
    assert await storage.read(lambda t: t.deployments.get(deployment.id)) is None
    left = await storage.read(lambda t: t.flow_runs.get(run.id))
    assert left is not None
    assert (left.deployment_id, left.deployment_name) == (None, None)


async def test_a_flow_is_deleted_with_all_that_belongs_to_it(storage: Storage) -> None:
    flow, other = await builders.make_flow(storage), await builders.make_flow(storage, "other")
    deployment = builders.deployment(flow)
    await storage.write(lambda t: t.deployments.insert(deployment))
    run = await builders.engine_run(storage, flow)
    kept = await builders.engine_run(storage, other)
    task = builders.task_run(run)
    await storage.append(builders.batch(run, [task]))
    await storage.write(lambda t: t.flows.delete(flow.id))
    assert await storage.read(lambda t: t.flows.get(flow.id)) is None
    assert await storage.read(lambda t: t.deployments.get(deployment.id)) is None
    assert await storage.read(lambda t: t.task_runs.get(task.id)) is None
    assert not await storage.read(lambda t: t.flow_runs.states(run.id))
    page = await storage.read(
        lambda t: t.flow_runs.list(FlowRunFilter(), FlowRunOrder.ID_DESC, ALL)
    )
    assert [found.id for found in page.items] == [kept.id]
