from __future__ import annotations

import json

import pytest

from headgate.core import deployments, errors
from tests.unit.cli.conftest import NOW, Command, FakeClient, a_pool


def test_ls_counts_the_runners_of_each_pool(headgate: Command, client: FakeClient):
    runner = deployments.Runner(
        id="r",
        name="here",
        work_pool_names=("default",),
        work_queue_names=(),
        online=True,
        slots=10,
        leases=0,
        last_beat_time=NOW,
        sdk="python",
    )
    client.answers["read_work_pools"] = [
        a_pool(state=deployments.WorkPoolState.READY),
        a_pool(name="gpu", concurrency_limit=2),
    ]
    client.answers["read_runners"] = [runner]
    _, default, gpu = headgate("work-pool", "ls").splitlines()
    assert default.split() == ["default", "process", "ready", "1"]
    assert gpu.split() == ["gpu", "process", "not", "ready", "0", "2"]
    shown = json.loads(headgate("work-pool", "ls", "-o", "json"))
    assert [pool["name"] for pool in shown] == ["default", "gpu"]


def test_create_says_how_to_serve_the_pool(headgate: Command, client: FakeClient):
    client.answers["create_work_pool"] = a_pool(name="gpu")
    assert "runner --pool gpu" in headgate("work-pool", "create", "gpu", "--limit", "2")
    assert client.asked("create_work_pool")[1]["concurrency_limit"] == 2


def test_create_of_a_pool_that_is_there_is_told(headgate: Command, client: FakeClient):
    client.answers["create_work_pool"] = errors.AlreadyExists("work pool", "gpu")
    with pytest.raises(errors.AlreadyExists, match="gpu"):
        headgate("work-pool", "create", "gpu")


@pytest.mark.parametrize(("verb", "paused"), [("pause", True), ("resume", False)])
def test_pause_and_resume(headgate: Command, client: FakeClient, verb: str, paused: bool):
    client.answers["update_work_pool"] = a_pool()
    assert "default" in headgate("work-pool", verb, "default")
    assert client.asked("update_work_pool") == (("default",), {"paused": paused})
