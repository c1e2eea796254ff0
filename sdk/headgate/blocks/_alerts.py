"""Notifications that wake people: pages, text messages, mails."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from headgate.blocks import _http
from headgate.blocks._delivery import HttpNotificationBlock, TypedNotificationBlock

__all__ = ["OpsgenieWebhook", "PagerDutyWebHook", "SendgridEmail", "TwilioSMS"]

_OPSGENIE_MESSAGE_CHARACTERS_MAX = 130
_PAGERDUTY_SUMMARY_CHARACTERS_MAX = 1_024
_DEFAULT_SUBJECT = "Headgate"


class PagerDutyWebHook(HttpNotificationBlock):
    """Enables sending notifications via a provided PagerDuty webhook.

    Example:
        ```python
        from headgate.blocks.notifications import PagerDutyWebHook

        PagerDutyWebHook.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Pager Duty Webhook"
    _block_type_slug = "pager-duty-webhook"

    notify_type: Literal["info", "success", "warning", "failure"] = pydantic.Field(
        default="info", description="The severity of the notification."
    )
    integration_key: pydantic.SecretStr = pydantic.Field(
        description="This can be found on the Events API V2 integration's detail page, and is "
        "also referred to as a Routing Key."
    )
    api_key: pydantic.SecretStr = pydantic.Field(
        title="API Key", description="This can be found under Integrations."
    )
    source: str | None = pydantic.Field(
        default="Headgate", description="The source string as part of the payload."
    )
    component: str = pydantic.Field(
        default="Notification", description="The component string as part of the payload."
    )
    group: str | None = pydantic.Field(
        default=None, description="The group string as part of the payload."
    )
    class_id: str | None = pydantic.Field(
        default=None, title="Class ID", description="The class string as part of the payload."
    )
    region_name: Literal["us", "eu"] = pydantic.Field(default="us", description="The region name.")
    clickable_url: pydantic.AnyHttpUrl | None = pydantic.Field(
        default=None,
        title="Clickable URL",
        description="A clickable URL to associate with the notice.",
    )
    include_image: bool = pydantic.Field(
        default=True, description="Associate the notification with an icon; for compatibility."
    )
    custom_details: dict[str, str] | None = pydantic.Field(
        default=None,
        description="Additional details to include as part of the payload.",
        examples=['{"disk_space_left": "145GB"}'],
    )

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        severities = {"info": "info", "success": "info", "warning": "warning"}
        summary = f"{subject} - {body}" if subject else body
        payload = {
            "summary": summary[:_PAGERDUTY_SUMMARY_CHARACTERS_MAX],
            "source": self.source or "Headgate",
            "severity": severities.get(self.notify_type, "critical"),
            "component": self.component,
            "group": self.group,
            "class": self.class_id,
            "custom_details": self.custom_details,
        }
        event: dict[str, Any] = {
            "routing_key": self.integration_key.get_secret_value(),
            "event_action": "trigger",
            "payload": {name: value for name, value in payload.items() if value is not None},
        }
        if self.clickable_url is not None:
            event["links"] = [{"href": str(self.clickable_url)}]
        host = "events.eu.pagerduty.com" if self.region_name == "eu" else "events.pagerduty.com"
        headers = {"Authorization": f"Token token={self.api_key.get_secret_value()}"}
        return [
            _http.Request(
                url=f"https://{host}/v2/enqueue", headers=headers, body=_http.json_body(event)
            )
        ]


class TwilioSMS(TypedNotificationBlock):
    """Enables sending notifications via Twilio SMS.

    Example:
        ```python
        from headgate.blocks.notifications import TwilioSMS

        TwilioSMS.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Twilio SMS"
    _block_type_slug = "twilio-sms"

    account_sid: str = pydantic.Field(
        description="The Twilio Account SID - it can be found on the homepage of the Twilio "
        "console."
    )
    auth_token: pydantic.SecretStr = pydantic.Field(
        description="The Twilio Authentication Token - it can be found on the homepage of the "
        "Twilio console."
    )
    from_phone_number: str = pydantic.Field(
        description="The valid Twilio phone number to send the message from.",
        examples=["18001234567"],
    )
    to_phone_numbers: list[str] = pydantic.Field(
        description="A list of valid Twilio phone number(s) to send the message to.",
        examples=["18004242424"],
    )

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        sid = urllib.parse.quote(self.account_sid, safe="")
        login = f"{self.account_sid}:{self.auth_token.get_secret_value()}".encode()
        headers = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
        return [
            _http.Request(
                url=f"https://api.twilio.com/2010-04-01/Accounts/{sid}/Messages.json",
                headers=headers,
                body=_http.form_body(
                    {
                        "From": _phone(self.from_phone_number),
                        "To": _phone(number),
                        "Body": self._text(body, subject),
                    }
                ),
            )
            for number in self.to_phone_numbers
        ]


