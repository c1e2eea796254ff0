"""What all runs of this process share: the clock, chance, and the links to servers."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import socket
import sys
import threading
from collections.abc import AsyncGenerator

from headgate import settings
from headgate.client import session
from headgate.core import errors, runs
from headgate.core.clock import process_clock as clock
from headgate.engine.link import Link, Stream
from headgate.logging import handlers

__all__ = ["clock", "is_fork_of_connected", "link", "rng", "stop_links", "take_log", "take_own_log"]

#: How long the end of the process waits for what is not committed yet.
EXIT_SECONDS = 10.0

rng = random.Random()

_lock = threading.Lock()
_is_fork_of_connected = False
#: Where lines went before there was a link here: in a child, to the process of its flow run.
_outer_sink: handlers.Sink | None = None
#: By what the settings said: the API URL, or the home folder of the embedded server.
_links: dict[str, Link] = {}


def link(*, connect_timeout_seconds: float | None = 30.0) -> Link:
    """Return the link to the server of the current settings; started if there is none.

    Args:
        connect_timeout_seconds: How long the first connection may take; None: for ever.

    Raises:
        ServerStartError: No server is configured and the embedded one did not start.
        MissingContextError: The process is a fork of one that is connected.
    """
    now = settings.current()
    key = now.api_url or f"embedded:{now.home}"
    found = _links.get(key)
    if found is not None and found.failure is None:
        return found
    if _is_fork_of_connected:
        msg = (
            "This process is a fork of one that is connected to the server, and gRPC does not "
            "survive a fork; run flows in processes that are spawned, as by "
            "multiprocessing.get_context('spawn')."
        )
        raise errors.MissingContextError(msg)
    with _lock:
        found = _links.get(key)
        if found is not None and found.failure is None:
            return found
        made = Link(
            _connector(now),
            name=f"{socket.gethostname()}:{os.getpid()}",
            connect_timeout_seconds=connect_timeout_seconds,
        )
        if not _links:
            atexit.register(stop_links)
            _use_sink()
        made.start()
        _links[key] = made
        return made


def is_fork_of_connected() -> bool:
    """Say whether this process is a fork of one that is connected, and cannot be so itself."""
    return _is_fork_of_connected


class _connector:  # noqa: N801  # is called as the function it stands for
    """Opens streams to the server of some settings."""

    def __init__(self, now: settings.Settings) -> None:
        from headgate.client import embedded

        self._ensure_server = embedded.ensure_server
        # Here, in the thread of the user, so that a server that does not start says so there.
        self._api_url = now.api_url or embedded.ensure_server()
        self._is_embedded = now.api_url is None

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncGenerator[Stream]:
        if self._is_embedded:
            import asyncio

            # The embedded server ends itself when idle, and may have been killed.
            try:
                self._api_url = await asyncio.to_thread(self._ensure_server)
            except errors.ServerStartError as error:
                # It did start once: no reason to give up the runs that are under way.
                raise errors.Unavailable(str(error)) from error
        async with session.connect(self._api_url) as stream:
            yield stream


def stop_links(timeout_seconds: float = EXIT_SECONDS, *, api_url: str | None = None) -> None:
    """Send what is left and end sessions in order; at the end of the process by itself.

    Args:
        timeout_seconds: How long that may take.
        api_url: Only the one with this server. Default: all.
    """
    emitting = sys.modules.get("headgate.events.emitting")
    if emitting is not None:  # first: a run that has ended has no event to come
        emitting.stop_senders(timeout_seconds, api_url=api_url)
    with _lock:
        keys = [key for key in _links if api_url is None or key == api_url]
        links = [_links.pop(key) for key in keys]
        if not _links:
            atexit.unregister(stop_links)
    for one in links:
        if not one.stop(timeout_seconds) and one.failure is None:
            handlers.set_sink(None)
            from headgate.logging import get_logger

            get_logger("headgate.link").warning(
                "The process ended before the server had stored everything that its runs "
                "reported; see whether the server runs."
            )


def _use_sink() -> None:
    global _outer_sink
    before = handlers.set_sink(take_log)
    if before is not take_log:
        _outer_sink = before


def take_log(record: runs.LogRecord) -> None:
    """Take a log line of a run; of one that another process records, if that is what we are for."""
    if not take_own_log(record) and _outer_sink is not None:
        _outer_sink(record)


def take_own_log(record: runs.LogRecord) -> bool:
    """Take a log line if it is of a run that this process records; returns whether it is."""
    for one in list(_links.values()):
        outbox = one.outbox(record.flow_run_id)
        if outbox is not None:
            # The run hears of the failure by its next state; a log line need not say so.
            with contextlib.suppress(errors.HeadgateError):
                outbox.log(record)
            return True
    return False


def _forget_links() -> None:
    """Begin anew in a fork: threads and connections stayed with the parent."""
    global _lock, rng, _is_fork_of_connected
    _lock = threading.Lock()
    rng = random.Random()
    _is_fork_of_connected = _is_fork_of_connected or bool(_links)
    for one in _links.values():
        one.detach()
    _links.clear()


os.register_at_fork(after_in_child=_forget_links)
