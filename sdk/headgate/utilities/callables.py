"""What functions say of themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate._parameter_schemas import ParameterSchema

__all__ = ["ParameterSchema", "parameter_schema"]


def parameter_schema(fn: Callable[..., Any]) -> ParameterSchema:
    """Return the JSON Schema of the parameters of a function.

    Each has its ``position``, and a ``description`` where the docstring describes it.

    Args:
        fn: The function; the ``fn`` of a flow or task, too.
    """
    from headgate.parameters import Signature

    return Signature(fn).schema()
