"""The parts of the server behind the streams, tied together."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from headgate.core.clock import Clock
from headgate_server.services.engine_sessions import EngineSessions
from headgate_server.services.hub import Hub
from headgate_server.services.leasing import Leasing
from headgate_server.services.log_tail import LogTail
from headgate_server.services.loops.leftovers import Leftovers
from headgate_server.services.loops.offers import Offers
from headgate_server.services.loops.reaper import Reaper
from headgate_server.services.matcher import Matcher
from headgate_server.services.notifier import Notifier
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.runner_sessions import RunnerSessions
from headgate_server.services.sessions import ConnectedStreams, StreamSettings, new_token
from headgate_server.services.stream_context import StreamContext
from headgate_server.services.watch import Watch
from headgate_server.storage.interface import Storage


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streams:
    """All that streams need.

    Attributes:
        notifier: To be attached to the storage when that is open.
        connected: The streams that are open; ``drain`` it before the server stops.
        loops: To be run as long as the server does.
    """

    notifier: Notifier
    connected: ConnectedStreams
    engines: EngineSessions
    runners: RunnerSessions
    watch: Watch
    log_tail: LogTail
    leasing: Leasing
    matcher: Matcher
    reaper: Reaper
    offers: Offers
    loops: Sequence[Callable[[], Coroutine[Any, Any, object]]]


def make_streams(
    storage: Storage,
    *,
    orchestration: Orchestration,
    clock: Clock,
    settings: StreamSettings,
    new_id: Callable[[], str],
    rng: random.Random,
) -> Streams:
    """Make the parts and tie them together."""
    notifier = Notifier()
    hub = Hub(storage, notifier)
    connected = ConnectedStreams(rng, settings, on_drain=notifier.close)
    leasing = Leasing(storage, orchestration=orchestration, new_id=new_id)
    matcher = Matcher(storage, notifier, offer_ttl_seconds=settings.offer_ttl_seconds)
    reaper = Reaper(
        storage, leasing=leasing, hub=hub, settings=settings, clock=clock, new_id=new_id
    )
    offers = Offers(storage, leasing=leasing)
    leftovers = Leftovers(storage, notifier, orchestration=orchestration)
    context = StreamContext(
        storage=storage,
        orchestration=orchestration,
        notifier=notifier,
        hub=hub,
        connected=connected,
        clock=clock,
        settings=settings,
        rng=rng,
        new_id=new_id,
        new_token=new_token,
    )
    return Streams(
        notifier=notifier,
        connected=connected,
        engines=EngineSessions(context),
        runners=RunnerSessions(context, leasing=leasing, matcher=matcher),
        watch=Watch(storage, notifier, clock),
        log_tail=LogTail(storage, notifier, clock),
        leasing=leasing,
        matcher=matcher,
        reaper=reaper,
        offers=offers,
        loops=(hub.run, matcher.run, reaper.run, offers.run, leftovers.run),
    )


__all__ = ["Streams", "make_streams"]
