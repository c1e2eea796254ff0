"""What clients are asked for by filters, orders and actions is checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from headgate.api.v1 import flow_run_service_pb2, log_service_pb2
from headgate.client.calls import (
    artifacts,
    concurrency_limits,
    deployments,
    flow_runs,
    flows,
    logs,
    task_runs,
    variables,
    work_pools,
)
from headgate.client.schemas import actions
from headgate.client.schemas.filters import (
    FlowFilter,
    FlowRunFilter,
    LogFilter,
    TaskRunFilterStateType,
)
from headgate.core import errors

RUN = "00000000-0000-0000-0000-000000000001"
LINE = {"name": "mine", "message": "hello", "flow_run_id": RUN}
OF_FLOWS: Any = FlowFilter.model_validate({"name": {"like_": "x"}})
A_DICTIONARY: Any = {"name": {"like_": "x"}}
A_NUMBER: Any = 3


def sent(steps: Any) -> Any:
    """Return the first request of a call."""
    return next(steps).request


@pytest.mark.parametrize(
    "wrong", [A_DICTIONARY, OF_FLOWS, LogFilter()], ids=["dict", "flow", "log"]
)
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda wrong: flow_runs.read_flow_runs(flow_run_filter=wrong), id="flow runs"),
        pytest.param(lambda wrong: flow_runs.read_flow_runs(work_queue_filter=wrong), id="queues"),
        pytest.param(lambda wrong: task_runs.read_task_runs(task_run_filter=wrong), id="task runs"),
        pytest.param(
            lambda wrong: deployments.read_deployments(deployment_filter=wrong), id="deployments"
        ),
        pytest.param(lambda wrong: artifacts.read_artifacts(artifact_filter=wrong), id="artifacts"),
        pytest.param(
            lambda wrong: artifacts.read_latest_artifacts(artifact_filter=wrong),
            id="latest artifacts",
        ),
        pytest.param(
            lambda wrong: work_pools.read_work_pools(work_pool_filter=wrong), id="work pools"
        ),
    ],
)
def test_a_filter_on_other_records_is_refused(call: Callable[[Any], Any], wrong: Any):
    with pytest.raises(errors.OptionTypeError, match="is no filter of these; use a "):
        next(call(wrong))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: flows.read_flows(flow_filter=A_DICTIONARY), id="flows"),
        pytest.param(lambda: logs.read_logs(A_DICTIONARY), id="log lines"),
    ],
)
def test_a_dictionary_is_no_filter(call: Callable[[], Any]):
    with pytest.raises(errors.OptionTypeError, match="is no filter of these; use a "):
        next(call())


@pytest.mark.parametrize("given", ["failed", "FAILED"])
def test_types_of_states_are_asked_for_however_they_are_written(given: str):
    wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": [given]}}})
    request = sent(flow_runs.read_flow_runs(flow_run_filter=wanted))
    assert isinstance(request, flow_run_service_pb2.ListFlowRunsRequest)
    assert len(request.filter.state_types) == 1
    assert TaskRunFilterStateType.model_validate({"any_": [given]}).holds("FAILED")


def test_a_type_of_states_that_there_is_not_is_refused():
    with pytest.raises(pydantic.ValidationError, match="no type of states; use one of SCHEDULED"):
        FlowRunFilter.model_validate({"state": {"type": {"not_any_": ["BOGUS"]}}})


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: flows.read_flows(sort="BY_MOOD"), id="flows by mood"),
        pytest.param(lambda: logs.read_logs(sort="LEVEL_ASC"), id="log lines by level"),
        pytest.param(lambda: logs.read_logs(sort="BY_MOOD"), id="log lines by mood"),
        pytest.param(
            lambda: deployments.read_deployments(sort="BY_MOOD"), id="deployments by mood"
        ),
    ],
)
def test_an_order_that_there_is_not_is_refused_before_anything_is_read(call: Callable[[], Any]):
    with pytest.raises(errors.OptionValueError, match=r"There is no order '\w+' here"):
        next(call())


def test_the_order_of_log_lines_goes_before_the_flag():
    request = sent(logs.read_logs(sort="TIMESTAMP_ASC", descending=True))
    assert isinstance(request, log_service_pb2.ListLogsRequest)
    assert not request.descending
    assert sent(logs.read_logs(sort="TIMESTAMP_DESC")).descending
    assert sent(logs.read_logs(descending=True)).descending


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda **o: flows.read_flows(**o), id="flows"),
        pytest.param(lambda **o: flows.read_flows(**o, sort="NAME_ASC"), id="ordered flows"),
        pytest.param(lambda **o: flow_runs.read_flow_runs(**o), id="flow runs"),
        pytest.param(
            lambda **o: concurrency_limits.read_global_concurrency_limits(**o), id="limits"
        ),
    ],
)
@pytest.mark.parametrize("option", ["limit", "offset"])
def test_less_than_nothing_cannot_be_read_or_passed_over(call: Callable[..., Any], option: str):
    with pytest.raises(errors.OptionValueError, match=f"{option} is -3; use 0 or more"):
        next(call(**{option: -3}))
    with pytest.raises(errors.OptionTypeError, match=f"{option} is '3'; use a whole number"):
        next(call(**{option: "3"}))


POOL: Any = actions.WorkPoolCreate(name="pool")


@pytest.mark.parametrize("wrong", [A_DICTIONARY, POOL], ids=["dict", "pool"])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda wrong: work_pools.update_work_pool("pool", wrong), id="change a pool"),
        pytest.param(lambda wrong: variables.create_variable(wrong), id="make a variable"),
        pytest.param(
            lambda wrong: variables.update_variable(variable=wrong), id="change a variable"
        ),
        pytest.param(lambda wrong: artifacts.create_artifact(wrong), id="make an artifact"),
        pytest.param(lambda wrong: artifacts.update_artifact(RUN, wrong), id="change an artifact"),
        pytest.param(
            lambda wrong: deployments.update_deployment(RUN, wrong), id="change a deployment"
        ),
        pytest.param(
            lambda wrong: concurrency_limits.create_global_concurrency_limit(wrong),
            id="make a limit",
        ),
        pytest.param(
            lambda wrong: concurrency_limits.update_global_concurrency_limit("x", wrong),
            id="change a limit",
        ),
    ],
)
def test_another_action_than_the_call_is_for_is_refused(call: Callable[[Any], Any], wrong: Any):
    with pytest.raises(errors.OptionTypeError, match=r"is neither a name.*; use a \w+ of headgate"):
        next(call(wrong))


def test_an_action_names_the_nearest_field():
    make: Any = actions.WorkPoolCreate
    with pytest.raises(errors.OptionTypeError, match="has no option 'nam'; did you mean name"):
        make(nam="pool")


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ({**LINE, "levle": 20}, errors.OptionTypeError, "did you mean level"),
        ({**LINE, "timestamp": "yesterday"}, errors.OptionValueError, "timestamp is 'yesterday'"),
        (A_NUMBER, errors.OptionTypeError, "logs is 3"),
    ],
    ids=["name", "time", "number"],
)
def test_a_line_that_is_none_is_refused(line: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        next(logs.create_logs([line]))
