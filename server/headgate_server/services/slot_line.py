"""Gives slots that have become free to those who wait for them, first come, first served."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NoReturn

from headgate.core import errors
from headgate_server.domain import slots as domain
from headgate_server.services import slot_records
from headgate_server.services import slot_repair as repair
from headgate_server.services.loops import periodic
from headgate_server.services.notifier import Notifier, Signal
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.concurrency import SLOTS_TOPIC, Claim
from headgate_server.storage.records import Commit

_log = logging.getLogger("headgate.server.slots")

#: The net under the announcements, while somebody waits here.
_SWEEP_SECONDS = 1.0
#: Slots that decay fast are not looked at all the time.
_REST_SECONDS_MIN = 0.001
#: While nobody waits here, whatever there is to do is announced.
_IDLE_SECONDS = 60.0
#: How often ended claims are deleted.
_TIDY_SECONDS = 15.0
_TIDY_LIMIT = 500
#: How long after its end a claim is kept: a place in line for somebody who comes back, and what
#: a rate limit gave to somebody who asks again.
_KEEP_SECONDS = 60.0
#: How long slots wait to be taken by the call to which they were given.
_TAKE_SECONDS = 10.0
#: Of the line of each limit so many are looked at in one go; there is another where all got slots.
_LINE_MAX = 20
#: How many runs that are gone, and have slots nevertheless, are looked for at once.
_GONE_LIMIT = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What one go has done.

    Attributes:
        given: Who got slots.
        told: Who of those that wait here no longer waits in line: others gave them slots, or
            the limit is gone.
        rest_seconds: When to look again.
    """

    given: Sequence[str]
    told: Sequence[str]
    rest_seconds: float


class SlotLine:
    """The calls of this process that wait for slots, and the loop that serves them.

    Args:
        storage: Where the line is.
        notifier: Says when slots become free, and which runs have ended.
    """

    def __init__(self, storage: Storage, notifier: Notifier) -> None:
        """Make it; ``run`` does the work."""
        self._storage = storage
        self._notifier = notifier
        self._waiters: dict[str, Signal] = {}
        self._gone: set[str] = set()
        self._signal = Signal()

    @contextlib.contextmanager
    def waiting(self, lease_id: str) -> Generator[Signal]:
        """Be woken when slots were given to a request, for the length of the block."""
        before = self._waiters.get(lease_id)
        if before is not None:
            before.give()  # an older call with the same id, which its caller has given up
        waiter = self._waiters[lease_id] = Signal()
        try:
            yield waiter
        finally:
            if self._waiters.get(lease_id) is waiter:
                del self._waiters[lease_id]

    async def run(self) -> NoReturn:
        """Serve for ever."""
        unlisten = self._notifier.listen(self.on_commit)
        try:
            with self._notifier.topic(SLOTS_TOPIC) as signal:
                self._signal = signal
                while True:
                    seen = signal.count
                    rest_seconds = await self._try_step()
                    await signal.wait(seen, timeout_seconds=rest_seconds)
        finally:
            unlisten()

    def on_commit(self, commit: Commit) -> None:
        """Note the runs whose processes no longer execute them."""
        told = commit.flow_runs
        gone = [id for id in commit.flow_run_ids if id not in told or repair.is_gone(told[id])]
        if gone:
            self._gone.update(gone)
            self._signal.give()

    async def step(self) -> float:
        """Do all that can be done now; return when to look again, in seconds."""
        if self._gone:
            gone = sorted(self._gone)
            await self._storage.write(lambda tx: repair.release_gone(tx, gone))
            self._gone.difference_update(gone)
        if not self._waiters:
            return _IDLE_SECONDS
        while True:
            here = list(self._waiters)
            served = await self._storage.write(lambda tx, here=here: _serve(tx, here))
            for lease_id in (*served.given, *served.told):
                self._wake(lease_id)
            if not served.given:
                return served.rest_seconds

    async def _try_step(self) -> float:
        try:
            self._notifier.refuse_when_closed()
        except errors.Unavailable:
            for lease_id in list(self._waiters):
                self._wake(lease_id)
            return _IDLE_SECONDS
        try:
            return await self.step()
        except errors.Unavailable as error:
            _log.warning("Slots have to wait: %s", error)
        except Exception:  # a loop that ends would be missed silently and for ever
            _log.exception("The line for slots failed; it goes on in %g s", _SWEEP_SECONDS)
        return _SWEEP_SECONDS

    async def run_tidying(self) -> NoReturn:
        """Delete for ever what has long ended."""
        await periodic.forever("The sweep of slots", self.tidy, interval_seconds=_TIDY_SECONDS)

    async def tidy(self) -> bool:
        """Delete claims that ended long ago, or whose holders are; return whether there is more."""
        gone = await self._storage.read(lambda tx: repair.find_gone(tx, _GONE_LIMIT))
        if gone:
            await self._storage.write(lambda tx: repair.release_gone(tx, gone))
        keep = timedelta(seconds=_KEEP_SECONDS)
        tidied = await self._storage.write(
            lambda tx: tx.concurrency_limits.sweep(tx.now() - keep, _TIDY_LIMIT)
        )
        return tidied == _TIDY_LIMIT or len(gone) == _GONE_LIMIT

    def _wake(self, lease_id: str) -> None:
        waiter = self._waiters.get(lease_id)
        if waiter is not None:
            waiter.give()


