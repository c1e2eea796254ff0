"""Executes one leased flow run: what a runner starts a process for.

The run, its fencing token and its code come by the environment::

    HEADGATE__FLOW_RUN_ID, HEADGATE__FENCING_TOKEN    the lease
    HEADGATE__ENTRYPOINT, HEADGATE__PATH              the code
    HEADGATE__PULL_STEPS                              what gets the code here, as JSON
    HEADGATE__CONTROL_FD                              the runner's line, see ``control``

Everything else, such as the parameters, the server tells when the run is opened.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from headgate import entrypoints, settings, states
from headgate.core import deployments, errors
from headgate.engine import leased, process
from headgate.engine.control import Control
from headgate.engine.interruption import Intent, set_process_intent
from headgate.states import State

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["Spec", "execute", "execute_flow", "execute_here", "load", "main"]

#: The exit code of a process that was told to end; what a shell makes of SIGTERM.
TERMINATED = 143


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to execute.

    Attributes:
        flow_run_id: UUID text of the leased run.
        fencing_token: The number of the lease.
        entrypoint: Where the flow is; see ``headgate.entrypoints``.
        path: The folder that the entrypoint is relative to; None: the working folder.
        pull_steps: What is done before the flow is loaded; see ``headgate.deployments.steps``.
        may_move: Whether the working folder of the process becomes that of the pull steps.
        control_fd: The descriptor of the runner's line; None: nobody listens.
    """

    flow_run_id: str
    fencing_token: int
    entrypoint: str
    path: str | None = None
    pull_steps: tuple[deployments.PullStep, ...] = ()
    may_move: bool = False
    control_fd: int | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Spec:
        """Read the environment variables.

        Raises:
            InvalidArgument: One is missing or is no number.
        """
        try:
            control_fd = environment.get("HEADGATE__CONTROL_FD")
            return cls(
                flow_run_id=environment["HEADGATE__FLOW_RUN_ID"],
                fencing_token=int(environment["HEADGATE__FENCING_TOKEN"]),
                entrypoint=environment["HEADGATE__ENTRYPOINT"],
                path=environment.get("HEADGATE__PATH") or None,
                pull_steps=_pull_steps(environment.get("HEADGATE__PULL_STEPS")),
                may_move=True,
                control_fd=int(control_fd) if control_fd else None,
            )
        except KeyError as error:
            msg = "is missing in the environment; a runner sets it for the runs that it starts."
            raise errors.InvalidArgument.of(str(error.args[0]), msg) from None
        except ValueError as error:
            msg = f"of the environment are no numbers: {error}."
            raise errors.InvalidArgument.of(
                "HEADGATE__FENCING_TOKEN or HEADGATE__CONTROL_FD", msg
            ) from None


def main() -> int:
    """Execute the run that the environment names; returns the exit code of the process."""
    try:
        spec = Spec.of_environment(os.environ)
    except errors.InvalidArgument as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return execute(spec)


def execute(spec: Spec) -> int:
    """Execute a leased run.

    Returns:
        0 where a state that ends the run was reported, even Failed; else something else.
    """
    control = Control(spec.control_fd) if spec.control_fd is not None else None

    def told() -> Intent | None:
        return control.read_intent() if control is not None else None

    loaded: list[Flow[..., Any]] = []

    def goes_back() -> bool:
        behavior = settings.current().flow_run_execute_sigterm_behavior
        if behavior is None:
            # A durable flow loses nothing by it.
            return any(flow.durable for flow in loaded)
        return behavior == "reschedule"

    set_process_intent(lambda: told() or (Intent.RESCHEDULE if goes_back() else None))
    try:
        state = execute_here(spec, on_loaded=loaded.append)
        if control is not None:
            # The verdict came after the commit, so this is true even if the server is gone now.
            control.send_receipt(state)
        return 0
    except errors.TerminationSignal:
        if goes_back() and told() is None:
            _send_back(spec)
        return TERMINATED
    except (errors.HeadgateError, errors.Abort) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        process.stop_links()


def _send_back(spec: Spec) -> None:
    """Have the run scheduled anew, because this machine takes its processes down."""
    from headgate.client.orchestration import get_client

    state = states.AwaitingRetry(message="Its process was told to end, and the run goes on anew.")
    with get_client(sync_client=True) as client:
        # Not as the holder: the lease is to end with it.
        client.set_flow_run_state(spec.flow_run_id, state.record())


def execute_here(
    spec: Spec, *, on_loaded: Callable[[Flow[..., Any]], object] | None = None
) -> State[Any]:
    """Execute a leased run on the links of this process; returns the state it ended in.

    Args:
        spec: What to execute.
        on_loaded: Told of the flow before it is called.

    Raises:
        HeadgateError: It could not be opened, or another holder has it.
    """
    # For ever: a server that restarts just now must not end the run.
    link = process.link(connect_timeout_seconds=None)
    outbox = link.open_run(spec.flow_run_id, spec.fencing_token)
    # The code is loaded while the server is asked.
    flow, problem = _load(spec)
    run = outbox.opened.result().flow_run
    if run is None:
        raise errors.NotFound("flow run", spec.flow_run_id)
    if flow is None:
        assert problem is not None
        return leased.report(outbox, run, _not_loaded(problem))
    if on_loaded is not None:
        on_loaded(flow)
    return leased.execute_or_report(flow, link, outbox, run)


def execute_flow(spec: Spec, flow: Flow[..., Any]) -> State[Any]:
    """Do what ``execute_here`` does, where the flow is at hand."""
    link = process.link(connect_timeout_seconds=None)
    outbox = link.open_run(spec.flow_run_id, spec.fencing_token)
    run = outbox.opened.result().flow_run
    if run is None:
        raise errors.NotFound("flow run", spec.flow_run_id)
    return leased.execute_or_report(flow, link, outbox, run)


def load(spec: Spec) -> Flow[..., Any]:
    """Get the code of a run here, and load its flow.

    Raises:
        PullStepError: The code could not be got.
        MissingFlowError: There is no such flow.
        ScriptError: The code raised while it was imported.
    """
    path = spec.path
    if spec.pull_steps:
        from headgate.deployments import steps  # most deployments have none

        path = steps.run_steps(spec.pull_steps, directory=path)
        if path is not None and spec.may_move:
            os.chdir(path)
    return entrypoints.load_flow(spec.entrypoint, path)


def _load(spec: Spec) -> tuple[Flow[..., Any] | None, errors.HeadgateError | None]:
    try:
        return load(spec), None
    except (errors.PullStepError, errors.ScriptError, errors.MissingFlowError) as error:
        return None, error


def _pull_steps(text: str | None) -> tuple[deployments.PullStep, ...]:
    return tuple(deployments.PullStep(**step) for step in json.loads(text or "[]"))


def _not_loaded(problem: errors.HeadgateError) -> State[Any]:
    return states.Crashed(message=f"The flow could not be loaded. {problem}", data=problem)
