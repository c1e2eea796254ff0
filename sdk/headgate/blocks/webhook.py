"""The block that calls a URL."""

from __future__ import annotations

import json
from typing import Any, Literal

import anyio.to_thread
import pydantic

from headgate.blocks import _http
from headgate.blocks._http import Response
from headgate.blocks.core import Block
from headgate.types import SecretDict

__all__ = ["Response", "Webhook"]


class Webhook(Block):
    """Calls a URL.

    Attributes:
        method: The HTTP method.
        url: The URL, a secret, for many hold one.
        headers: Headers of each request.
        allow_private_urls: Whether the URL may lead to a private network or to this machine.
        verify: Whether the certificate of the other side is checked.

    Example:
        ```python
        from headgate.blocks.webhook import Webhook

        webhook = Webhook.load("BLOCK_NAME")
        await webhook.call({"key": "value"})
        ```
    """

    _block_type_name = "Webhook"

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = pydantic.Field(
        default="POST", description="The webhook request method. Defaults to `POST`."
    )
    url: pydantic.SecretStr = pydantic.Field(
        title="Webhook URL",
        description="The webhook URL.",
        examples=["https://hooks.slack.com/XXX"],
    )
    headers: SecretDict = pydantic.Field(
        default_factory=lambda: SecretDict({}),
        title="Webhook Headers",
        description="A dictionary of headers to send with the webhook request.",
    )
    allow_private_urls: bool = pydantic.Field(
        default=True,
        description="Whether to allow notifications to private URLs. Defaults to True.",
    )
    verify: bool = pydantic.Field(
        default=True, description="Whether or not to enforce a secure connection to the webhook."
    )

    async def call(self, payload: dict[str, Any] | str | None = None) -> Response:
        """Call the URL.

        Args:
            payload: The body: a dictionary is sent as JSON, a text as it is.

        Returns:
            The answer, whatever its status.

        Raises:
            NotificationError: There is no answer, or the URL may not be called.
        """
        return await anyio.to_thread.run_sync(_http.send, self._request(payload))

    def _request(self, payload: dict[str, Any] | str | None) -> _http.Request:
        body = None
        if isinstance(payload, str):
            body = (payload.encode(), "text/plain; charset=utf-8")
        elif payload is not None:
            body = (json.dumps(payload).encode(), "application/json")
        headers = self.headers.get_secret_value()
        return _http.Request(
            url=self.url.get_secret_value(),
            method=self.method,
            headers={str(name): str(value) for name, value in headers.items()},
            body=body,
            verify=self.verify,
            allow_private=self.allow_private_urls,
        )
