"""Types of fields, where users of the incumbent look for them."""

from __future__ import annotations

from headgate.types import SecretDict

__all__ = ["SecretDict"]
