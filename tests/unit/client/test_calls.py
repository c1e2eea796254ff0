"""What calls send, and what they make of the answers; nothing travels."""

import importlib
import inspect
import pkgutil
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from headgate import parameters
from headgate.api.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    flow_pb2,
    flow_run_service_pb2,
    flow_service_pb2,
    log_pb2,
    log_service_pb2,
    verdict_pb2,
    work_pool_pb2,
    work_pool_service_pb2,
)
from headgate.client import calls, following, orchestration, rpc, schemas
from headgate.client.calls import deployments, flow_runs, flows, logs, work_pools
from headgate.core import errors, ids
from tests.unit.codec import records

MODULES = [
    importlib.import_module(f"{calls.__name__}.{module.name}")
    for module in pkgutil.iter_modules(calls.__path__)
]
RPCS = [
    value for module in MODULES for value in vars(module).values() if isinstance(value, rpc.Rpc)
]


def carry(steps: rpc.Steps[Any], *answers: Message) -> tuple[Any, list[Any]]:
    """Carry out a call with these answers; return its result and what it sent."""
    sent: list[Any] = []
    waiting = list(answers)
    try:
        sending = next(steps)
        while True:
            copy = type(sending.request)()
            copy.CopyFrom(sending.request)
            sent.append(copy)
            assert isinstance(sending.request, sending.rpc.request)
            answer = waiting.pop(0) if waiting else sending.rpc.response()
            sending = steps.send(answer)
    except StopIteration as end:
        return end.value, sent


@pytest.mark.parametrize(
    "each",
    [*RPCS, following.WATCH, following.TAIL, following.SUBSCRIBE, following.WATCH_LIMITS],
    ids=lambda r: r.path,
)
def test_a_method_is_one_of_the_contract(each: rpc.Rpc[Any, Any]):
    pool = descriptor_pool.Default()
    method = pool.FindServiceByName(f"{rpc.PACKAGE}.{each.service}").methods_by_name[each.method]
    assert each.path == f"/{method.containing_service.full_name}/{method.name}"
    assert method.input_type is each.request.DESCRIPTOR
    assert method.output_type is each.response.DESCRIPTOR


def test_every_unary_method_of_the_contract_has_a_call():
    pool = descriptor_pool.Default()
    services = {each.service for each in RPCS}
    unary = {
        f"/{rpc.PACKAGE}.{service}/{method.name}"
        for service in services
        for method in pool.FindServiceByName(f"{rpc.PACKAGE}.{service}").methods
        if not method.server_streaming
    }
    assert {each.path for each in RPCS} == unary
    assert len(services) >= 7  # more with every kind of resource


def public_methods(client: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(client).items()
        if not name.startswith("_") and hasattr(value, "__wrapped__")
    }


def test_both_clients_offer_the_same_methods():
    for_coroutines = public_methods(orchestration.HeadgateClient)
    blocking = public_methods(orchestration.SyncHeadgateClient)
    assert for_coroutines.keys() == blocking.keys()
    for name, method in for_coroutines.items():
        assert method.__wrapped__ is blocking[name].__wrapped__
        assert method.__doc__


def test_a_method_of_an_open_client_tells_its_arguments_and_what_it_does():
    for kind in (orchestration.HeadgateClient, orchestration.SyncHeadgateClient):
        method = kind("unix:///x.sock").read_flow_run
        assert list(inspect.signature(method).parameters) == ["flow_run_id"]
        assert "Return a flow run" in (method.__doc__ or "")


