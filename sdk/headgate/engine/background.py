"""Background tasks: asked for here, executed by whoever serves the task.

A task run that nobody executes yet is a run of the flow ``headgate.tasks`` (see ``outside``) that
a deployment of this flow, one per task, is asked for. So it is leased, pushed and fenced as all
runs are, and its queue is one that only those look at who serve the task. The call itself, its
arguments and the id of its task run, is the run's only parameter.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from headgate.core import deployments, errors, runs
from headgate.core.ids import new_id
from headgate.engine import effects, process, shipping, task_engine
from headgate.flows import Flow

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient
    from headgate.tasks import Task

__all__ = ["ServedTask", "deployment_of", "name_of", "queue_of", "store", "submit"]

POOL = "default"
#: A call whose text is longer goes to the result storage.
TEXT_CHARACTERS_MAX = 200_000
#: How long such a call is kept: as long as a run that nobody takes.
KEPT_FOR = datetime.timedelta(days=90)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Call(NamedTuple):
    """A call of a task, as it travels."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    task_run_id: str


# --- Where it waits ----------------------------------------------------------------------------


def name_of(task: Task[..., Any]) -> str:
    """Return the name of the deployment of a task: its key, as names may be."""
    return re.sub(r"[/%&<>]", "", task.task_key)


def queue_of(task: Task[..., Any]) -> str:
    """Return the queue in which its runs wait."""
    return f"task-{name_of(task)}"


def deployment_of(task: Task[..., Any]) -> deployments.Deployment:
    """Return the deployment of a task, as it is to be stored."""
    return deployments.Deployment(
        id="",
        name=name_of(task),
        flow_id="",
        flow_name=runs.TASKS_FLOW,
        entrypoint=f"{task.__module__}.{task.__qualname__}",
        description=task.description or "",
        version=task.version or "",
        work_pool_name=POOL,
        work_queue_name=queue_of(task),
        create_time=_EPOCH,
        update_time=_EPOCH,
        etag="",
    )


def store(client: SyncHeadgateClient, task: Task[..., Any]) -> None:
    """Make the queue and the deployment of a task, where they are not there."""
    with contextlib.suppress(errors.AlreadyExists):
        client.create_work_queue(POOL, queue_of(task))
    client.apply_deployment(deployment_of(task))


# --- Asking for it -----------------------------------------------------------------------------


def submit(
    task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[runs.FlowRun, str]:
    """Ask for a run of a task.

    Returns:
        The run, and the id that its task run is going to have.

    Raises:
        SerializationError: An argument has no bytes.
        ServerStartError: No server is configured and the embedded one did not start.
    """
    from headgate import parameters
    from headgate.client.orchestration import get_client

    call = Call(args, kwargs, new_id())
    request: dict[str, Any] = {
        "parameters": parameters.encode({"call": _text_of(task, call)}),
        "name": f"{task.name}-{call.task_run_id[-3:]}",
        "tags": list(task.run_tags()),
    }
    name = f"{runs.TASKS_FLOW}/{name_of(task)}"
    with get_client(sync_client=True) as client:
        try:
            run = client.create_flow_run_from_deployment(name, **request)
        except errors.NotFound:  # nobody has ever served or delayed it
            store(client, task)
            run = client.create_flow_run_from_deployment(name, **request)
    return run, call.task_run_id


def _text_of(task: Task[..., Any], call: Call) -> str | dict[str, str]:
    """Return a call as JSON has it: its bytes, or where they are kept."""
    from headgate import serializers

    try:
        data = serializers.PickleSerializer().dumps(tuple(call))
    except errors.SerializationError as problem:
        what = f"task {task.name!r}"
        cause = problem.__cause__ or problem
        remedy = "Make such things within the task."
        raise shipping.to_blame(
            what, task, call.args, call.kwargs, cause, remedy
        ) from problem.__cause__
    text = base64.b64encode(data).decode("ascii")
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    from headgate.results import ResultStore

    store = ResultStore(serializer="pickle", cache_result_in_memory=False)
    key = f"background-{call.task_run_id}"
    # Not deleted when it is read: another attempt of the run reads it again.
    store.write(tuple(call), key=key, expiration=process.clock.now() + KEPT_FOR)
    return {"storage_key": key}


def _call_of(text: str | dict[str, str]) -> Call:
    """Read what ``_text_of`` made.

    Raises:
        SerializationError: It is of classes that are not here.
        MissingResult: It was kept in a storage that is not there.
    """
    if isinstance(text, str):
        from headgate import serializers

        return Call(*serializers.PickleSerializer().loads(base64.b64decode(text)))
    from headgate.results import ResultStore

    store = ResultStore(serializer="pickle", cache_result_in_memory=False)
    return Call(*store.read(text["storage_key"]).result)


# --- Executing it ------------------------------------------------------------------------------


class ServedTask(Flow[..., Any]):
    """The flow of the runs of one task that is served. Its result is the task's.

    Args:
        task: The task.
    """

    is_task_root = True

    def __init__(self, task: Task[..., Any]) -> None:
        """Make it for a task."""

        async def run_async(call: Any) -> Any:
            return await effects.drive_async(_steps(task, call))

        def run(call: Any) -> Any:
            return effects.drive(_steps(task, call))

        super().__init__(
            run_async if task.isasync else run,
            name=runs.TASKS_FLOW,
            description=task.description,
            version=task.version or "",
            validate_parameters=False,
            retries=0,
            # Whoever asked for it reads the result, in another process.
            persist_result=True,
            result_storage=task.result_storage,
            result_serializer=task.result_serializer,
        )


def _steps(task: Task[..., Any], text: Any) -> effects.Steps[Any]:
    from headgate import context

    call = _call_of(text)
    here = context.current_flow()
    # The id was told to whoever asked; another attempt of the run is another task run.
    is_first = here is None or here.attempt == 1
    run_id = call.task_run_id if is_first else None
    return task_engine.TaskCall(task, call.args, dict(call.kwargs), run_id=run_id).steps()
