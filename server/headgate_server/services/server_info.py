"""What the server is, and the settings that it runs with."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from datetime import datetime

from headgate import _version
from headgate.core.clock import Clock


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What the server is; see ``server_service.proto``."""

    version: str
    api_versions: tuple[str, ...]
    features: tuple[str, ...]
    database: str
    instance_id: str
    server_time: datetime
    process_id: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, as it may be shown."""

    name: str
    value: str
    changed: bool


class ServerInfoService:
    """Says what the server is.

    Args:
        database: The kind of database.
        instance_id: The id of this server process.
        features: The optional parts of the contract that it has.
        settings: The settings in force, secrets masked.
        clock: Where time comes from.
    """

    def __init__(
        self,
        *,
        database: str,
        instance_id: str,
        features: Sequence[str],
        settings: Sequence[Setting],
        clock: Clock,
    ) -> None:
        """Make it."""
        self._database = database
        self._instance_id = instance_id
        self._features = tuple(features)
        self._settings = tuple(sorted(settings, key=lambda setting: setting.name))
        self._clock = clock

    def info(self) -> ServerInfo:
        """Return what the server is, now."""
        return ServerInfo(
            version=_version.__version__,
            api_versions=("headgate.api.v1",),
            features=self._features,
            database=self._database,
            instance_id=self._instance_id,
            server_time=self._clock.now(),
            process_id=os.getpid(),
        )

    def settings(self) -> Sequence[Setting]:
        """Return the settings by name."""
        return self._settings
