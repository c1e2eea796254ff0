"""Keeps the runs of schedules ahead of time."""

from __future__ import annotations

from typing import NoReturn

from headgate.core import deployments
from headgate_server.services.loops import periodic
from headgate_server.services.scheduling import Scheduling
from headgate_server.storage.interface import Storage
from headgate_server.storage.records import PageRequest

_PAGE = 100


class Scheduler:
    """Tops up the runs of all active schedules.

    Args:
        storage: Where deployments and runs are kept.
        scheduling: Makes the runs.
        interval_seconds: How often.
    """

    def __init__(
        self, storage: Storage, *, scheduling: Scheduling, interval_seconds: float
    ) -> None:
        """Make it."""
        self._storage = storage
        self._scheduling = scheduling
        self._interval_seconds = interval_seconds

    async def run(self) -> NoReturn:
        """Go on for ever; woken at once when a deployment has changed."""
        await periodic.forever(
            "The scheduler",
            self.step,
            interval_seconds=self._interval_seconds,
            signal=self._scheduling.changed,
        )

    async def step(self) -> None:
        """Look at every deployment with an active schedule once."""
        page = PageRequest(size=_PAGE)
        while True:
            found = await self._storage.read(
                lambda tx, page=page: tx.deployments.list_scheduled(page)
            )
            await periodic.each("The scheduler", found.items, self._top_up)
            if found.next is None:
                return
            page = PageRequest(size=_PAGE, after=found.next)

    async def _top_up(self, deployment: deployments.Deployment) -> None:
        missing = await self._storage.read(
            lambda tx: self._scheduling.count_missing(tx, deployment)
        )
        if missing:
            await self._storage.write(lambda tx: self._scheduling.top_up(tx, deployment))
