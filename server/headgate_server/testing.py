"""A server for tests within their own process: it remembers nothing, and its clock is theirs.

Registered as the entry point ``memory`` of the group ``headgate.testing``, where the SDK's harness
finds it without importing the server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from headgate.core.clock import Clock

__all__ = ["MemoryServer", "serve_in_memory"]

#: A test moves its clock by hours. No lease may end by that: whoever holds it is alive, as far as
#: a clock that jumps can tell.
_AGES_SECONDS = 10 * 365 * 86_400.0
#: Real time between two looks for what is due: the loops cannot see the clock of a test jump.
_LOOK_EVERY_SECONDS = 0.05


class MemoryServer:
    """A server that runs in the background of a block.

    Attributes:
        api_url: Its address.
    """

    def __init__(self, api_url: str, look: Callable[[], object]) -> None:
        self.api_url = api_url
        self._look = look

    def look(self) -> None:
        """Tell it, from any thread, that its clock was moved."""
        self._look()


@contextlib.contextmanager
def serve_in_memory(socket: Path, clock: Clock | None = None) -> Generator[MemoryServer]:
    """Run a server on a unix socket for the length of a ``with`` block.

    Args:
        socket: Where it listens.
        clock: Where its time comes from. Default: the machine.
    """
    import anyio.from_thread

    from headgate_server.app import App
    from headgate_server.settings import Settings

    settings = Settings(
        database_url="memory://",
        unix_socket=socket,
        shutdown_grace_seconds=0,
        lease_ttl_seconds=_AGES_SECONDS,
        offer_ttl_seconds=_AGES_SECONDS,
        late_interval_seconds=_LOOK_EVERY_SECONDS,
        pause_interval_seconds=_LOOK_EVERY_SECONDS,
        cancel_interval_seconds=_LOOK_EVERY_SECONDS,
        scheduler_interval_seconds=_LOOK_EVERY_SECONDS,
    )
    with anyio.from_thread.start_blocking_portal() as portal:
        app = App(settings, clock=clock)

        def look() -> None:
            # A portal that is being closed takes no calls; there is nothing to look for then.
            with contextlib.suppress(RuntimeError):
                portal.start_task_soon(app.parts.notifier.ready.give)

        running = portal.wrap_async_context_manager(app.running())
        running.__enter__()
        try:
            yield MemoryServer(app.target, look)
        finally:
            # Not told of what the test raised: its task group would wrap it in a group.
            running.__exit__(None, None, None)
