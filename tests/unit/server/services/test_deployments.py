"""Deployments that are deleted, with the runs that wait for a runner."""

from __future__ import annotations

import random
from typing import Any

import pytest

from headgate.core import errors, ids
from headgate_server.services import deployments
from headgate_server.services.deployments import DeploymentService
from headgate_server.services.scheduling import Scheduling
from tests.unit.server.services.test_loops import deployment, waiting_run
from tests.unit.server.services.test_orchestration import World


@pytest.fixture
async def world() -> World:
    made = World()
    await made.storage.start()
    return made


@pytest.fixture
def service(world: World) -> DeploymentService:
    return DeploymentService(
        world.storage,
        scheduling=Scheduling(new_id=ids.new_id, rng=random.Random(1)),
        orchestration=world.orchestration,
        new_id=ids.new_id,
    )


async def state_names(world: World, runs: list[Any]) -> set[str]:
    return {(await world.get(run.id)).state.name for run in runs}


async def test_whoever_is_killed_while_deleting_leaves_nothing_behind(
    world: World, service: DeploymentService, monkeypatch: pytest.MonkeyPatch
):
    made = await deployment(world)
    runs = [await waiting_run(world, deployment_id=made.id) for _ in range(3)]
    propose = world.orchestration.propose
    told: list[str] = []

    async def die(flow_run_id: str, *arguments: Any, **options: Any):
        if told:
            raise RuntimeError("killed")
        told.append(flow_run_id)
        return await propose(flow_run_id, *arguments, **options)

    monkeypatch.setattr(world.orchestration, "propose", die)
    with pytest.raises(RuntimeError):
        await service.delete(made.id)
    monkeypatch.undo()
    assert await service.get(made.id) == made  # so whoever asked knows that it is not done
    await service.delete(made.id)
    assert await state_names(world, runs) == {"Cancelled"}
    with pytest.raises(errors.NotFound):
        await service.get(made.id)


async def test_all_waiting_runs_are_cancelled_however_many_there_are(
    world: World, service: DeploymentService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(deployments, "_BATCH", 2)
    made = await deployment(world)
    runs = [await waiting_run(world, deployment_id=made.id) for _ in range(5)]
    await service.delete(made.id)
    assert await state_names(world, runs) == {"Cancelled"}


async def test_a_run_that_cannot_be_cancelled_does_not_keep_its_deployment(
    world: World, service: DeploymentService, monkeypatch: pytest.MonkeyPatch
):
    made = await deployment(world)
    run = await waiting_run(world, deployment_id=made.id)

    async def refuse(*_arguments: Any, **_options: Any) -> None:
        return None

    monkeypatch.setattr(world.orchestration, "propose", refuse)
    await service.delete(made.id)
    assert (await world.get(run.id)).deployment_id is None
