"""Types for fields and parameters that pydantic does not bring."""

from __future__ import annotations

from typing import Any

import pydantic

__all__ = ["SecretDict"]


class SecretDict(pydantic.Secret[dict[str, Any]]):
    """A dictionary whose values are secret; ``get_secret_value()`` returns it."""
