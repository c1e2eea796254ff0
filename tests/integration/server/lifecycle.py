"""What events tell of the things that a server keeps."""

from __future__ import annotations

from headgate.core.events import EventFilter
from headgate_server.app import App
from headgate_server.storage.records import PageRequest


async def event_names(app: App, prefix: str) -> list[str]:
    """Return the names of events that begin so, the oldest first."""
    where = EventFilter(name_prefixes=(prefix,))
    page = await app.storage.read(
        lambda tx: tx.events.list(where, PageRequest(size=100), ascending=True)
    )
    return [event.name for event in page.items]
