"""``headgate flow-run retry`` and ``execute``: who executes the run, and from where."""

from __future__ import annotations

from typing import Any

import pytest

from headgate import states
from headgate.client.schemas import OrchestrationResult
from headgate.core import errors, runs
from headgate.core.states import StateType, Verdict, VerdictKind
from headgate.engine import claimed
from tests.unit.cli.conftest import RUN_ID, Command, FakeClient, a_deployment, a_run, a_state

FAILED = a_state(StateType.FAILED)
WAITS = a_state(StateType.SCHEDULED, name="AwaitingRetry")


class Executed:
    """Takes the place of the engine, and remembers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[tuple[str, str | None]] = []
        self.executed: list[str] = []
        self.ends = states.Completed()
        monkeypatch.setattr(claimed, "load_flow", self._load)
        monkeypatch.setattr(claimed, "execute", self._execute)

    def _load(self, entrypoint: str, path: str | None = None) -> Any:
        self.loaded.append((entrypoint, path))
        return self

    def _execute(self, flow: Any, flow_run_id: str) -> Any:
        assert flow is self
        self.executed.append(flow_run_id)
        return self.ends


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Executed:
    return Executed(monkeypatch)


def answer(
    client: FakeClient, run: runs.FlowRun, kind: VerdictKind = VerdictKind.ACCEPT, reason: str = ""
) -> None:
    client.answers["read_flow_run"] = run
    after = a_run(state=WAITS, deployment_id=run.deployment_id)
    verdict = Verdict(kind=kind, state=after.state, reason=reason)
    client.answers["retry_flow_run"] = OrchestrationResult(verdict=verdict, flow_run=after)


def test_a_run_of_a_deployment_goes_to_a_runner(
    headgate: Command, client: FakeClient, engine: Executed
):
    answer(client, a_run(state=FAILED, deployment_id="d"))
    assert "AwaitingRetry" in headgate("flow-run", "retry", RUN_ID)
    assert client.asked("retry_flow_run") == ((RUN_ID,), {"force": False})
    assert engine.executed == []


def test_a_run_by_hand_is_executed_here_from_where_its_flow_was(
    headgate: Command, client: FakeClient, engine: Executed
):
    labels = {"headgate.entrypoint": "/home/ann/flows.py:etl"}
    answer(client, a_run(state=FAILED, labels=labels))
    headgate("flow-run", "retry", RUN_ID, "--force")
    assert client.asked("retry_flow_run") == ((RUN_ID,), {"force": True})
    assert engine.loaded == [("/home/ann/flows.py:etl", None)]
    assert engine.executed == [RUN_ID]


def test_an_entrypoint_that_is_given_wins_and_the_exit_code_tells_the_end(
    headgate: Command, client: FakeClient, engine: Executed
):
    labels = {"headgate.entrypoint": "/home/ann/flows.py:etl"}
    answer(client, a_run(state=FAILED, labels=labels))
    engine.ends = states.Failed()
    headgate("flow-run", "retry", RUN_ID, "--entrypoint", "new.py:etl", code=1)
    assert engine.loaded == [("new.py:etl", None)]


def test_a_run_by_hand_of_which_nobody_knows_the_file_waits_to_be_executed(
    headgate: Command, client: FakeClient, engine: Executed
):
    answer(client, a_run(state=FAILED))
    assert f"headgate flow-run execute {RUN_ID}" in headgate("flow-run", "retry", RUN_ID)
    assert engine.executed == []


def test_a_refusal_is_an_error(headgate: Command, client: FakeClient, engine: Executed):
    reason = "The run has completed; ask for a new run instead."
    answer(client, a_run(state=FAILED), VerdictKind.ABORT, reason)
    with pytest.raises(errors.FailedPrecondition, match="completed"):
        headgate("flow-run", "retry", RUN_ID)
    assert engine.executed == []


def test_a_run_that_only_its_first_process_can_execute_stays_as_it_is(
    headgate: Command, client: FakeClient, engine: Executed
):
    labels = {"headgate.entrypoint": "f.py:etl", "headgate.parameters-as-repr": "connection"}
    answer(client, a_run(state=FAILED, labels=labels))
    with pytest.raises(errors.ParameterTypeError, match="connection"):
        headgate("flow-run", "retry", RUN_ID)
    assert [name for name, _, _ in client.calls] == ["read_flow_run"]


def test_the_runs_of_a_deployment_take_no_entrypoint(
    headgate: Command, client: FakeClient, engine: Executed
):
    answer(client, a_run(state=FAILED, deployment_id="d"))
    said = headgate("flow-run", "retry", RUN_ID, "--entrypoint", "f.py:etl", code=2)
    assert "--entrypoint" in said
    assert [name for name, _, _ in client.calls] == ["read_flow_run"]


def test_execute_takes_the_code_from_the_deployment(
    headgate: Command, client: FakeClient, engine: Executed
):
    client.answers["read_flow_run"] = a_run(state=WAITS, deployment_id="d")
    client.answers["read_deployment"] = a_deployment(entrypoint="flows.py:etl", path="/srv")
    headgate("flow-run", "execute", RUN_ID)
    assert engine.loaded == [("flows.py:etl", "/srv")]
    assert engine.executed == [RUN_ID]


def test_execute_needs_to_know_where_the_flow_is(
    headgate: Command, client: FakeClient, engine: Executed
):
    client.answers["read_flow_run"] = a_run(state=WAITS)
    with pytest.raises(errors.MissingFlowError, match="--entrypoint"):
        headgate("flow-run", "execute", RUN_ID)


def test_a_flow_that_is_not_where_it_was_is_asked_for(headgate: Command, client: FakeClient):
    labels = {"headgate.entrypoint": "/gone/flows.py:etl"}
    answer(client, a_run(state=FAILED, labels=labels))
    told = r"was at /gone/flows\.py:etl.*--entrypoint"
    for command in ("retry", "execute"):
        with pytest.raises(errors.MissingFlowError, match=told):
            headgate("flow-run", command, RUN_ID)
    with pytest.raises(errors.MissingFlowError, match=r"There is no file /else\.py"):
        headgate("flow-run", "retry", RUN_ID, "--entrypoint", "/else.py:etl")
    assert {name for name, _, _ in client.calls} == {"read_flow_run"}
