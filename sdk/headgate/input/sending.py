"""Sends inputs to flow runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headgate import _calling, context
from headgate._explaining import explained
from headgate.core.ids import new_id
from headgate.input import run_input as inputs

if TYPE_CHECKING:
    import uuid

__all__ = ["asend_input", "send_input"]


@explained
def send_input(
    run_input: Any,
    flow_run_id: str | uuid.UUID,
    sender: str | None = None,
    key_prefix: str | None = None,
) -> None:
    """Send an input to a flow run, which gets it by ``receive_input``.

    Where an event loop runs in this thread the call returns a coroutine to await.

    Args:
        run_input: A ``RunInput``, another model, or a value that JSON can say.
        flow_run_id: The run.
        sender: Who sends it. Default: the flow run that calls this, which can be answered then.
        key_prefix: How its key begins. Default: by its type.

    Raises:
        NotFound: There is no such run.
    """
    if _calling.in_event_loop():
        return cast("None", asend_input(run_input, flow_run_id, sender, key_prefix))
    from headgate.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.create_flow_run_input(
            str(flow_run_id), **_message(run_input, sender=sender, key_prefix=key_prefix)
        )
    return None


@explained
async def asend_input(
    run_input: Any,
    flow_run_id: str | uuid.UUID,
    sender: str | None = None,
    key_prefix: str | None = None,
) -> None:
    """Do what ``send_input`` does, in a coroutine."""
    from headgate.client.orchestration import get_client

    async with get_client() as client:
        await client.create_flow_run_input(
            str(flow_run_id), **_message(run_input, sender=sender, key_prefix=key_prefix)
        )


def _message(run_input: Any, *, sender: str | None, key_prefix: str | None) -> dict[str, Any]:
    made = inputs.as_input(run_input)
    here = context.current_flow()
    if sender is None and here is not None:
        sender = inputs.sender_of(here.flow_run.id)
    return {
        "key": f"{key_prefix or inputs.key_prefix(type(made))}-{new_id()}",
        "value": inputs.as_json(made),
        "sender": sender,
    }
