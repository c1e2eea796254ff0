"""Inputs of flow runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headgate.api.v1 import run_input_pb2
from headgate.api.v1 import run_input_service_pb2 as pb
from headgate.client.rpc import PAGE_SIZE_MAX, Rpc, Steps, pages, texts
from headgate.codec import run_inputs as codec
from headgate.codec import times
from headgate.core import ids, run_inputs

if TYPE_CHECKING:
    from headgate.client.rpc import Id

SERVICE = "RunInputService"
CREATE = Rpc(SERVICE, "CreateRunInput", pb.CreateRunInputRequest, pb.CreateRunInputResponse)
GET = Rpc(SERVICE, "GetRunInput", pb.GetRunInputRequest, pb.GetRunInputResponse)
LIST = Rpc(SERVICE, "ListRunInputs", pb.ListRunInputsRequest, pb.ListRunInputsResponse)
DELETE = Rpc(SERVICE, "DeleteRunInput", pb.DeleteRunInputRequest, pb.DeleteRunInputResponse)

#: How long a server waits at most before it answers.
WAIT_SECONDS_MAX = 60.0


def create_flow_run_input(
    flow_run_id: Id, key: str, value: str, *, sender: str | None = None
) -> Steps[run_inputs.RunInput]:
    """Hand an input to a flow run; whoever waits for it there is told at once.

    Args:
        flow_run_id: The run that it is for.
        key: Unique in the run.
        value: JSON text.
        sender: Who sends it, e.g. ``headgate.flow-run/<id>``; None: nobody who can be answered.

    Raises:
        NotFound: There is no such flow run.
        AlreadyExists: The run has an input of this key.
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.CreateRunInputRequest(
        run_input=run_input_pb2.RunInput(
            flow_run_id=str(flow_run_id), key=key, value=value, sender=sender or ""
        ),
        request_id=ids.new_id(),
    )
    response = yield from CREATE(request)
    return codec.run_input_from_proto(response.run_input)


def read_flow_run_input(flow_run_id: Id, key: str) -> Steps[str]:
    """Return the value of an input, a JSON text.

    Args:
        flow_run_id: The run that it is for.
        key: Its key.

    Raises:
        NotFound: There is no such input.
    """
    response = yield from GET(pb.GetRunInputRequest(flow_run_id=str(flow_run_id), key=key))
    return response.run_input.value


def filter_flow_run_input(
    flow_run_id: Id,
    key_prefix: str = "",
    limit: int | None = None,
    exclude_keys: Sequence[str] | None = None,
    *,
    after_place: int = 0,
) -> Steps[list[run_inputs.RunInput]]:
    """Return inputs of a flow run in the order in which they were stored.

    Args:
        flow_run_id: The run that they are for.
        key_prefix: Those whose keys begin with this.
        limit: How many at most; None for all.
        exclude_keys: But these; at most 1,000.
        after_place: Those stored after one of this place.

    Raises:
        NotFound: There is no such flow run.
    """
    request = _list_request(flow_run_id, key_prefix, exclude_keys, after_place)
    return (
        yield from pages(LIST, request, lambda r: r.run_inputs, codec.run_input_from_proto, limit)
    )


def receive_flow_run_input(
    flow_run_id: Id,
    key_prefix: str = "",
    limit: int = 1,
    exclude_keys: Sequence[str] | None = None,
    *,
    after_place: int = 0,
    wait_seconds: float = 30.0,
) -> Steps[list[run_inputs.RunInput]]:
    """Return inputs of a flow run as they come: the server answers when there is one.

    To go on, give the place of the last one received.

    Args:
        flow_run_id: The run that they are for.
        key_prefix: Those whose keys begin with this.
        limit: How many at most, up to 200.
        exclude_keys: But these; at most 1,000.
        after_place: Those stored after one of this place.
        wait_seconds: How long to wait for the first, up to 60 s.

    Returns:
        At least one; none if that time has passed.

    Raises:
        NotFound: There is no such flow run.
    """
    wait_seconds = min(max(wait_seconds, 0.0), WAIT_SECONDS_MAX)
    request = _list_request(flow_run_id, key_prefix, exclude_keys, after_place)
    request.page_size = min(limit, PAGE_SIZE_MAX)
    times.set_duration(request.wait, wait_seconds)
    response = yield from LIST(request, wait_seconds=wait_seconds)
    return [codec.run_input_from_proto(found) for found in response.run_inputs]


def delete_flow_run_input(flow_run_id: Id, key: str) -> Steps[None]:
    """Delete an input.

    Args:
        flow_run_id: The run that it is for.
        key: Its key.

    Raises:
        NotFound: There is no such input.
    """
    yield from DELETE(pb.DeleteRunInputRequest(flow_run_id=str(flow_run_id), key=key))


def _list_request(
    flow_run_id: Id, key_prefix: str, exclude_keys: Sequence[str] | None, after_place: int
) -> pb.ListRunInputsRequest:
    return pb.ListRunInputsRequest(
        flow_run_id=str(flow_run_id),
        filter=pb.RunInputFilter(
            key_prefix=key_prefix, exclude_keys=texts(exclude_keys), after_place=after_place
        ),
    )
