"""Executes a run that a runner leased to this process."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from headgate import parameters as parameter_codec
from headgate.core import runs
from headgate.engine import flow_engine
from headgate.engine.creation import Leased
from headgate.engine.outbox import Carrier, Outbox
from headgate.states import State

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["execute"]


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
