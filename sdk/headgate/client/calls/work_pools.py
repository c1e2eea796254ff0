"""Work pools, their queues, and the runners that serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import work_pool_pb2
from headgate.api.v1 import work_pool_service_pb2 as pb
from headgate.client.rpc import UNCHANGED, Rpc, Steps, Unchanged, pages
from headgate.codec import work_pools as codec
from headgate.core import deployments, ids

if TYPE_CHECKING:
    from collections.abc import MutableSequence

SERVICE = "WorkPoolService"
CREATE = Rpc(SERVICE, "CreateWorkPool", pb.CreateWorkPoolRequest, pb.CreateWorkPoolResponse)
GET = Rpc(SERVICE, "GetWorkPool", pb.GetWorkPoolRequest, pb.GetWorkPoolResponse)
LIST = Rpc(SERVICE, "ListWorkPools", pb.ListWorkPoolsRequest, pb.ListWorkPoolsResponse)
UPDATE = Rpc(SERVICE, "UpdateWorkPool", pb.UpdateWorkPoolRequest, pb.UpdateWorkPoolResponse)
DELETE = Rpc(SERVICE, "DeleteWorkPool", pb.DeleteWorkPoolRequest, pb.DeleteWorkPoolResponse)
CREATE_QUEUE = Rpc(
    SERVICE, "CreateWorkQueue", pb.CreateWorkQueueRequest, pb.CreateWorkQueueResponse
)
LIST_QUEUES = Rpc(SERVICE, "ListWorkQueues", pb.ListWorkQueuesRequest, pb.ListWorkQueuesResponse)
UPDATE_QUEUE = Rpc(
    SERVICE, "UpdateWorkQueue", pb.UpdateWorkQueueRequest, pb.UpdateWorkQueueResponse
)
DELETE_QUEUE = Rpc(
    SERVICE, "DeleteWorkQueue", pb.DeleteWorkQueueRequest, pb.DeleteWorkQueueResponse
)
LIST_RUNNERS = Rpc(SERVICE, "ListRunners", pb.ListRunnersRequest, pb.ListRunnersResponse)


def create_work_pool(
    name: str,
    *,
    type: str = "process",
    description: str = "",
    concurrency_limit: int | None = None,
    paused: bool = False,
    base_job_template: str = "",
) -> Steps[deployments.WorkPool]:
    """Make a work pool with a queue ``default``.

    Args:
        name: Its unique name.
        type: What runners of it start.
        description: For people, Markdown.
        concurrency_limit: How many runs of it may be leased at once; None: any number.
        paused: Whether nothing of it is given to runners.
        base_job_template: How a run becomes a job, as JSON text.

    Raises:
        AlreadyExists: There is one of this name.
        InvalidArgument: A field is wrong; it is named.
    """
    pool = work_pool_pb2.WorkPool(
        name=name,
        type=type,
        description=description,
        concurrency_limit=concurrency_limit,
        paused=paused,
        base_job_template=base_job_template,
    )
    response = yield from CREATE(pb.CreateWorkPoolRequest(work_pool=pool, request_id=ids.new_id()))
    return codec.work_pool_from_proto(response.work_pool)


def read_work_pool(name: str) -> Steps[deployments.WorkPool]:
    """Return a work pool by its name.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetWorkPoolRequest(name=name))
    return codec.work_pool_from_proto(response.work_pool)


def read_work_pools(*, limit: int | None = None) -> Steps[list[deployments.WorkPool]]:
    """Return work pools by name.

    Args:
        limit: How many at most; None for all.
    """
    request = pb.ListWorkPoolsRequest()
    return (
        yield from pages(LIST, request, lambda r: r.work_pools, codec.work_pool_from_proto, limit)
    )


def _change_limit(
    target: work_pool_pb2.WorkPool | work_pool_pb2.WorkQueue,
    limit: int | Unchanged | None,
    mask: MutableSequence[str],
) -> None:
    """Write a limit that was given; in the mask and unset in the message, it is lifted."""
    if isinstance(limit, Unchanged):
        return
    if limit is not None:
        target.concurrency_limit = limit
    mask.append("concurrency_limit")


