"""Runs that are made without being called, and task runs that people end."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import click.testing
import pytest

from headgate import flow, settings, task
from headgate.cli import main
from headgate.client.orchestration import SyncHeadgateClient, get_client
from headgate.core import errors
from headgate.core.states import StateType, VerdictKind
from headgate.engine import claimed
from headgate.runtime import flow_run
from headgate.states import AwaitingRetry, Cancelled, Completed, Failed, Paused, Running, Scheduled

called: list[Any] = []
broken = [True]


@pytest.fixture(autouse=True)
def nothing_yet() -> None:
    called.clear()
    broken[:] = [True]


@task
def before(x: int) -> int:
    called.append(("before", x))
    return x


@task
def weak(x: int) -> int:
    called.append(("weak", x))
    if broken[0]:
        msg = "no"
        raise ValueError(msg)
    return x * 2


@task
def outer(x: int) -> int:
    return weak(x) + 1


@flow(durable=True)
def lasting(x: int = 1) -> int:
    return before(x) + weak(x) + before(x + 1)


@flow
def passing(x: int = 1) -> int:
    return weak(x)


@flow(durable=True)
def nested(x: int = 1) -> int:
    return outer(x)


@flow(version="3")
def adding(a: int, b: int = 2) -> int:
    called.append((a, b))
    return a + b


# --- Runs -----------------------------------------------------------------------------------------


def test_a_run_that_was_made_is_executed_by_whoever_has_its_code(server: SyncHeadgateClient):
    made = server.create_flow_run(adding, "brave-otter", {"a": 40}, tags=["x"], labels={"k": "v"})
    assert (made.name, made.state.name, made.flow_name) == ("brave-otter", "Pending", "adding")
    assert (made.flow_version, made.tags, made.labels["k"]) == ("3", ("x",), "v")
    assert made.labels["headgate.entrypoint"].endswith("test_runs_by_hand.py:adding")
    state = claimed.execute(adding, made.id)
    assert state.is_completed()
    assert called == [(40, 2)]
    after = server.read_flow_run(made.id)
    assert (after.state.name, after.run_count, after.name) == ("Completed", 1, "brave-otter")
    with pytest.raises(errors.FailedPrecondition, match="only one that waits can be taken"):
        claimed.execute(adding, made.id)


@pytest.mark.parametrize("state", [Scheduled(), AwaitingRetry(), Running(), Completed(), Failed()])
def test_a_run_begins_in_the_state_that_was_given(server: SyncHeadgateClient, state: Any):
    made = server.create_flow_run(adding, parameters={"a": 1}, state=state)
    assert (made.state.type, made.state.name, made.state.id) == (state.type, state.name, state.id)
    if state.is_scheduled():
        assert claimed.execute(adding, made.id).is_completed()
    else:
        with pytest.raises(errors.FailedPrecondition, match=f"is {state.name}"):
            claimed.execute(adding, made.id)


def test_a_state_may_bring_a_result(server: SyncHeadgateClient):
    made = server.create_flow_run("by hand", state=Completed(data={"rows": 3}))
    assert server.read_flow_run(made.id).state.result() == {"rows": 3}
    other = server.create_flow_run("by hand", state=Running())
    result = server.set_flow_run_state(other.id, Failed(data=ValueError("no")))
    assert result.state.name == "Failed"
    with pytest.raises(ValueError, match="no"):
        server.read_flow_run(other.id).state.result()
    third = server.create_flow_run("by hand", state=Running())
    with pytest.raises(errors.InvalidArgument, match=r"state\.data.*bigger than 16384 bytes"):
        server.set_flow_run_state(third.id, Completed(data="x" * 20_000))


def test_a_state_that_was_read_can_be_proposed_for_another_run(server: SyncHeadgateClient):
    read = server.create_flow_run("by hand", state=Completed()).state
    made = server.create_flow_run("by hand", state=read)
    with pytest.raises(errors.MissingResult):
        server.read_flow_run(made.id).state.result()


def test_a_repeated_request_makes_one_run(server: SyncHeadgateClient):
    first = server.create_flow_run(adding, idempotency_key="once")
    assert server.create_flow_run(adding, idempotency_key="once").id == first.id
    assert server.create_flow_run(adding).id != first.id


def test_what_cannot_begin_is_refused(server: SyncHeadgateClient):
    with pytest.raises(errors.InvalidArgument, match=r"state\.type"):
        server.create_flow_run(adding, state=Paused())
    with pytest.raises(errors.ParameterTypeError, match="'a' cannot be sent"):
        server.create_flow_run(adding, parameters={"a": threading.Lock()})


async def test_a_coroutine_makes_one(server: SyncHeadgateClient):
    async with get_client() as client:
        made = await client.create_flow_run(adding, parameters={"a": 1})
        done = await client.set_flow_run_state(made.id, Running())
    assert done.state.type is StateType.RUNNING


@pytest.mark.slow
def test_the_command_executes_a_run_that_was_made(
    server: SyncHeadgateClient, api_url: str, tmp_path: Path
):
    made = server.create_flow_run(adding, parameters={"a": 40})
    done = subprocess.run(
        [sys.executable, "-m", "headgate.cli", "flow-run", "execute", made.id],
        env={**os.environ, "HEADGATE_API_URL": api_url, "HEADGATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert server.read_flow_run(made.id).state.name == "Completed"


# --- Task runs ------------------------------------------------------------------------------------


def failed(server: SyncHeadgateClient, which: Any) -> tuple[str, str]:
    """Have a flow fail; return the ids of its run and of the task run that failed first."""
    run_id = which(return_state=True).flow_run_id
    found = server.read_task_runs(flow_run_ids=[run_id], state_names=["Failed"], descending=True)
    return run_id, found[0].id


@pytest.mark.parametrize("given", [40, None, {"rows": [1]}])
def test_a_durable_flow_goes_on_with_the_result_that_a_person_gave(
    server: SyncHeadgateClient, given: Any
):
    @flow(durable=True)
    def returning() -> Any:
        before(1)
        value = weak(1)
        before(2)
        return value

    run_id, task_run_id = failed(server, returning)
    done = server.set_task_run_state(task_run_id, Completed(data=given, message="Done by Ann."))
    assert done.verdict.kind is VerdictKind.ACCEPT
    assert done.task_run.state.result() == given
    called.clear()
    server.retry_flow_run(run_id)
    state = claimed.execute(returning, run_id)
    assert state.result() == given
    assert called == [("before", 2)]
    stored = server.read_task_run(task_run_id)
    assert (stored.state.message, stored.end_time is not None) == ("Done by Ann.", True)
    history = [state.name for state in server.read_task_run_states(task_run_id)]
    assert history == ["Running", "Failed", "Completed"]


def test_the_attempts_of_one_process_do_not_matter(server: SyncHeadgateClient):
    @flow(durable=True, retries=1)
    def twice() -> int:
        return before(1) + weak(1)

    run_id, task_run_id = failed(server, twice)
    server.set_task_run_state(task_run_id, Completed(data=5))
    server.retry_flow_run(run_id)
    assert claimed.execute(twice, run_id).result() == 6


def test_a_task_within_a_task_is_completed_by_hand(server: SyncHeadgateClient):
    run_id, task_run_id = failed(server, nested)
    assert server.read_task_run(task_run_id).parent_task_run_id is not None
    server.set_task_run_state(task_run_id, Completed(data=5))
    server.retry_flow_run(run_id)
    assert claimed.execute(nested, run_id).result() == 6


def test_a_flow_that_is_not_durable_calls_the_task_again(server: SyncHeadgateClient):
    run_id, task_run_id = failed(server, passing)
    done = server.set_task_run_state(task_run_id, Completed(data=5))
    assert done.state.name == "Completed"
    assert done.task_run.state.details.call_key is None
    server.retry_flow_run(run_id)
    broken[:] = [False]
    assert claimed.execute(passing, run_id).is_completed()
    assert called == [("weak", 1), ("weak", 1)]


def test_no_result_is_thrown_away_and_only_ends_are_taken(server: SyncHeadgateClient):
    _, task_run_id = failed(server, lasting)
    server.set_task_run_state(task_run_id, Completed(data=5))
    for state in (Failed(), Cancelled(), Completed(data=6)):
        refused = server.set_task_run_state(task_run_id, state)
        assert refused.verdict.kind is VerdictKind.ABORT
        assert "with a result" in refused.verdict.reason
    refused = server.set_task_run_state(task_run_id, Running())
    assert "Running is no end" in refused.verdict.reason
    assert server.read_task_run(task_run_id).state.result() == 5


def test_a_request_that_comes_again_is_answered_again(server: SyncHeadgateClient):
    _, task_run_id = failed(server, lasting)
    state = Completed(data=5)
    for _ in range(2):
        done = server.set_task_run_state(task_run_id, state)
        assert done.verdict.kind is VerdictKind.ACCEPT
        assert done.state.id == state.id
    assert len(server.read_task_run_states(task_run_id)) == 3


def test_nothing_is_changed_behind_the_back_of_a_run_that_goes_on(server: SyncHeadgateClient):
    verdicts: list[Any] = []

    @flow(durable=True)
    def busy() -> None:
        weak(1, return_state=True)
        found = server.read_task_runs(name_contains="weak", state_names=["Failed"], descending=True)
        verdicts.append(server.set_task_run_state(found[0].id, Completed(data=1)).verdict)

    busy()
    assert verdicts[0].kind is VerdictKind.ABORT
    assert "is being executed" in verdicts[0].reason


def test_the_command_completes_a_task_run(server: SyncHeadgateClient, api_url: str):
    def run(*arguments: str) -> click.testing.Result:
        with settings.temporary_settings({"api_url": api_url}):
            return click.testing.CliRunner().invoke(main.cli, ["task-run", *arguments])

    run_id, task_run_id = failed(server, lasting)
    listed = run("ls", "--flow-run", run_id, "--state", "Failed")
    assert task_run_id in listed.output
    done = run("set-state", task_run_id, "completed", "--result", "40", "--message", "By Ann.")
    assert done.exit_code == 0, done.output
    assert f"headgate flow-run retry {run_id}" in done.output
    assert "By Ann." in run("inspect", task_run_id).output
    server.retry_flow_run(run_id)
    assert claimed.execute(lasting, run_id).result() == 43


def test_a_task_run_of_other_means_is_recorded(server: SyncHeadgateClient):
    run = server.create_flow_run("elsewhere", state=Running())
    made = server.create_task_run(weak, run.id, "7", extra_tags=["x"], state=Running())
    assert (made.name, made.task_key, made.tags) == ("weak-7", weak.task_key, ("x",))
    assert made.state.name == "Running"
    again = server.create_task_run(weak, run.id, id=made.id)
    assert again.id == made.id
    done = server.set_task_run_state(made.id, Completed(data=[1]))
    assert done.task_run.state.result() == [1]
    other = server.create_task_run("by-key", run.id, state=Failed(data=ValueError("no")))
    with pytest.raises(ValueError, match="no"):
        server.read_task_run(other.id).state.result()
    assert {run.id for run in server.read_task_runs(flow_run_ids=[run.id])} == {made.id, other.id}
    server.cancel_flow_run(run.id)


def test_a_deleted_call_of_a_durable_flow_is_made_again(server: SyncHeadgateClient):
    run_id, _ = failed(server, lasting)
    [done] = server.read_task_runs(flow_run_ids=[run_id], state_names=["Completed"])
    assert server.set_task_run_name(done.id, "first").name == "first"
    server.delete_task_run(done.id)
    broken[:] = [False]
    server.retry_flow_run(run_id)
    assert claimed.execute(lasting, run_id).is_completed()
    assert called == [("before", 1), ("weak", 1), ("before", 1), ("weak", 1), ("before", 2)]


def test_a_task_run_of_a_run_that_goes_on_is_not_deleted(server: SyncHeadgateClient):
    @flow(durable=True)
    def busy() -> None:
        before(1)
        [found] = server.read_task_runs(flow_run_ids=[flow_run.id or ""])
        server.delete_task_run(found.id)

    with pytest.raises(errors.FailedPrecondition, match="is being executed"):
        busy()
