"""What every command may use: the client and the clock, so that tests can give their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import click

from headgate.core import clock

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient


def _open_client() -> AbstractContextManager[SyncHeadgateClient]:
    from headgate.client import orchestration  # loads grpc: only for commands that call

    return orchestration.get_client(sync_client=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The outside world of a command.

    Attributes:
        client: Opens a client to the configured server, or to the embedded one.
        clock: Where time comes from.
    """

    client: Callable[[], AbstractContextManager[SyncHeadgateClient]] = _open_client
    clock: clock.Clock = dataclasses.field(default_factory=clock.SystemClock)


pass_app = click.make_pass_decorator(App, ensure=True)