def _serve(tx: Transaction, here: Sequence[str]) -> _Served:
    """Give free slots to those in line, wherever they wait.

    Args:
        tx: The transaction.
        here: Who waits in this process, to be told also what others have given to them.
    """
    limits, now = tx.concurrency_limits, tx.now()
    line = _line(tx)
    rooms = slot_records.rooms(tx, line)
    admitted = {wish.id: wish for wish in domain.admit(map(slot_records.wish, line), rooms)}
    for claims in line:
        if claims[0].lease_id in admitted:
            limits.put([_granted(claim, now) for claim in claims])
    for id in {id for wish in admitted.values() if wish.decays for id in wish.limit_ids}:
        limits.take(id, taken=rooms[id].taken)
    if admitted:
        limits.wake()  # other replicas, where some of them may wait
    waiting = set(limits.list_lease_ids_in_line())
    return _Served(
        given=list(admitted),
        told=[id for id in here if id not in waiting and id not in admitted],
        rest_seconds=_rest_seconds(tx, line, rooms),
    )


def _line(tx: Transaction) -> list[list[Claim]]:
    """Return the claims of those who are near the front of all lines they stand in, in order."""
    limits = tx.concurrency_limits
    near = {
        (claim.lease_id, claim.limit_id)
        for limit_id in limits.list_waited_for()
        for claim in limits.list_waiting(limit_id, _LINE_MAX)
    }
    leases = slot_records.by_lease(limits.claims(sorted({lease_id for lease_id, _ in near})))
    return [
        claims
        for claims in leases
        if all((claim.lease_id, claim.limit_id) in near for claim in claims)
    ]


def _granted(claim: Claim, now: datetime) -> Claim:
    """Return a claim as it is once it has its slots; the call that takes it makes it last."""
    taken = now + timedelta(seconds=_TAKE_SECONDS)
    return dataclasses.replace(claim, granted=True, acquire_time=now, expire_time=taken)


def _rest_seconds(
    tx: Transaction, line: Sequence[Sequence[Claim]], rooms: Mapping[str, domain.Room]
) -> float:
    """Say when slots become free without anybody's doing: a lease ends, or some have decayed."""
    rest_seconds = _SWEEP_SECONDS
    expiry = tx.concurrency_limits.next_expiry(list(rooms))
    if expiry is not None:
        rest_seconds = min(rest_seconds, (expiry - tx.now()).total_seconds())
    for claims in line:
        waits = [rooms[claim.limit_id].seconds_until(claim.slots) for claim in claims]
        # All of them are needed, so the last one counts; one without decay is told of otherwise.
        rest_seconds = min(
            rest_seconds, max((wait for wait in waits if wait), default=rest_seconds)
        )
    return max(rest_seconds, _REST_SECONDS_MIN)


__all__ = ["SlotLine"]
