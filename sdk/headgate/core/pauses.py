"""Under which keys a pause and its answer are kept among the inputs of a flow run. Pure.

A pause that waits for an input stores two inputs before it begins: the JSON Schema of the answer
and a description of what is asked for. Whoever resumes the run stores the third one: the answer.
The id of the paused state is part of the keys, because a run that is retried comes to the same
pause again and must not find the answer of before.
"""

from __future__ import annotations

import enum

#: The longest key of a pause; the keys of its inputs have to fit, too.
PAUSE_KEY_CHARACTERS_MAX = 150
_STATE_ID_CHARACTERS = 36


class Part(enum.StrEnum):
    """What an input of a pause is."""

    SCHEMA = "schema"
    DESCRIPTION = "description"
    ANSWER = "answer"


def input_prefix(pause_key: str) -> str:
    """Return how the keys of the inputs of a pause begin, in whatever state it was."""
    return f"pause-{pause_key}-"


def input_key(pause_key: str, state_id: str, part: Part) -> str:
    """Return the key of an input of a pause."""
    return f"{input_prefix(pause_key)}{state_id}-{part.value}"


def is_answer(pause_key: str, input_key: str) -> bool:
    """Say whether this is the key of an answer to the pause."""
    prefix, ending = input_prefix(pause_key), f"-{Part.ANSWER.value}"
    length = len(prefix) + _STATE_ID_CHARACTERS + len(ending)
    return len(input_key) == length and input_key.startswith(prefix) and input_key.endswith(ending)


__all__ = ["PAUSE_KEY_CHARACTERS_MAX", "Part", "input_key", "input_prefix", "is_answer"]