class OpsgenieWebhook(TypedNotificationBlock):
    """Enables sending notifications via a provided Opsgenie webhook.

    Example:
        ```python
        from headgate.blocks.notifications import OpsgenieWebhook

        OpsgenieWebhook.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Opsgenie Webhook"
    _block_type_slug = "opsgenie-webhook"

    apikey: pydantic.SecretStr = pydantic.Field(
        title="API Key", description="The API Key associated with your Opsgenie account."
    )
    target_user: list[str] | None = pydantic.Field(
        default=None, description="The user(s) you wish to notify."
    )
    target_team: list[str] | None = pydantic.Field(
        default=None, description="The team(s) you wish to notify."
    )
    target_schedule: list[str] | None = pydantic.Field(
        default=None, description="The schedule(s) you wish to notify."
    )
    target_escalation: list[str] | None = pydantic.Field(
        default=None, description="The escalation(s) you wish to notify."
    )
    region_name: Literal["us", "eu"] = pydantic.Field(
        default="us", description="The 2-character region code."
    )
    batch: bool = pydantic.Field(
        default=False, description="Notify all targets in batches (instead of individually)."
    )
    tags: list[str] | None = pydantic.Field(
        default=None,
        description="A comma-separated list of tags you can associate with your Opsgenie message.",
        examples=['["tag1", "tag2"]'],
    )
    priority: int | str | None = pydantic.Field(
        default=3,
        description="The priority to associate with the message. It is on a scale between 1 (LOW) "
        "and 5 (EMERGENCY).",
    )
    alias: str | None = pydantic.Field(
        default=None, description="The alias to associate with the message."
    )
    entity: str | None = pydantic.Field(
        default=None, description="The entity to associate with the message."
    )
    details: dict[str, str] | None = pydantic.Field(
        default=None,
        description="Additional details composed of key/values pairs.",
        examples=['{"key1": "value1", "key2": "value2"}'],
    )

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        alert = {
            "message": (self._heading(subject) or body)[:_OPSGENIE_MESSAGE_CHARACTERS_MAX],
            "description": body,
            "tags": self.tags,
            "priority": self._opsgenie_priority(),
            "alias": self.alias,
            "entity": self.entity,
            "details": self.details,
        }
        given = {name: value for name, value in alert.items() if value is not None}
        host = "api.eu.opsgenie.com" if self.region_name == "eu" else "api.opsgenie.com"
        targets = self._targets()
        groups = [targets] if self.batch or not targets else [[target] for target in targets]
        return [
            _http.Request(
                url=f"https://{host}/v2/alerts",
                headers={"Authorization": f"GenieKey {self.apikey.get_secret_value()}"},
                body=_http.json_body({**given, "responders": group} if group else given),
            )
            for group in groups
        ]

    def _opsgenie_priority(self) -> str | None:
        """Return the service's own name: its P1 is the most urgent, here it is 5."""
        text = str(self.priority or "").upper()
        return f"P{6 - int(text)}" if text in ("1", "2", "3", "4", "5") else text or None

    def _targets(self) -> list[dict[str, str]]:
        listed = (
            ("user", "username", self.target_user),
            ("team", "name", self.target_team),
            ("schedule", "name", self.target_schedule),
            ("escalation", "name", self.target_escalation),
        )
        return [{"type": kind, key: name} for kind, key, names in listed for name in names or ()]


class SendgridEmail(TypedNotificationBlock):
    """Enables sending notifications via Sendgrid email service.

    Example:
        ```python
        from headgate.blocks.notifications import SendgridEmail

        SendgridEmail.load("BLOCK_NAME").notify("Hello from Headgate!")
        ```
    """

    _block_type_name = "Sendgrid Email"
    _block_type_slug = "sendgrid-email"

    api_key: pydantic.SecretStr = pydantic.Field(
        title="API Key", description="The API Key associated with your sendgrid account."
    )
    sender_email: str = pydantic.Field(
        title="Sender email id",
        description="The sender email id.",
        examples=["test-support@gmail.com"],
    )
    to_emails: list[str] = pydantic.Field(
        title="Recipient emails",
        description="Email ids of all recipients.",
        examples=["recipient1@gmail.com"],
    )

    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        mail = {
            "personalizations": [{"to": [{"email": address}]} for address in self.to_emails],
            "from": {"email": self.sender_email},
            "subject": self._heading(subject) or _DEFAULT_SUBJECT,
            "content": [{"type": "text/plain", "value": body}],
        }
        return [
            _http.Request(
                url="https://api.sendgrid.com/v3/mail/send",
                headers={"Authorization": f"Bearer {self.api_key.get_secret_value()}"},
                body=_http.json_body(mail),
            )
        ]


def _phone(number: str) -> str:
    """Return a number as the service wants it: with a plus before the country."""
    digits = "".join(character for character in number if character.isdigit())
    return f"+{digits}"
