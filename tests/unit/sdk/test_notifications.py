"""Notifications: what is sent to whom, and what happens where nobody takes it."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from headgate.blocks import _http, notifications
from headgate.blocks.webhook import Webhook
from headgate.core import errors
from headgate.logging import get_logger
from headgate.types import SecretDict


class Listener(http.server.ThreadingHTTPServer):
    """An HTTP server that remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def json(self) -> Any:
        return json.loads(self.requests[-1][3])


class _Handler(http.server.BaseHTTPRequestHandler):
    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        assert isinstance(self.server, Listener)
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.server.answer)
        content = b'{"ok": true}'
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names of http.server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def only(block: Any, body: str = "Body", subject: str | None = None) -> tuple[_http.Request, Any]:
    """Return the one request of a notification, and what its body says."""
    [request] = block._requests(body, subject)
    content, kind = request.body
    if kind == "application/json":
        return request, json.loads(content)
    return request, dict(urllib.parse.parse_qsl(content.decode()))


def test_slack_is_posted_a_text_with_its_heading(listener: Listener):
    block = notifications.SlackWebhook(url=SecretStr(f"{listener.url}/T/B"))
    assert not block.notify("Body", subject="Subject")
    method, path, headers, _ = listener.requests[-1]
    assert (method, path) == ("POST", "/T/B")
    assert headers["User-Agent"].startswith("headgate/")
    assert listener.json() == {"text": "*Subject*\nBody"}
    block.notify("Body")
    assert listener.json() == {"text": "Body"}


async def test_a_notification_can_be_awaited_in_one_way_or_the_other(listener: Listener):
    block = notifications.SlackWebhook(url=SecretStr(listener.url), notify_type="failure")
    await block.anotify("One")
    # As async flows of the incumbent have it.
    assert await block.notify("Two", subject="S") is None
    sent = [json.loads(body)["text"] for _, _, _, body in listener.requests]
    assert sent == ["*[FAILURE]*\nOne", "*[FAILURE] S*\nTwo"]


def test_one_that_is_not_taken_is_logged_or_raised_on_demand(
    listener: Listener, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(get_logger(), "propagate", True)
    listener.answer = 404
    block = notifications.SlackWebhook(url=SecretStr(f"{listener.url}/s3cr3t"))
    with caplog.at_level(logging.WARNING):
        block.notify("Body")
    assert "A notification was not delivered. The answer was 404" in caplog.text
    assert "s3cr3t" not in caplog.text
    with block.raise_on_failure(), pytest.raises(errors.NotificationError, match="404") as caught:
        block.notify("Body")
    assert "s3cr3t" not in str(caught.value)
    listener.shutdown()
    listener.server_close()
    with block.raise_on_failure(), pytest.raises(errors.NotificationError) as caught:
        block.notify("Body")
    assert "127.0.0.1 was asked and did not answer" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "ftp://x/y", "file:///etc/passwd", "http://", "slack://x"])
def test_what_is_no_http_url_is_refused(url: str):
    with pytest.raises(errors.NotificationError, match="give the whole URL"):
        _http.send(_http.Request(url=url))


def test_private_addresses_are_refused_on_demand_and_so_is_a_way_around(listener: Listener):
    block = notifications.SlackWebhook(url=SecretStr(listener.url), allow_private_urls=False)
    with block.raise_on_failure(), pytest.raises(errors.NotificationError, match="no public"):
        block.notify("Body")
    assert listener.requests == []
    for host in ("localhost", "10.0.0.1", "169.254.169.254", "::1", "192.168.0.1"):
        with pytest.raises(errors.NotificationError, match="no public address"):
            _http.refuse_private(host)
    _http.refuse_private("1.1.1.1")
    handler = _http._NoWayInside()
    with pytest.raises(errors.NotificationError, match="no public address"):
        handler.redirect_request(None, None, 302, "", {}, f"{listener.url}/x")  # pyright: ignore[reportArgumentType]  # not looked at


def test_teams_is_posted_a_card():
    block = notifications.MicrosoftTeamsWebhook(url=SecretStr("https://x/y"))
    _, message = only(block, subject="Subject")
    [attachment] = message["attachments"]
    texts = [line["text"] for line in attachment["content"]["body"]]
    assert texts == ["Subject", "Body"]


def test_pagerduty_is_sent_an_event():
    block = notifications.PagerDutyWebHook(
        integration_key=SecretStr("i"),
        api_key=SecretStr("a"),
        notify_type="failure",
        region_name="eu",
        clickable_url="https://me/run",  # pyright: ignore[reportArgumentType]  # a text is taken
        custom_details={"k": "v"},
    )
    request, event = only(block, subject="Subject")
    assert request.url == "https://events.eu.pagerduty.com/v2/enqueue"
    assert event["routing_key"] == "i"
    assert event["payload"] == {
        "summary": "Subject - Body",
        "source": "Headgate",
        "severity": "critical",
        "component": "Notification",
        "custom_details": {"k": "v"},
    }
    assert event["links"] == [{"href": "https://me/run"}]


