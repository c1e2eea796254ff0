"""What all notifications of Headgate's own have: they are HTTP requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias

import anyio.to_thread
import pydantic

from headgate.blocks import _events, _http
from headgate.blocks._awaitable import DONE, Done
from headgate.blocks.abstract import NotificationBlock
from headgate.core import errors

__all__ = ["HttpNotificationBlock", "NotifyType", "TypedNotificationBlock"]

NotifyType: TypeAlias = Literal["headgate_default", "info", "success", "warning", "failure"]


class HttpNotificationBlock(NotificationBlock, ABC):
    """A notification by HTTP requests."""

    def notify(self, body: str, subject: str | None = None) -> Done:
        """Send a notification; blocks until it is delivered.

        Args:
            body: What it says.
            subject: Its heading.

        Raises:
            NotificationError: It was not accepted, within ``raise_on_failure()``; elsewhere that
                is logged.
        """
        try:
            for request in self._requests(body, subject):
                _http.send(request).raise_for_status()
        except errors.NotificationError as error:
            _events.called(self, "notify", succeeded=False)
            if self._raise_on_failure:
                raise
            self.logger.warning("A notification was not delivered. %s", error)
        else:
            _events.called(self, "notify", succeeded=True)
        return DONE

    async def anotify(self, body: str, subject: str | None = None) -> None:
        """Send a notification; see ``notify``."""
        await anyio.to_thread.run_sync(self.notify, body, subject)

    @abstractmethod
    def _requests(self, body: str, subject: str | None) -> Sequence[_http.Request]:
        """Return the requests that deliver a notification."""


class TypedNotificationBlock(HttpNotificationBlock, ABC):
    """A notification of which people see what kind it is, where the service shows that."""

    notify_type: NotifyType = pydantic.Field(
        default="headgate_default",
        description="The type of notification being performed; the default is a plain one.",
    )

    def _heading(self, subject: str | None) -> str:
        """Return the subject, with the type of the notification if it has one."""
        if self.notify_type == "headgate_default":
            return subject or ""
        return " ".join(part for part in (f"[{self.notify_type.upper()}]", subject) if part)

    def _text(self, body: str, subject: str | None, *, mark: str = "") -> str:
        """Return heading and body as one text, the heading between marks."""
        heading = self._heading(subject)
        return f"{mark}{heading}{mark}\n{body}" if heading else body
