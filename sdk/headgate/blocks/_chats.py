"""Notifications in chats."""

from __future__ import annotations

import urllib.parse
from abc import ABC
from collections.abc import Sequence
from typing import Any

import pydantic

from headgate.blocks import _http
from headgate.blocks._delivery import TypedNotificationBlock

__all__ = ["DiscordWebhook", "MattermostWebhook", "MicrosoftTeamsWebhook", "SlackWebhook"]

_DISCORD_CHARACTERS_MAX = 2_000


class _UrlNotificationBlock(TypedNotificationBlock, ABC):
    url: pydantic.SecretStr = pydantic.Field(
        title="Webhook URL",
        description="Incoming webhook URL used to send notifications.",
        examples=["https://hooks.example.com/XXX"],
    )
    allow_private_urls: bool = pydantic.Field(
        default=True,
        description="Whether to allow notifications to private URLs. Defaults to True.",
    )

    def _post(self, value: Any) -> Sequence[_http.Request]:
        return [
            _http.Request(
                url=self.url.get_secret_value(),
                body=_http.json_body(value),
                allow_private=self.allow_private_urls,
            )
        ]


class SlackWebhook(_UrlNotificationBlock):
    """Enables sending notifications via a provided Slack webhook.

    Attributes:
        url: The incoming webhook of Slack.

    Example:
        ```python
        from headgate.blocks.notifications import SlackWebhook

        SlackWebhook.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Slack Webhook"
    _block_type_slug = "slack-webhook"

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        return self._post({"text": self._text(body, subject, mark="*")})


class MicrosoftTeamsWebhook(_UrlNotificationBlock):
    """Enables sending notifications via a provided Microsoft Teams webhook.

    Attributes:
        url: The webhook of a Teams workflow.
        wrap: Whether long lines are wrapped.

    Example:
        ```python
        from headgate.blocks.notifications import MicrosoftTeamsWebhook

        MicrosoftTeamsWebhook.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Microsoft Teams Webhook"
    _block_type_slug = "ms-teams-webhook"

    wrap: bool = pydantic.Field(
        default=True, description="Wrap the notification text to the next line."
    )

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        heading = self._heading(subject)
        lines: list[dict[str, Any]] = [{"type": "TextBlock", "text": body, "wrap": self.wrap}]
        if heading:
            lines.insert(
                0, {"type": "TextBlock", "text": heading, "weight": "bolder", "size": "medium"}
            )
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": lines,
        }
        kind = "application/vnd.microsoft.card.adaptive"
        attachment = {"contentType": kind, "contentUrl": None, "content": card}
        return self._post({"type": "message", "attachments": [attachment]})


class MattermostWebhook(TypedNotificationBlock):
    """Enables sending notifications via a provided Mattermost webhook.

    Example:
        ```python
        from headgate.blocks.notifications import MattermostWebhook

        MattermostWebhook.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Mattermost Webhook"
    _block_type_slug = "mattermost-webhook"

    hostname: str = pydantic.Field(
        description="The hostname of your Mattermost server.", examples=["Mattermost.example.com"]
    )
    secure: bool = pydantic.Field(
        default=False, description="Whether to use secure https connection."
    )
    token: pydantic.SecretStr = pydantic.Field(
        description="The token associated with your Mattermost webhook."
    )
    botname: str | None = pydantic.Field(
        default=None,
        title="Bot name",
        description="The name of the bot that will send the message.",
    )
    channels: list[str] | None = pydantic.Field(
        default=None, description="The channel(s) you wish to notify."
    )
    include_image: bool = pydantic.Field(
        default=False, description="Whether to include an icon in the message; for compatibility."
    )
    path: str | None = pydantic.Field(
        default=None, description="An optional sub-path specification to append to the hostname."
    )
    port: int = pydantic.Field(default=8065, description="The port of your Mattermost server.")

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        scheme = "https" if self.secure else "http"
        path = f"/{self.path.strip('/')}" if self.path and self.path.strip("/") else ""
        token = urllib.parse.quote(self.token.get_secret_value(), safe="")
        message: dict[str, Any] = {"text": self._text(body, subject, mark="**")}
        if self.botname:
            message["username"] = self.botname
        return [
            _http.Request(
                url=f"{scheme}://{self.hostname}:{self.port}{path}/hooks/{token}",
                body=_http.json_body({**message, "channel": channel} if channel else message),
            )
            for channel in self.channels or [""]
        ]


class DiscordWebhook(TypedNotificationBlock):
    """Enables sending notifications via a provided Discord webhook.

    Example:
        ```python
        from headgate.blocks.notifications import DiscordWebhook

        DiscordWebhook.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Discord Webhook"
    _block_type_slug = "discord-webhook"

    webhook_id: pydantic.SecretStr = pydantic.Field(
        description="The first part of 2 tokens provided to you after creating an incoming-webhook."
    )
    webhook_token: pydantic.SecretStr = pydantic.Field(
        description="The second part of 2 tokens provided to you after creating an "
        "incoming-webhook."
    )
    botname: str | None = pydantic.Field(
        default=None,
        title="Bot name",
        description="Identify the name of the bot that should issue the message. If one isn't "
        "specified then the default is to just use your account (associated with the "
        "incoming-webhook).",
    )
    tts: bool = pydantic.Field(default=False, description="Whether to enable Text-To-Speech.")
    include_image: bool = pydantic.Field(
        default=False, description="Whether to include an icon in the message; for compatibility."
    )
    avatar: bool = pydantic.Field(
        default=False, description="Whether to override the default discord avatar icon."
    )
    avatar_url: str | None = pydantic.Field(
        default=None,
        title="Avatar URL",
        description="Override the default discord avatar icon URL.",
    )

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        text = self._text(body, subject, mark="**")
        message: dict[str, Any] = {"content": text[:_DISCORD_CHARACTERS_MAX], "tts": self.tts}
        if self.botname:
            message["username"] = self.botname
        if self.avatar_url:
            message["avatar_url"] = self.avatar_url
        name, token = (
            urllib.parse.quote(part.get_secret_value(), safe="")
            for part in (self.webhook_id, self.webhook_token)
        )
        url = f"https://discord.com/api/webhooks/{name}/{token}"
        return [_http.Request(url=url, body=_http.json_body(message))]
