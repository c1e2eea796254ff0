"""Variables on the wire."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import aio

from headgate.api.v1 import variable_pb2, variable_service_pb2, variable_service_pb2_grpc
from headgate.core import ids
from headgate_server.app import App
from tests.integration.server import calls
from tests.integration.server.lifecycle import event_names


@pytest.fixture
def stub(channel: aio.Channel) -> Any:
    return variable_service_pb2_grpc.VariableServiceStub(channel)


async def create(stub: Any, name: str = "limit", value: str = "1", request_id: str = "", **given):
    request = variable_service_pb2.CreateVariableRequest(
        variable=variable_pb2.Variable(name=name, value=value, **given), request_id=request_id
    )
    return (await stub.CreateVariable(request)).variable


async def update(stub: Any, *mask: str, allow_missing: bool = False, **given: Any):
    request = variable_service_pb2.UpdateVariableRequest(
        variable=variable_pb2.Variable(**given),
        update_mask=FieldMask(paths=mask),
        allow_missing=allow_missing,
    )
    return (await stub.UpdateVariable(request)).variable


async def test_a_variable_is_made_read_changed_and_deleted(stub: Any):
    made = await create(stub, value='{"a": [1]}', tags=["x"])
    get = variable_service_pb2.GetVariableRequest(name="limit")
    assert (await stub.GetVariable(get)).variable == made
    changed = await update(stub, "value", name="limit", value="2", tags=["ignored"])
    assert (changed.value, list(changed.tags), changed.id) == ("2", ["x"], made.id)
    changed = await update(stub, "*", name="limit", value="3")
    assert (changed.value, list(changed.tags)) == ("3", [])
    delete = variable_service_pb2.DeleteVariableRequest(name="limit")
    await stub.DeleteVariable(delete)
    for call, request in ((stub.DeleteVariable, delete), (stub.GetVariable, get)):
        with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
            await call(request)


async def test_a_name_is_taken_once_and_a_request_sent_again_makes_nothing_again(stub: Any):
    request_id = ids.new_id()
    made = await create(stub, request_id=request_id)
    assert await create(stub, request_id=request_id) == made
    with calls.fails(grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"):
        await create(stub)


async def test_an_update_may_make_what_is_missing(stub: Any):
    with calls.fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"):
        await update(stub, "value", name="limit", value="1")
    made = await update(stub, "value", allow_missing=True, name="limit", value="1", tags=["x"])
    assert (made.value, list(made.tags)) == ("1", ["x"])


async def test_variables_are_listed_by_name(stub: Any):
    for name in ("b", "c", "a-1"):
        await create(stub, name, tags=["x"] if name != "c" else [])
    request = variable_service_pb2.ListVariablesRequest(page_size=2)
    first = await stub.ListVariables(request)
    request.page_token = first.next_page_token
    rest = await stub.ListVariables(request)
    names = [[found.name for found in page.variables] for page in (first, rest)]
    assert names == [["a-1", "b"], ["c"]]
    where = variable_service_pb2.VariableFilter(tags=["x"], name_contains="-")
    found = await stub.ListVariables(variable_service_pb2.ListVariablesRequest(filter=where))
    assert [each.name for each in found.variables] == ["a-1"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "variable.name"),
        ({"name": "Limit"}, "variable.name"),
        ({"name": "l" * 256}, "variable.name"),
        ({"value": ""}, "variable.value"),
        ({"value": "text"}, "variable.value"),
        ({"value": f'"{"x" * 5_000}"'}, "variable.value"),
        ({"tags": [""]}, "variable.tags[0]"),
        ({"request_id": "x"}, "request_id"),
    ],
)
async def test_a_wrong_field_is_named(stub: Any, given: dict[str, Any], field: str):
    with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", field):
        await create(stub, **given)


async def test_a_mask_that_names_no_field_is_refused(stub: Any):
    await create(stub)
    for mask in ([], ["name"], ["value_json"]):
        with calls.fails(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "update_mask"):
            await update(stub, *mask, name="limit", value="1")


async def test_events_tell_what_became_of_a_variable(stub: Any, app: App):
    await create(stub)
    await update(stub, "value", name="limit", value="2")
    await stub.DeleteVariable(variable_service_pb2.DeleteVariableRequest(name="limit"))
    assert await event_names(app, "headgate.variable.") == [
        "headgate.variable.created",
        "headgate.variable.updated",
        "headgate.variable.deleted",
    ]
