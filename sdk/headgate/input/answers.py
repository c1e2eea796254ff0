"""What a pause asks for, and what it was answered."""

from __future__ import annotations

from typing import Any

from headgate.core import errors, pauses
from headgate.engine.effects import Steps
from headgate.input.remote import Ask

__all__ = ["ask", "checked_key", "read", "withdraw"]


def checked_key(key: str) -> str:
    """Return the key of a pause.

    Raises:
        InvalidArgument: It is too long.
    """
    if len(key) > pauses.PAUSE_KEY_CHARACTERS_MAX:
        raise errors.InvalidArgument.of(
            "key",
            f"has {len(key)} characters; at most {pauses.PAUSE_KEY_CHARACTERS_MAX} are allowed.",
        )
    return key


def ask(flow_run_id: str, key: str, state_id: str, wait_for_input: Any) -> Steps[None]:
    """Store what a pause waits for, so that it is there before the run is paused."""
    if wait_for_input is None:
        return
    import json

    from headgate.input.run_input import input_type

    wanted = input_type(wait_for_input)
    description = wanted.description()
    parts = {pauses.Part.SCHEMA: wanted.schema_text()}
    if description:
        parts[pauses.Part.DESCRIPTION] = json.dumps(description)
    for part, text in parts.items():
        name = pauses.input_key(key, state_id, part)
        yield Ask(
            lambda client, name=name, text=text: client.create_flow_run_input(
                flow_run_id, name, text
            )
        )


def withdraw(flow_run_id: str, key: str, state_id: str, wait_for_input: Any) -> Steps[None]:
    """Take back what was asked for: the run was not paused in this state."""
    if wait_for_input is None:
        return
    for part in (pauses.Part.SCHEMA, pauses.Part.DESCRIPTION):
        name = pauses.input_key(key, state_id, part)
        try:
            yield Ask(lambda client, name=name: client.delete_flow_run_input(flow_run_id, name))
        except errors.NotFound:
            continue


def read(flow_run_id: str, key: str, wait_for_input: Any) -> Steps[Any]:
    """Return the newest answer to a pause; None where nothing was asked for.

    Raises:
        ParameterTypeError: It does not fit what was asked for.
        MissingResult: There is none.
    """
    if wait_for_input is None:
        return None
    from headgate.input.run_input import input_type, parsed, shown

    prefix = pauses.input_prefix(key)
    found = yield Ask(lambda client: client.filter_flow_run_input(flow_run_id, prefix))
    stored = [one for one in found if pauses.is_answer(key, one.key)]
    if not stored:
        msg = f"The pause {key!r} was resumed without the input that it waits for."
        raise errors.MissingResult(msg)
    return shown(parsed(input_type(wait_for_input), stored[-1]))
