"""Formatters, where users of the incumbent, and their ``logging.yml``, look for them."""

from __future__ import annotations

from headgate.logging.formatting import ConsoleFormatter, JsonFormatter, MessageFormatter

HeadgateFormatter = ConsoleFormatter

__all__ = ["ConsoleFormatter", "HeadgateFormatter", "JsonFormatter", "MessageFormatter"]
