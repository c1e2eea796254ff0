"""Blocks of general use."""

from __future__ import annotations

from typing import Any, cast

import pydantic
import pydantic_core

from headgate.blocks.core import Block

__all__ = ["Secret"]


class Secret(Block):
    """A secret value, encrypted at rest and masked wherever it is shown.

    Attributes:
        value: The value; a text, or anything with a JSON form.

    Example:
        ```python
        from headgate.blocks.system import Secret

        Secret(value="sk-1234567890").save("api-key")
        api_key = Secret.load("api-key").get()
        ```
    """

    _logo_url = None
    _block_type_slug = "secret"

    value: pydantic.SecretStr | pydantic.Secret[Any] = pydantic.Field(
        description="A value that should be kept secret.", json_schema_extra={"writeOnly": True}
    )

    @pydantic.field_validator("value", mode="before")
    @classmethod
    def _wrap(cls, value: Any) -> Any:
        is_fit = isinstance(value, (pydantic.Secret, pydantic.SecretStr, str))
        return cast("Any", value) if is_fit else pydantic.Secret[Any](value)

    def get(self) -> Any:
        """Return the value; a text that is JSON is returned as what it says."""
        value = self.value.get_secret_value()
        try:
            return pydantic_core.from_json(value)
        except (ValueError, TypeError):
            return value
