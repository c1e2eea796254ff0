from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest

from headgate.core import errors, runs
from headgate.core.states import StateType
from tests.unit.cli.conftest import (
    NOW,
    RUN_ID,
    Command,
    FakeClient,
    a_run,
    a_state,
    a_transition,
)

OTHER_ID = RUN_ID.replace("8000", "9000")


def a_line(message: str = "hello", level: int = 20) -> runs.LogRecord:
    return runs.LogRecord(
        flow_run_id=RUN_ID, timestamp=NOW, level=level, logger="headgate", message=message, id=1
    )


def test_ls_shows_where_runs_stand(headgate: Command, client: FakeClient):
    client.answers["read_flow_runs"] = [
        a_run(state=a_state(StateType.COMPLETED)),
        a_run(
            state=a_state(StateType.SCHEDULED, name="Late"),
            expected_start_time=NOW + timedelta(hours=2),
        ),
    ]
    head, done, late = headgate("flow-run", "ls").splitlines()
    assert head.split() == ["ID", "FLOW", "NAME", "STATE", "WHEN"]
    assert done.split()[:4] == [RUN_ID, "etl", "brave-otter", "Completed"]
    assert late.endswith("in 2 h")


def test_ls_filters_on_the_server(headgate: Command, client: FakeClient):
    client.answers["read_flow_runs"] = []
    headgate("flow-run", "ls", "--state-type", "failed", "--flow-name", "etl", "-n", "5")
    options = client.asked("read_flow_runs")[1]
    assert options["state_types"] == [StateType.FAILED]
    assert options["flow_name"] == "etl"
    assert options["limit"] == 5


def test_a_run_is_found_by_name(headgate: Command, client: FakeClient):
    client.answers["read_flow_runs"] = [a_run(), a_run(name="brave-otter-2", id=OTHER_ID)]
    client.answers["count_task_runs"] = [runs.StateCount(type="FAILED", name="Failed", count=2)]
    shown = headgate("flow-run", "inspect", "brave-otter")
    assert RUN_ID in shown
    assert "2 Failed" in shown


def test_a_name_of_several_runs_is_refused_with_their_ids(headgate: Command, client: FakeClient):
    client.answers["read_flow_runs"] = [a_run(), a_run(id=OTHER_ID)]
    with pytest.raises(errors.InvalidArgument, match=OTHER_ID):
        headgate("flow-run", "inspect", "brave-otter")


def test_a_name_of_no_run_is_refused(headgate: Command, client: FakeClient):
    client.answers["read_flow_runs"] = []
    with pytest.raises(errors.NotFound, match="nobody"):
        headgate("flow-run", "logs", "nobody")


def test_inspect_as_json_is_the_record(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run()
    shown = json.loads(headgate("flow-run", "inspect", RUN_ID.upper(), "-o", "json"))
    assert shown["id"] == RUN_ID
    assert client.asked("read_flow_run") == ((RUN_ID,), {})


def test_logs_show_those_of_subflows_too(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run()
    client.answers["read_flow_runs"] = []
    client.answers["read_logs"] = [a_line()]
    said = headgate("flow-run", "logs", RUN_ID, "--level", "warning", "--reverse", "-n", "9")
    assert said.endswith("| INFO    | Flow run 'brave-otter' - hello\n")
    assert client.asked("read_flow_runs")[1] == {"parent_flow_run_id": RUN_ID}
    assert client.asked("read_logs")[1] == {
        "flow_run_ids": [RUN_ID],
        "level_min": 30,
        "descending": True,
        "limit": 9,
    }


def test_logs_name_the_task_that_wrote_them(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run()
    client.answers["read_flow_runs"] = []
    client.answers["read_logs"] = [
        dataclasses.replace(a_line(), task_run_id=task) for task in ("t", "t", "gone")
    ]
    client.answers["read_task_runs"] = [a_run(id="t", name="load-0")]
    client.answers["read_task_run"] = errors.NotFound("task run", "gone")
    first, second, last = headgate("flow-run", "logs", RUN_ID).splitlines()
    assert "Task run 'load-0' - hello" in first
    assert "Task run 'load-0' - hello" in second
    assert "gone - hello" in last
    assert client.asked("read_task_runs")[1] == {"ids": ["gone", "t"]}


def test_logs_can_be_followed(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run()
    client.answers["tail_logs"] = iter([a_line("one"), a_line("two")])
    assert len(headgate("flow-run", "logs", RUN_ID, "--follow").splitlines()) == 2


def test_followed_logs_have_no_end_to_count_from(headgate: Command):
    assert "--follow" in headgate("flow-run", "logs", RUN_ID, "-f", "-n", "3", code=2)


def test_cancel_says_what_became_of_it(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run()
    client.answers["cancel_flow_run"] = a_run(state=a_state(StateType.CANCELLING))
    assert "Cancelling" in headgate("flow-run", "cancel", RUN_ID)
    client.answers["cancel_flow_run"] = a_run(state=a_state(StateType.CANCELLED))
    assert "Cancelled" in headgate("flow-run", "cancel", RUN_ID)


def test_cancel_of_a_run_that_has_ended_is_refused(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run(state=a_state(StateType.COMPLETED))
    client.answers["cancel_flow_run"] = a_run(state=a_state(StateType.COMPLETED))
    with pytest.raises(errors.FailedPrecondition, match="Completed"):
        headgate("flow-run", "cancel", RUN_ID)


def test_watch_shows_transitions_to_the_end(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run(state=a_state(StateType.COMPLETED))
    client.answers["watch"] = [
        a_transition(StateType.RUNNING, 7),
        a_transition(
            StateType.COMPLETED, 8, kind=runs.RunKind.TASK_RUN, run_id="t", run_name="load"
        ),
        a_transition(StateType.COMPLETED, 9),
    ]
    first, task, last = headgate("flow-run", "watch", RUN_ID).splitlines()
    assert "Running" in first
    assert "task  load" in task
    assert "Completed" in last


def test_watch_as_json_is_a_line_for_each_transition(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run(state=a_state(StateType.COMPLETED))
    client.answers["watch"] = [
        a_transition(StateType.RUNNING, 7),
        a_transition(StateType.COMPLETED, 8),
    ]
    lines = headgate("flow-run", "watch", RUN_ID, "-o", "json").splitlines()
    assert [json.loads(line)["state"]["name"] for line in lines] == ["Running", "Completed"]


def test_a_subflow_is_watched_by_itself(headgate: Command, client: FakeClient):
    client.answers["read_flow_run"] = a_run(
        root_flow_run_id=OTHER_ID, state=a_state(StateType.COMPLETED)
    )
    client.answers["watch"] = [a_transition(StateType.COMPLETED, 7)]
    headgate("flow-run", "watch", RUN_ID)
    assert client.asked("watch")[1] == {
        "after_revision": 6,
        "root_flow_run_ids": [],
        "flow_run_ids": [RUN_ID],
    }