def update_work_pool(
    name: str,
    *,
    description: str | None = None,
    concurrency_limit: int | Unchanged | None = UNCHANGED,
    paused: bool | None = None,
    base_job_template: str | None = None,
) -> Steps[deployments.WorkPool]:
    """Change a work pool; what is not given stays.

    Args:
        name: The pool.
        description: For people, Markdown.
        concurrency_limit: How many runs of it may be leased at once; None: any number.
        paused: Whether nothing of it is given to runners.
        base_job_template: How a run becomes a job, as JSON text.

    Raises:
        NotFound: There is no such pool.
        InvalidArgument: A field is wrong; it is named.
    """
    request = pb.UpdateWorkPoolRequest(
        work_pool=work_pool_pb2.WorkPool(name=name), update_mask=FieldMask()
    )
    pool, mask = request.work_pool, request.update_mask.paths
    if description is not None:
        pool.description = description
        mask.append("description")
    if paused is not None:
        pool.paused = paused
        mask.append("paused")
    if base_job_template is not None:
        pool.base_job_template = base_job_template
        mask.append("base_job_template")
    _change_limit(pool, concurrency_limit, mask)
    response = yield from UPDATE(request)
    return codec.work_pool_from_proto(response.work_pool)


def delete_work_pool(name: str) -> Steps[None]:
    """Delete a work pool with its queues.

    Raises:
        NotFound: There is no such pool.
        FailedPrecondition: Deployments or leased runs use it, or it is ``default``.
    """
    yield from DELETE(pb.DeleteWorkPoolRequest(name=name))


def create_work_queue(
    work_pool_name: str,
    name: str,
    *,
    description: str = "",
    priority: int = 0,
    concurrency_limit: int | None = None,
    paused: bool = False,
) -> Steps[deployments.WorkQueue]:
    """Make a queue in a work pool.

    Args:
        work_pool_name: The pool.
        name: Unique in the pool.
        description: For people.
        priority: 1 goes first; 0: behind all others of the pool.
        concurrency_limit: How many runs of it may be leased at once; None: any number.
        paused: Whether nothing of it is given to runners.

    Raises:
        NotFound: There is no such pool.
        AlreadyExists: The pool has a queue of this name.
    """
    queue = work_pool_pb2.WorkQueue(
        work_pool_name=work_pool_name,
        name=name,
        description=description,
        priority=priority,
        concurrency_limit=concurrency_limit,
        paused=paused,
    )
    response = yield from CREATE_QUEUE(
        pb.CreateWorkQueueRequest(work_queue=queue, request_id=ids.new_id())
    )
    return codec.work_queue_from_proto(response.work_queue)


def read_work_queues(work_pool_name: str) -> Steps[list[deployments.WorkQueue]]:
    """Return the queues of a work pool, those that go first first.

    Raises:
        NotFound: There is no such pool.
    """
    response = yield from LIST_QUEUES(pb.ListWorkQueuesRequest(work_pool_name=work_pool_name))
    return [codec.work_queue_from_proto(queue) for queue in response.work_queues]


def update_work_queue(
    work_pool_name: str,
    name: str,
    *,
    description: str | None = None,
    priority: int | None = None,
    concurrency_limit: int | Unchanged | None = UNCHANGED,
    paused: bool | None = None,
) -> Steps[deployments.WorkQueue]:
    """Change a queue; what is not given stays.

    Args:
        work_pool_name: The pool.
        name: The queue.
        description: For people.
        priority: 1 goes first.
        concurrency_limit: How many runs of it may be leased at once; None: any number.
        paused: Whether nothing of it is given to runners.

    Raises:
        NotFound: There is no such queue.
    """
    request = pb.UpdateWorkQueueRequest(
        work_queue=work_pool_pb2.WorkQueue(work_pool_name=work_pool_name, name=name),
        update_mask=FieldMask(),
    )
    queue, mask = request.work_queue, request.update_mask.paths
    if description is not None:
        queue.description = description
        mask.append("description")
    if priority is not None:
        queue.priority = priority
        mask.append("priority")
    if paused is not None:
        queue.paused = paused
        mask.append("paused")
    _change_limit(queue, concurrency_limit, mask)
    response = yield from UPDATE_QUEUE(request)
    return codec.work_queue_from_proto(response.work_queue)


def delete_work_queue(work_pool_name: str, name: str) -> Steps[None]:
    """Delete a queue; its waiting runs go to the queue ``default`` of the pool.

    Raises:
        NotFound: There is no such queue.
        FailedPrecondition: It is ``default``.
    """
    yield from DELETE_QUEUE(pb.DeleteWorkQueueRequest(work_pool_name=work_pool_name, name=name))


def read_runners(
    work_pool_name: str | None = None, *, online_only: bool = False
) -> Steps[list[deployments.Runner]]:
    """Return the runners that are or lately were connected, by name.

    Args:
        work_pool_name: Those of this pool; None: of all.
        online_only: Only those whose heartbeats arrive.
    """
    response = yield from LIST_RUNNERS(
        pb.ListRunnersRequest(work_pool_name=work_pool_name or "", online_only=online_only)
    )
    return [codec.runner_from_proto(runner) for runner in response.runners]
