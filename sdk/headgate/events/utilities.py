"""``emit_event``, where users of the incumbent look for it."""

from __future__ import annotations

from headgate.events.emitting import emit_event

__all__ = ["emit_event"]
