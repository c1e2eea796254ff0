"""``deploy``: leave deployments to the runners of a work pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headgate import _options
from headgate._explaining import explained
from headgate.core import errors
from headgate.deployments.definition import RunnerDeployment

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["adeploy", "adeploy_flow", "deploy", "deploy_flow"]


@explained
def deploy(
    *deployments: RunnerDeployment,
    work_pool_name: str | None = None,
    print_next_steps_message: bool = True,
) -> list[str]:
    """Store deployments on the server, for the runners of a work pool.

    Args:
        *deployments: The deployments.
        work_pool_name: The pool of those that name none. Default: ``default``.
        print_next_steps_message: Whether to say how to start a runner and a run.

    Returns:
        Their ids.

    Raises:
        NotFound: There is no such work pool.
        InvalidArgument: The server refuses a field; it is named.
    """
    chosen = _prepare(deployments, work_pool_name)
    ids = [deployment.apply() for deployment in chosen]
    if print_next_steps_message:
        _print_next_steps(chosen)
    return ids


@explained
async def adeploy(
    *deployments: RunnerDeployment,
    work_pool_name: str | None = None,
    print_next_steps_message: bool = True,
) -> list[str]:
    """Do what ``deploy`` does, in a coroutine."""
    chosen = _prepare(deployments, work_pool_name)
    ids = [await deployment.aapply() for deployment in chosen]
    if print_next_steps_message:
        _print_next_steps(chosen)
    return ids


def deploy_flow(
    flow: Flow[..., Any],
    name: str,
    work_pool_name: str | None = None,
    *,
    print_next_steps: bool = True,
    **options: Any,
) -> str:
    """Store one deployment of a flow; ``options`` as for ``RunnerDeployment.from_flow``.

    Returns:
        Its id.
    """
    made = _describe(flow, name, work_pool_name, options)
    return deploy(made, print_next_steps_message=print_next_steps)[0]


async def adeploy_flow(
    flow: Flow[..., Any],
    name: str,
    work_pool_name: str | None = None,
    *,
    print_next_steps: bool = True,
    **options: Any,
) -> str:
    """Do what ``deploy_flow`` does, in a coroutine."""
    made = _describe(flow, name, work_pool_name, options)
    return (await adeploy(made, print_next_steps_message=print_next_steps))[0]


def _describe(
    flow: Flow[..., Any], name: str, work_pool_name: str | None, options: dict[str, Any]
) -> RunnerDeployment:
    make = RunnerDeployment.from_flow
    known = (*_options.options_of(deploy_flow), *_options.options_of(make))
    _options.refuse_unknown(options, known, "deploy")
    return make(flow, name, work_pool_name=work_pool_name, **options)


def _prepare(
    given: tuple[RunnerDeployment, ...], work_pool_name: str | None
) -> tuple[RunnerDeployment, ...]:
    if not given:
        raise errors.InvalidArgument.of("deployments", "must be one at least.")
    for deployment in given:
        if not isinstance(cast("object", deployment), RunnerDeployment):
            msg = f"deploy was given {deployment!r}; use what to_deployment of a flow returns."
            raise errors.OptionTypeError(msg)
        deployment.work_pool_name = deployment.work_pool_name or work_pool_name
    return given


def _print_next_steps(given: tuple[RunnerDeployment, ...]) -> None:
    for deployment in given:
        pool = deployment.work_pool_name or "default"
        print(f"Deployed {deployment.full_name} to work pool {pool!r}.")
    print(f"\nStart a runner:  runner --pool {given[0].work_pool_name or 'default'}")
    print(f"Ask for a run:   headgate deployment run '{given[0].full_name}' --watch")
