"""``serve``: store deployments and execute their runs, from this process, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from headgate import _options, settings
from headgate._explaining import explained
from headgate.core import errors
from headgate.deployments.definition import RunnerDeployment

if TYPE_CHECKING:
    from headgate.client.orchestration import HeadgateClient
    from headgate.flows import Flow

__all__ = ["aserve", "aserve_flow", "serve", "serve_flow"]

POOL = "default"
DEFAULT_LIMIT = 10
_PAUSE_SECONDS_MAX = 5.0


@explained
def serve(
    *deployments: RunnerDeployment,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    limit: int | None = None,
) -> None:
    """Store deployments and execute their runs until SIGTERM or Ctrl-C.

    Each run has a process of its own, started from here. Runs of other deployments are left to
    other runners.

    Args:
        *deployments: What to serve; see ``Flow.to_deployment``.
        pause_on_shutdown: Whether the schedules rest afterwards, since nobody would run them.
        print_starting_message: Whether to say what is served, and how to ask for a run.
        limit: How many runs at most at once. Default: 10.

    Raises:
        FailedPrecondition: An event loop runs in this thread; use ``aserve``.
        InvalidArgument: The server refuses a deployment; the field is named.
    """
    _refuse_in_event_loop()
    import anyio  # only who serves pays

    async def main() -> None:
        await aserve(
            *deployments,
            pause_on_shutdown=pause_on_shutdown,
            print_starting_message=print_starting_message,
            limit=limit,
        )

    anyio.run(main)


@explained
async def aserve(
    *deployments: RunnerDeployment,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    limit: int | None = None,
) -> None:
    """Do what ``serve`` does, in a coroutine."""
    if not deployments:
        raise errors.InvalidArgument.of("deployments", "must be one at least.")
    for given in deployments:
        if not isinstance(cast("object", given), RunnerDeployment):
            msg = f"serve was given {given!r}; use what to_deployment of a flow returns."
            raise errors.OptionTypeError(msg)
    import anyio  # only who serves pays
    import anyio.to_thread

    from headgate.client import embedded, orchestration
    from headgate.runner import Runner

    # Looking for a server, or starting one, blocks.
    api_url = settings.current().api_url or await anyio.to_thread.run_sync(embedded.ensure_server)
    for deployment in deployments:
        deployment.work_pool_name, deployment.work_queue_name = POOL, queue_name(deployment)
    async with orchestration.get_client(api_url=api_url) as client:
        ids = [await _store(client, deployment) for deployment in deployments]
        if print_starting_message:
            _say_what_is_served(deployments)
        runner = Runner(
            api_url,
            pools=[POOL],
            queues=[queue_name(deployment) for deployment in deployments],
            limit=limit or DEFAULT_LIMIT,
            write=print if print_starting_message else None,
        )
        try:
            await runner.run(handle_signals=threading.current_thread() is threading.main_thread())
        finally:
            if pause_on_shutdown:
                # Also when this coroutine is cancelled; but a lost server must not keep us here.
                with anyio.move_on_after(_PAUSE_SECONDS_MAX, shield=True):
                    await _pause(client, ids)


def serve_flow(
    flow: Flow[..., Any],
    name: str | None = None,
    *,
    paused: bool = False,
    global_limit: int | None = None,
    limit: int | None = None,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    **options: Any,
) -> None:
    """Serve one deployment of a flow.

    Args:
        flow: The flow.
        name: The deployment's name. Default: that of the flow.
        paused: Whether its schedules rest.
        global_limit: How many of its runs may be under way at once, wherever they execute.
        limit: How many of them may execute from this process at once. Default: 10.
        pause_on_shutdown: Whether the schedules rest afterwards.
        print_starting_message: Whether to say what is served, and how to ask for a run.
        **options: As for ``RunnerDeployment.from_flow``.
    """
    _refuse_in_event_loop()
    serve(
        _describe(flow, name, paused, global_limit, options),
        pause_on_shutdown=pause_on_shutdown,
        print_starting_message=print_starting_message,
        limit=limit,
    )


async def aserve_flow(
    flow: Flow[..., Any],
    name: str | None = None,
    *,
    paused: bool = False,
    global_limit: int | None = None,
    limit: int | None = None,
    pause_on_shutdown: bool = True,
    print_starting_message: bool = True,
    **options: Any,
) -> None:
    """Do what ``serve_flow`` does, in a coroutine."""
    await aserve(
        _describe(flow, name, paused, global_limit, options),
        pause_on_shutdown=pause_on_shutdown,
        print_starting_message=print_starting_message,
        limit=limit,
    )


def queue_name(deployment: RunnerDeployment) -> str:
    """Return the queue of a served deployment, which only those who serve it look at."""
    return f"serve-{deployment.flow_name}-{deployment.name}"


def _describe(
    flow: Flow[..., Any],
    name: str | None,
    paused: bool,
    global_limit: int | None,
    options: dict[str, Any],
) -> RunnerDeployment:
    make = RunnerDeployment.from_flow
    # Here it is called global_limit, for limit is that of this process.
    of_deployment = (name for name in _options.options_of(make) if name != "concurrency_limit")
    known = dict.fromkeys(("name", *_options.options_of(serve_flow), *of_deployment))
    _options.refuse_unknown(options, known, "serve")
    return make(flow, name or flow.name, paused=paused, concurrency_limit=global_limit, **options)


async def _store(client: HeadgateClient, deployment: RunnerDeployment) -> str:
    with contextlib.suppress(errors.AlreadyExists):
        await client.create_work_queue(POOL, queue_name(deployment))
    record, mask = deployment.record(), deployment.update_mask()
    return (await client.apply_deployment(record, update_mask=mask)).id


async def _pause(client: HeadgateClient, ids: Sequence[str]) -> None:
    for deployment_id in ids:
        try:
            await client.pause_deployment(deployment_id)
        except errors.HeadgateError as problem:
            print(f"The schedules of deployment {deployment_id} were not paused: {problem}")


def _say_what_is_served(deployments: Sequence[RunnerDeployment]) -> None:
    print("Serving:")
    for deployment in deployments:
        print(f"  {deployment.full_name}")
    print(f"Ask for a run:  headgate deployment run '{deployments[0].full_name}'")
    print("Stop with Ctrl-C.")


def _refuse_in_event_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    msg = "serve() blocks, and an event loop runs in this thread; use `await aserve(...)` here."
    raise errors.FailedPrecondition(msg)
