"""What streams are surrounded by, made once by the composition root."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from headgate.core.clock import Clock
from headgate_server.services.hub import Hub
from headgate_server.services.notifier import Notifier
from headgate_server.services.orchestration import Orchestration
from headgate_server.services.sessions import ConnectedStreams, StreamSettings
from headgate_server.storage.interface import Storage


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamContext:
    """The parts of the server that streams use.

    Attributes:
        new_id: Makes ids.
        new_token: Makes resume tokens.
        rng: Where chance comes from: names of runs, spreading of reconnects.
    """

    storage: Storage
    orchestration: Orchestration
    notifier: Notifier
    hub: Hub
    connected: ConnectedStreams
    clock: Clock
    settings: StreamSettings
    rng: random.Random
    new_id: Callable[[], str]
    new_token: Callable[[], str]
