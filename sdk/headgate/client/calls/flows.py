"""Flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import flow_pb2
from headgate.api.v1 import flow_service_pb2 as pb
from headgate.client import choosing
from headgate.client.rpc import Rpc, Steps, texts
from headgate.codec import flows as codec
from headgate.core import runs

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas import filters, sorting
    from headgate.flows import Flow as FlowFunction

SERVICE = "FlowService"
CREATE = Rpc(SERVICE, "CreateFlow", pb.CreateFlowRequest, pb.CreateFlowResponse)
GET = Rpc(SERVICE, "GetFlow", pb.GetFlowRequest, pb.GetFlowResponse)
LIST = Rpc(SERVICE, "ListFlows", pb.ListFlowsRequest, pb.ListFlowsResponse)
UPDATE = Rpc(SERVICE, "UpdateFlow", pb.UpdateFlowRequest, pb.UpdateFlowResponse)
DELETE = Rpc(SERVICE, "DeleteFlow", pb.DeleteFlowRequest, pb.DeleteFlowResponse)


def create_flow(
    name: str | FlowFunction[..., Any],
    *,
    tags: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> Steps[runs.Flow]:
    """Register a flow, or return the one that already has this name.

    Args:
        name: Its unique name, or the flow.
        tags: Labels without a value.
        labels: Free key and value pairs.

    Raises:
        InvalidArgument: The name is empty, too long or has characters that are not allowed.
    """
    flow = flow_pb2.Flow(
        name=name if isinstance(name, str) else name.name, tags=tags, labels=labels or {}
    )
    response = yield from CREATE(pb.CreateFlowRequest(flow=flow))
    return codec.flow_from_proto(response.flow)


def create_flow_from_name(flow_name: str) -> Steps[runs.Flow]:
    """Register a flow by its name alone, or return the one that has it; see ``create_flow``."""
    return (yield from create_flow(flow_name))


def read_flow(flow_id: Id) -> Steps[runs.Flow]:
    """Return a flow by its id.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetFlowRequest(id=str(flow_id)))
    return codec.flow_from_proto(response.flow)


def read_flow_by_name(name: str) -> Steps[runs.Flow]:
    """Return a flow by its name.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetFlowRequest(name=name))
    return codec.flow_from_proto(response.flow)


def read_flows(
    *,
    name_contains: str = "",
    tags: Sequence[str] = (),
    flow_filter: filters.FlowFilter | None = None,
    sort: sorting.FlowSort | str | None = None,
    limit: int | None = 200,
    offset: int = 0,
) -> Steps[list[runs.Flow]]:
    """Return flows by name.

    Args:
        name_contains: A part of the name, upper and lower case alike.
        tags: With all of these.
        flow_filter: That fit; see ``headgate.client.schemas.filters``.
        sort: Another order; it takes reading all that fits.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    choosing.check(flow_filter, "FlowFilter")
    name_contains = name_contains or choosing.pushed(flow_filter, "name.like_") or ""
    where = pb.FlowFilter(name_contains=name_contains, tags=texts(tags))
    return (
        yield from choosing.read(
            LIST,
            pb.ListFlowsRequest(filter=where),
            lambda r: r.flows,
            codec.flow_from_proto,
            limit,
            keep=choosing.holds(flow_filter),
            sort=sort,
            offset=offset,
        )
    )


def update_flow(
    flow_id: Id,
    *,
    tags: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Steps[runs.Flow]:
    """Change tags or labels of a flow; what is None stays.

    Raises:
        NotFound: There is no such flow.
    """
    request = pb.UpdateFlowRequest(flow=flow_pb2.Flow(id=str(flow_id)), update_mask=FieldMask())
    if tags is not None:
        request.flow.tags.extend(tags)
        request.update_mask.paths.append("tags")
    if labels is not None:
        request.flow.labels.update(labels)
        request.update_mask.paths.append("labels")
    response = yield from UPDATE(request)
    return codec.flow_from_proto(response.flow)


def delete_flow(flow_id: Id) -> Steps[None]:
    """Delete a flow with its deployments and runs.

    Raises:
        NotFound: There is no such flow.
        FailedPrecondition: One of its runs is leased.
    """
    yield from DELETE(pb.DeleteFlowRequest(id=str(flow_id)))