def test_twilio_sends_one_message_to_each_number():
    block = notifications.TwilioSMS(
        account_sid="AC1",
        auth_token=SecretStr("t"),
        from_phone_number="18001234567",
        to_phone_numbers=["+49 (170) 1", "18004242424"],
    )
    first, second = block._requests("Body", None)
    assert first.url == "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json"
    assert first.headers == {"Authorization": "Basic QUMxOnQ="}
    assert first.body == (
        b"From=%2B18001234567&To=%2B491701&Body=Body",
        "application/x-www-form-urlencoded",
    )
    assert second.body is not None
    assert b"To=%2B18004242424" in second.body[0]


def test_opsgenie_is_told_whom_to_alert_one_by_one_or_all_at_once():
    block = notifications.OpsgenieWebhook(
        apikey=SecretStr("k"), target_user=["me"], target_team=["us"], priority=5, tags=["t"]
    )
    first, second = block._requests("Body", "Subject")
    assert first.headers == {"Authorization": "GenieKey k"}
    alert = json.loads((first.body or (b"", ""))[0])
    assert alert == {
        "message": "Subject",
        "description": "Body",
        "tags": ["t"],
        "priority": "P1",
        "responders": [{"type": "user", "username": "me"}],
    }
    assert json.loads((second.body or (b"", ""))[0])["responders"] == [
        {"type": "team", "name": "us"}
    ]
    block.batch = True
    _, alert = only(block)
    assert len(alert["responders"]) == 2


def test_mattermost_and_discord_have_their_secrets_in_the_url():
    block = notifications.MattermostWebhook(
        hostname="chat", token=SecretStr("t"), channels=["a", "b"], path="/sub/", botname="bot"
    )
    first, second = block._requests("Body", None)
    assert first.url == second.url == "http://chat:8065/sub/hooks/t"
    assert first.body == _http.json_body({"text": "Body", "username": "bot", "channel": "a"})
    discord = notifications.DiscordWebhook(webhook_id=SecretStr("i"), webhook_token=SecretStr("t"))
    request, message = only(discord, body="x" * 5_000)
    assert request.url == "https://discord.com/api/webhooks/i/t"
    assert len(message["content"]) == 2_000


def test_sendgrid_writes_to_each_by_itself():
    block = notifications.SendgridEmail(
        api_key=SecretStr("k"), sender_email="me@x", to_emails=["a@x", "b@x"]
    )
    request, mail = only(block)
    assert request.headers == {"Authorization": "Bearer k"}
    assert [to["to"] for to in mail["personalizations"]] == [[{"email": "a@x"}], [{"email": "b@x"}]]
    assert mail["subject"] == "Headgate"


def custom(listener: Listener, **options: Any) -> notifications.CustomWebhookNotificationBlock:
    url = options.pop("url", f"{listener.url}/{{{{name}}}}")
    return notifications.CustomWebhookNotificationBlock(name="hook", url=url, **options)


def test_a_custom_webhook_fills_in_subject_body_name_and_secrets(listener: Listener):
    block = custom(
        listener,
        method="PUT",
        params={"q": "{{subject}}"},
        json_data={"text": "{{body}}!", "nested": [{"token": "{{token}}"}]},
        headers={"X-Token": "{{token}}"},
        cookies={"c": "{{name}}"},
        secrets=SecretDict({"token": "s3cr3t"}),
    )
    block.notify('"quoted"')
    method, path, headers, _ = listener.requests[-1]
    assert (method, path) == ("PUT", "/hook?q=null")
    assert headers["X-Token"] == "s3cr3t"
    assert headers["Cookie"] == "c=hook"
    assert listener.json() == {"text": '"quoted"!', "nested": [{"token": "s3cr3t"}]}
    custom(listener, form_data={"a": "{{subject}}"}).notify("", subject="S&S")
    assert listener.requests[-1][3] == b"a=S%26S"


def test_a_custom_webhook_that_cannot_be_is_refused_when_it_is_made(listener: Listener):
    with pytest.raises(errors.BlockError, match="json_data of webhook 'hook' has the placeholder"):
        custom(listener, json_data={"a": "{{ typo }}"})
    with pytest.raises(errors.BlockError, match="both form_data and json_data"):
        custom(listener, json_data={}, form_data={})


async def test_a_webhook_is_called_with_json_or_text_and_its_answer_returned(listener: Listener):
    webhook = Webhook(url=SecretStr(listener.url), headers=SecretDict({"X-A": "1"}))
    answer = await webhook.call({"a": 1})
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert listener.requests[-1][2]["X-A"] == "1"
    assert listener.json() == {"a": 1}
    await webhook.call("text")
    assert listener.requests[-1][3] == b"text"
    listener.answer = 500
    answer = await webhook.call()
    assert listener.requests[-1][3] == b""
    with pytest.raises(errors.NotificationError, match="500"):
        answer.raise_for_status()
    closed = webhook.model_copy(update={"allow_private_urls": False})
    with pytest.raises(errors.NotificationError, match="no public address"):
        await closed.call()
