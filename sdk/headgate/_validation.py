"""What pydantic found wrong, in words of ours: without addresses of its manual, and without values.

The values that were given may be secret.
"""

from __future__ import annotations

from collections.abc import Iterable

import pydantic

from headgate._explaining import nearest

__all__ = ["explain"]


def explain(problem: pydantic.ValidationError, what: str, given: Iterable[str] = ()) -> str:
    """Say what is wrong with each field.

    Args:
        problem: What pydantic found.
        what: How that is called which has the fields, e.g. ``the block``.
        given: The names that were given; one that a missing field was probably meant by is named.
    """
    names = [str(name) for name in given]
    found: list[str] = []
    for error in problem.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in error["loc"]) or what
        said = error["msg"].removeprefix("Value error, ").rstrip(".")
        if error["type"] == "missing" and len(error["loc"]) == 1:
            near = nearest(place, names)
            said += "" if near is None else f" (was {near} meant to be it?)"
        found.append(f"{place}: {said}")
    return "; ".join(found)
