"""Blocks that tell people something: by chat, by page, by mail, by any webhook."""

from __future__ import annotations

from headgate.blocks._alerts import OpsgenieWebhook, PagerDutyWebHook, SendgridEmail, TwilioSMS
from headgate.blocks._chats import (
    DiscordWebhook,
    MattermostWebhook,
    MicrosoftTeamsWebhook,
    SlackWebhook,
)
from headgate.blocks._custom_webhook import CustomWebhookNotificationBlock

__all__ = [
    "CustomWebhookNotificationBlock",
    "DiscordWebhook",
    "MattermostWebhook",
    "MicrosoftTeamsWebhook",
    "OpsgenieWebhook",
    "PagerDutyWebHook",
    "SendgridEmail",
    "SlackWebhook",
    "TwilioSMS",
]
