"""Notifications by any webhook."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from headgate import templates
from headgate.blocks import _http
from headgate.blocks._delivery import HttpNotificationBlock
from headgate.core import errors
from headgate.types import SecretDict

__all__ = ["CustomWebhookNotificationBlock"]


class CustomWebhookNotificationBlock(HttpNotificationBlock):
    """Enables sending notifications via any custom webhook.

    In all texts ``{{subject}}``, ``{{body}}``, ``{{name}}`` and the keys of ``secrets`` are
    replaced by their values.

    Example:
        ```python
        from headgate.blocks.notifications import CustomWebhookNotificationBlock

        CustomWebhookNotificationBlock.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Custom Webhook"
    _block_type_slug = "custom-webhook"

    name: str = pydantic.Field(title="Name", description="Name of the webhook.")
    url: str = pydantic.Field(
        title="Webhook URL",
        description="The webhook URL.",
        examples=["https://hooks.slack.com/XXX"],
    )
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = pydantic.Field(
        default="POST", description="The webhook request method. Defaults to `POST`."
    )
    params: dict[str, str] | None = pydantic.Field(
        default=None, title="Query Params", description="Custom query params."
    )
    json_data: dict[str, Any] | None = pydantic.Field(
        default=None,
        title="JSON Data",
        description="Send json data as payload.",
        examples=['{"text": "{{subject}}\\n{{body}}", "token": "{{tokenFromSecrets}}"}'],
    )
    form_data: dict[str, str] | None = pydantic.Field(
        default=None,
        title="Form Data",
        description="Send form data as payload. Should not be used together with _JSON Data_.",
        examples=['{"text": "{{subject}}\\n{{body}}", "token": "{{tokenFromSecrets}}"}'],
    )
    headers: dict[str, str] | None = pydantic.Field(default=None, description="Custom headers.")
    cookies: dict[str, str] | None = pydantic.Field(default=None, description="Custom cookies.")
    timeout: float = pydantic.Field(
        default=10, gt=0, description="Request timeout in seconds. Defaults to 10."
    )
    secrets: SecretDict = pydantic.Field(
        default_factory=lambda: SecretDict({}),
        title="Custom Secret Values",
        description="A dictionary of secret values to be substituted in other configs.",
        examples=['{"tokenFromSecrets":"SomeSecretToken"}'],
    )

    def block_initialization(self) -> None:
        """Look for placeholders that nothing will replace.

        Raises:
            BlockError: There are some, or both JSON and form data are given.
        """
        if self.form_data is not None and self.json_data is not None:
            msg = f"Webhook {self.name!r} has both form_data and json_data; give one of them."
            raise errors.BlockError(msg)
        known = {"subject", "body", "name", *self.secrets.get_secret_value()}
        for field in ("url", "params", "form_data", "json_data", "headers", "cookies"):
            for placeholder in templates.find_placeholders(getattr(self, field)):
                if placeholder.name not in known:
                    msg = (
                        f"{field} of webhook {self.name!r} has the placeholder "
                        f"{placeholder.full_match}, which nothing replaces; there are "
                        f"{', '.join(sorted(known))}."
                    )
                    raise errors.BlockError(msg)

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        values = {
            **self.secrets.get_secret_value(),
            # What the incumbent sends where there is none.
            "subject": "null" if subject is None else subject,
            "body": body,
            "name": self.name,
        }
        filled: Any = templates.apply_values(
            {
                "url": self.url,
                "params": self.params,
                "form": self.form_data,
                "json": self.json_data,
                "headers": self.headers or {},
                "cookies": self.cookies,
            },
            values,
        )
        url: str = filled["url"]
        if filled["params"]:
            joint = "&" if "?" in url else "?"
            url = f"{url}{joint}{urllib.parse.urlencode(filled['params'])}"
        content = None
        if filled["json"] is not None:
            content = _http.json_body(filled["json"])
        elif filled["form"] is not None:
            content = _http.form_body(filled["form"])
        headers = {key: str(value) for key, value in filled["headers"].items()}
        if filled["cookies"]:
            pairs = (f"{key}={value}" for key, value in filled["cookies"].items())
            headers["Cookie"] = "; ".join(pairs)
        return [
            _http.Request(
                url=url,
                method=self.method,
                headers=headers,
                body=content,
                timeout_seconds=self.timeout,
            )
        ]
