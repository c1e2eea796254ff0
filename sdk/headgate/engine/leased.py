"""Executes a run that a runner leased to this process."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from headgate import parameters as parameter_codec
from headgate import states
from headgate.core import errors, runs
from headgate.engine import flow_engine, outcomes
from headgate.engine.creation import Leased
from headgate.engine.outbox import Carrier, Outbox
from headgate.states import State

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["execute", "execute_or_report", "report"]

_CANNOT_BEGIN = (
    errors.ParameterBindError,
    errors.ParameterTypeError,
    errors.SignatureMismatchError,
)


def execute(flow: Flow[..., Any], link: Carrier, outbox: Outbox, run: runs.FlowRun) -> State[Any]:
    """Execute a leased run; returns the state that it ended in.

    Args:
        flow: The flow, loaded.
        link: The link on which the run was opened.
        outbox: The run's.
        run: The run, as the server has it.

    Raises:
        ParameterTypeError: Its parameters are no JSON.
        ParameterBindError: One that the flow needs is missing.
        SignatureMismatchError: It has one that the flow does not have.
    """
    parameters = flow.signature.complete(parameter_codec.decode(run.parameters))
    origin = Leased(flow=flow, link=link, outbox=outbox, flow_run=run)
    call = flow_engine.FlowCall(flow, parameters, return_state=True, origin=origin)
    try:
        _exhaust(flow_engine.drive(flow, call.steps()))
    except BaseException:
        # Reported; what is reported is what counts for the process.
        if call.state is None or not call.state.is_terminal:
            raise
    assert call.state is not None
    return call.state


def execute_or_report(
    flow: Flow[..., Any], link: Carrier, outbox: Outbox, run: runs.FlowRun
) -> State[Any]:
    """Execute a leased run; where it cannot begin, it has failed."""
    try:
        return execute(flow, link, outbox, run)
    except _CANNOT_BEGIN as error:
        return report(outbox, run, outcomes.invalid(error))


def report(outbox: Outbox, run: runs.FlowRun, final: State[Any]) -> State[Any]:
    """End a run whose flow was not called; returns the state that it ended in."""
    from headgate.logging.loggers import flow_run_logger

    error: BaseException = final.data
    info = (type(error), error, error.__traceback__)
    flow_run_logger(run).error("%s", final.message, exc_info=info)
    force = final.is_crashed()
    verdict = outbox.propose(final.record(), force=force).result().verdict
    return final if verdict.state is None else states.from_record(verdict.state)


def _exhaust(result: Any) -> None:
    import asyncio

    if inspect.iscoroutine(result):
        asyncio.run(result)
    elif inspect.isasyncgen(result):
        asyncio.run(_exhaust_async(result))
    elif inspect.isgenerator(result):
        for _item in result:
            pass


async def _exhaust_async(generator: AsyncGenerator[Any, Any]) -> None:
    async for _item in generator:
        pass