def test_every_call_is_a_method_of_the_clients():
    described = {
        name
        for module in [*MODULES, following]
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert described | {"hello"} == set(public_methods(orchestration.HeadgateClient))


def test_a_list_is_read_page_by_page_up_to_the_limit():
    def page(names: list[str], token: str) -> flow_service_pb2.ListFlowsResponse:
        return flow_service_pb2.ListFlowsResponse(
            flows=[flow_pb2.Flow(name=name) for name in names], next_page_token=token
        )

    result, sent = carry(flows.read_flows(limit=3), page(["a", "b"], "t1"), page(["c"], "t2"))
    assert [flow.name for flow in result] == ["a", "b", "c"]
    assert [(request.page_size, request.page_token) for request in sent] == [(3, ""), (1, "t1")]


def test_a_list_without_a_limit_is_read_to_its_end_by_the_largest_pages():
    first = log_service_pb2.ListLogsResponse(
        records=[log_pb2.LogRecord(message="a")], next_page_token="t"
    )
    last = log_service_pb2.ListLogsResponse(records=[log_pb2.LogRecord(message="b")])
    result, sent = carry(logs.read_logs(limit=None), first, last)
    assert [record.message for record in result] == ["a", "b"]
    assert [request.page_size for request in sent] == [1_000, 1_000]


def test_a_list_of_none_asks_for_nothing():
    assert carry(flows.read_flows(limit=0)) == ([], [])


def test_a_deployment_is_asked_for_by_id_or_by_name():
    _, (by_name,) = carry(flow_runs.create_flow_run_from_deployment("etl/daily"))
    _, (by_id,) = carry(flow_runs.create_flow_run_from_deployment(ids.new_id()))
    _, (by_half_a_name,) = carry(flow_runs.create_flow_run_from_deployment("daily"))
    assert by_name.WhichOneof("deployment") == "deployment_name"
    # The server says how a name is written.
    assert by_half_a_name.WhichOneof("deployment") == "deployment_name"
    assert by_id.WhichOneof("deployment") == "deployment_id"


def test_a_run_of_a_deployment_takes_values_and_texts_that_are_marked_as_such():
    values = {"days": ["mon"], "at": datetime(2026, 1, 1, tzinfo=UTC)}
    texts = parameters.Texts(days='["tue"]')
    ask = flow_runs.create_flow_run_from_deployment
    _, (of_values,) = carry(ask("etl/daily", parameters=values, job_variables={"cpu": "2"}))
    _, (of_texts,) = carry(ask("etl/daily", parameters=texts, job_variables=texts))
    assert of_values.parameters == {"days": '["mon"]', "at": '"2026-01-01T00:00:00Z"'}
    assert of_values.job_variables == {"cpu": '"2"'}
    assert of_texts.parameters == of_texts.job_variables == {"days": '["tue"]'}


def test_a_value_that_no_json_has_is_refused_by_name():
    values: Any = {"days": object()}
    with pytest.raises(errors.ParameterTypeError, match="'days'"):
        carry(flow_runs.create_flow_run_from_deployment("etl/daily", parameters=values))
    with pytest.raises(errors.ParameterTypeError, match="'days'"):
        carry(flow_runs.create_flow_run_from_deployment("etl/daily", job_variables=values))


def test_a_run_asked_for_twice_on_the_way_is_one_run():
    _, (request,) = carry(flow_runs.create_flow_run_from_deployment("etl/daily"))
    assert ids.is_id(request.idempotency_key)
    _, (given,) = carry(
        flow_runs.create_flow_run_from_deployment("etl/daily", idempotency_key="mine")
    )
    assert given.idempotency_key == "mine"


def test_one_text_where_many_may_stand_is_one_and_not_its_letters():
    _, (request,) = carry(flow_runs.read_flow_runs(tags="nightly"))
    assert list(request.filter.tags) == ["nightly"]


def test_top_level_false_is_not_the_same_as_not_asked():
    _, (asked,) = carry(flow_runs.read_flow_runs(top_level=False))
    _, (not_asked,) = carry(flow_runs.read_flow_runs())
    assert asked.filter.HasField("top_level")
    assert not not_asked.filter.HasField("top_level")


def test_a_proposal_by_a_person_has_no_token_and_one_under_a_lease_has():
    _, (person,) = run_until_answer(flow_runs.set_flow_run_state("run", records.STATE))
    _, (lease,) = run_until_answer(
        flow_runs.set_flow_run_state("run", records.STATE, fencing_token=0)
    )
    assert not person.HasField("fencing_token")
    assert lease.HasField("fencing_token")


def run_until_answer(steps: rpc.Steps[Any]) -> tuple[Any, list[Any]]:
    answer = flow_run_service_pb2.SetFlowRunStateResponse(
        verdict=verdict_pb2.Verdict(kind=verdict_pb2.VERDICT_KIND_ACCEPT)
    )
    return carry(steps, answer)


def test_only_what_is_given_is_changed():
    _, (request,) = carry(work_pools.update_work_pool("gpu", paused=False))
    assert list(request.update_mask.paths) == ["paused"]
    _, (nothing,) = carry(flow_runs.update_flow_run("run", tags=()))
    assert list(nothing.update_mask.paths) == ["tags"]


def test_a_limit_is_lifted_by_none_and_stays_where_none_is_given():
    _, (lifted,) = carry(work_pools.update_work_queue("gpu", "fast", concurrency_limit=None))
    assert list(lifted.update_mask.paths) == ["concurrency_limit"]
    assert not lifted.work_queue.HasField("concurrency_limit")
    _, (set_,) = carry(work_pools.update_work_pool("gpu", concurrency_limit=0))
    assert set_.work_pool.HasField("concurrency_limit")


def test_pausing_a_deployment_changes_nothing_else():
    _, (request,) = carry(deployments.pause_deployment("id"))
    assert request == deployment_service_pb2.UpdateDeploymentRequest(
        deployment=deployment_pb2.Deployment(id="id", paused=True),
        update_mask=FieldMask(paths=["paused"]),
    )


def test_many_log_lines_go_in_several_requests():
    _, sent = carry(logs.write_logs([records.LOG_RECORD] * 2_500))
    assert [len(request.records) for request in sent] == [1_000, 1_000, 500]
    assert carry(logs.write_logs([])) == (None, [])


def test_pools_are_read_to_the_last():
    answer = work_pool_service_pb2.ListWorkPoolsResponse(
        work_pools=[work_pool_pb2.WorkPool(name="a")]
    )
    (pool,), _ = carry(work_pools.read_work_pools(), answer)
    assert pool.name == "a"


def test_a_draft_of_a_deployment_leaves_the_rest_to_the_server():
    draft = schemas.draft_deployment("daily", "etl", tags=("x",))
    assert (draft.id, draft.etag, draft.tags) == ("", "", ("x",))
