"""Work pools, their queues, and the runners that serve them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import work_pool_pb2
from headgate.api.v1 import work_pool_service_pb2 as pb
from headgate.client import choosing
from headgate.client.rpc import UNCHANGED, Rpc, Steps, Unchanged
from headgate.client.schemas import actions
from headgate.codec import work_pools as codec
from headgate.core import deployments, errors, ids

if TYPE_CHECKING:
    from collections.abc import MutableSequence

    from headgate.client.schemas import filters
    from headgate.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

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
    name: str | WorkPoolCreate = "",
    *,
    type: str = "process",
    description: str = "",
    concurrency_limit: int | None = None,
    paused: bool = False,
    base_job_template: str = "",
    work_pool: WorkPoolCreate | None = None,
    overwrite: bool = False,
) -> Steps[deployments.WorkPool]:
    """Make a work pool with a queue ``default``.

    Args:
        name: Its unique name. Or all of it, described as in ``headgate.client.schemas.actions``.
        type: What runners of it start.
        description: For people, Markdown.
        concurrency_limit: How many runs of it may be leased at once; None: any number.
        paused: Whether nothing of it is given to runners.
        base_job_template: How a run becomes a job, as JSON text.
        work_pool: The pool as described there, by keyword.
        overwrite: Whether one of this name is changed; its type stays.

    Raises:
        AlreadyExists: There is one of this name.
        InvalidArgument: A field is wrong; it is named.
    """
    if (described := actions.given(actions.WorkPoolCreate, name, work_pool)) is not None:
        return (yield from _made_or_changed(described, overwrite))
    pool = work_pool_pb2.WorkPool(
        name=cast("str", name),
        type=type,
        description=description,
        concurrency_limit=concurrency_limit,
        paused=paused,
        base_job_template=base_job_template,
    )
    response = yield from CREATE(pb.CreateWorkPoolRequest(work_pool=pool, request_id=ids.new_id()))
    return codec.work_pool_from_proto(response.work_pool)


def _made_or_changed(described: dict[str, Any], overwrite: bool) -> Steps[deployments.WorkPool]:
    try:
        return (yield from create_work_pool(**described))
    except errors.AlreadyExists:
        if not overwrite:
            raise
    described.pop("type", None)
    return (yield from update_work_pool(**described))


def read_work_pool(name: str) -> Steps[deployments.WorkPool]:
    """Return a work pool by its name.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetWorkPoolRequest(name=name))
    return codec.work_pool_from_proto(response.work_pool)


def read_work_pools(
    *,
    work_pool_filter: filters.WorkPoolFilter | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Steps[list[deployments.WorkPool]]:
    """Return work pools by name.

    Args:
        work_pool_filter: That fit; see ``headgate.client.schemas.filters``.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    choosing.check(work_pool_filter, "WorkPoolFilter")
    return (
        yield from choosing.read(
            LIST,
            pb.ListWorkPoolsRequest(),
            lambda r: r.work_pools,
            codec.work_pool_from_proto,
            limit,
            keep=choosing.holds(work_pool_filter),
            offset=offset,
        )
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
    work_pool: WorkPoolUpdate | None = None,
    *,
    description: str | None = None,
    concurrency_limit: int | Unchanged | None = UNCHANGED,
    paused: bool | None = None,
    base_job_template: str | None = None,
) -> Steps[deployments.WorkPool]:
    """Change a work pool; what is not given stays.

    Args:
        name: The pool.
        work_pool: The change, described as in ``headgate.client.schemas.actions``.
        description: For people, Markdown.
        concurrency_limit: How many runs of it may be leased at once; None: any number.
        paused: Whether nothing of it is given to runners.
        base_job_template: How a run becomes a job, as JSON text.

    Raises:
        NotFound: There is no such pool.
        InvalidArgument: A field is wrong; it is named.
    """
    if (described := actions.given(actions.WorkPoolUpdate, work_pool)) is not None:
        return (yield from update_work_pool(name, **described))
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


def read_work_queue_by_name(
    name: str, work_pool_name: str | None = None
) -> Steps[deployments.WorkQueue]:
    """Return a queue of a work pool.

    Args:
        name: The queue.
        work_pool_name: Its pool. Default: ``default``.

    Raises:
        NotFound: There is no such pool or queue.
    """
    pool = work_pool_name or "default"
    for queue in (yield from read_work_queues(pool)):
        if queue.name == name:
            return queue
    raise errors.NotFound("work queue", f"{pool}/{name}")


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
