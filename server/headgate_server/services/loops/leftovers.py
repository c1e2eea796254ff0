"""Ends what lost and cancelled runs left behind, where whoever ended the run did not come to it.

The task runs and subflows that are left are ended after the commit that ends their run. In between
a stream may break, a caller may go away, a server may be killed.
"""

from __future__ import annotations

from typing import NoReturn

from headgate.core.runs import RunKind
from headgate.core.states import StateType
from headgate_server.services.loops import periodic
from headgate_server.services.notifier import Notifier, Signal
from headgate_server.services.orchestration import Orchestration
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Commit, JournalFilter

_INTERVAL_SECONDS = 30.0
#: How much of the journal is looked through at the start, and for how many runs at most.
_RECENT_LINES = 50_000
_RECENT_RUNS = 1_000
_LOST = (StateType.CRASHED, StateType.CANCELLED)


class Leftovers:
    """Looks once more at each run that was lost or cancelled.

    Args:
        storage: Where runs are kept.
        notifier: Says which runs ended.
        orchestration: Ends what is left.
    """

    def __init__(
        self, storage: Storage, notifier: Notifier, *, orchestration: Orchestration
    ) -> None:
        """Make it; ``run`` does the work."""
        self._storage = storage
        self._notifier = notifier
        self._orchestration = orchestration
        self._signal = Signal()
        self._waiting: dict[str, None] = {}
        self._knows_the_past = False

    async def run(self) -> NoReturn:
        """Go on for ever; woken at once when a run was lost or cancelled."""
        unlisten = self._notifier.listen(self.on_commit)
        try:
            await periodic.forever(
                "The loop of leftovers",
                self.step,
                interval_seconds=_INTERVAL_SECONDS,
                signal=self._signal,
            )
        finally:
            unlisten()

    def on_commit(self, commit: Commit) -> None:
        """Note the runs that a commit ended."""
        told = commit.flow_runs
        lost = [id for id in commit.flow_run_ids if id not in told or told[id].state.type in _LOST]
        if lost:
            self._waiting.update(dict.fromkeys(lost))
            self._signal.give()

    async def step(self) -> None:
        """Look at the runs that were lost since the last step; at first, before the start."""
        if not self._knows_the_past:
            self._waiting.update(dict.fromkeys(await self._storage.read(_recently_lost)))
            self._knows_the_past = True
        while self._waiting:
            id = next(iter(self._waiting))
            await periodic.each("The loop of leftovers", [id], self._end_what_is_left)
            self._waiting.pop(id, None)

    async def _end_what_is_left(self, id: str) -> None:
        run = await self._storage.read(lambda tx: tx.flow_runs.get(id))
        if run is not None and run.state.type in _LOST:
            await self._orchestration.end_what_is_left(run)


def _recently_lost(tx: Transaction) -> list[str]:
    where = JournalFilter(kind=RunKind.FLOW_RUN, state_types=_LOST)
    after = max(0, tx.journal.newest() - _RECENT_LINES)
    return [line.run_id for line in tx.journal.read(after, where, _RECENT_RUNS)]


__all__ = ["Leftovers"]
