"""What whoever resumes a run says to it, where its pause asks for an input."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from headgate.core import errors, pauses
from headgate.core.run_inputs import RunInput
from headgate.core.runs import FlowRun
from headgate_server.domain import checks, parameters
from headgate_server.storage.interface import Storage, Transaction

_FIELD = "run_input"
_SENDER = "headgate.resume"


async def store(
    storage: Storage, run: FlowRun, run_input: str, *, new_id: Callable[[], str]
) -> None:
    """Store the answer to the pause that a run is in; nothing, where it asks for none.

    Args:
        storage: Where inputs are kept.
        run: The run, paused.
        run_input: A JSON object as text; empty: ``{}``.
        new_id: Makes ids.

    Raises:
        InvalidArgument: It does not fit what the pause asks for.
    """
    schema = await storage.read(lambda tx: _schema(tx, run))
    if schema is None:
        if run_input:
            raise errors.InvalidArgument.of(_FIELD, "The pause of this run waits for no input.")
        return
    text = run_input or "{}"
    _check(text, schema)
    key = _key(run, pauses.Part.ANSWER)

    def change(tx: Transaction) -> None:
        # Who resumed the run before did not get as far as the resume.
        tx.run_inputs.delete(run.id, key)
        tx.run_inputs.insert(
            RunInput(
                id=new_id(),
                flow_run_id=run.id,
                key=key,
                value=text,
                sender=_SENDER,
                create_time=tx.now(),
            )
        )

    await storage.write(change)


def _schema(tx: Transaction, run: FlowRun) -> str | None:
    if not run.state.details.pause_key:
        return None
    found = tx.run_inputs.get(run.id, _key(run, pauses.Part.SCHEMA))
    return None if found is None else found.value


def _key(run: FlowRun, part: pauses.Part) -> str:
    return pauses.input_key(run.state.details.pause_key or "", run.state.id, part)


def _check(text: str, schema: str) -> None:
    if len(text) > checks.JSON_CHARACTERS_MAX:
        problem = f"has {len(text)} characters; at most {checks.JSON_CHARACTERS_MAX} are allowed."
        raise errors.InvalidArgument.of(_FIELD, problem)
    value: object
    try:
        value = checks.parse_json(text)
    except ValueError as error:
        raise errors.InvalidArgument.of(_FIELD, f"is not a JSON text: {error}") from None
    if not isinstance(value, dict):
        raise errors.InvalidArgument.of(_FIELD, "is no JSON object; give one value per field.")
    fields = cast("dict[str, Any]", value)
    texts = {name: json.dumps(part) for name, part in fields.items()}
    violations = parameters.check(texts, schema, _FIELD)
    if violations:
        raise errors.InvalidArgument(violations)


__all__ = ["store"]
