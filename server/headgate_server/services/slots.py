"""Slots of concurrency limits: asked for, waited for in line, renewed, given back.

The line is in storage, so it holds over breaks of a connection and over replicas. Whoever waits
is a call that sleeps in one replica; that replica's ``SlotLine`` gives out what becomes free and
wakes the call, which then takes what was given to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

import anyio

from headgate.core import concurrency, errors
from headgate.core.concurrency import SlotAnswer, SlotLease, SlotMode, SlotRequest
from headgate_server.domain.checks import Checks
from headgate_server.services.notifier import Notifier
from headgate_server.services.slot_line import SlotLine
from headgate_server.services.slot_records import lease, room, taken_now
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.concurrency import Claim, StoredLimit

#: How long a place in line counts after its last call has ended: the next one is on its way.
_GRACE_SECONDS = 10.0
_LEAVE_SECONDS = 5.0
_HOLDER_CHARACTERS_MAX = 255
_NAME_CHARACTERS_MAX = 300


class SlotService:
    """Use-cases of slots.

    Args:
        storage: Where claims are kept.
        notifier: Says when the server shuts down.
        line: Wakes those who wait.
    """

    def __init__(self, storage: Storage, notifier: Notifier, line: SlotLine) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._notifier = notifier
        self._line = line

    async def acquire(self, request: SlotRequest) -> SlotAnswer:
        """Take slots; wait for them as long as is asked.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: A limit does not exist, and the request is strict.
            FailedPrecondition: The limits can never give what is asked.
            Unavailable: The server shuts down.
        """
        _check(request)
        wait_seconds = min(request.wait_seconds, concurrency.WAIT_SECONDS_MAX)
        deadline = anyio.current_time() + wait_seconds
        with self._line.waiting(request.id) as waiter:
            try:
                while True:
                    left = max(0.0, deadline - anyio.current_time())
                    seen = waiter.count
                    answer = await self._storage.write(lambda tx, left=left: ask(tx, request, left))
                    if answer.acquired or not left:
                        return answer
                    await waiter.wait(seen, timeout_seconds=left)
                    self._notifier.refuse_when_closed()
            except anyio.get_cancelled_exc_class():
                # Who asked is gone: those behind must not wait for somebody who does not answer.
                with anyio.move_on_after(_LEAVE_SECONDS, shield=True):
                    await self._storage.write(lambda tx: _leave(tx, request.id))
                raise

    async def renew(self, lease_id: str) -> SlotLease:
        """Let a lease live for its duration from now.

        Raises:
            InvalidArgument: The id is none.
            NotFound: The lease has ended.
        """
        _check_id(lease_id)
        return await self._storage.write(lambda tx: _renew(tx, lease_id))

    async def release(self, lease_id: str) -> None:
        """End a lease, or the wait for one.

        Raises:
            InvalidArgument: The id is none.
        """
        _check_id(lease_id)
        await self._storage.write(lambda tx: tx.concurrency_limits.release(lease_id))


def ask(tx: Transaction, request: SlotRequest, left_seconds: float) -> SlotAnswer:
    """Give slots to a request, or a place in line."""
    limits = tx.concurrency_limits
    found = limits.get_many(request.names)
    missing = _missing(request, found)
    counting = [stored for stored in found if stored.limit.active]
    now = tx.now()
    known = limits.claims([request.id])
    granted = [claim for claim in known if claim.granted and _counts(claim, now)]
    if granted:
        return _given(tx, request, granted, found, missing)
    if not counting:
        limits.release(request.id)
        return SlotAnswer(acquired=True, missing_names=missing)
    _refuse_impossible(request, counting)
    waiting = [claim for claim in known if not claim.granted]
    if not waiting and _is_free(tx, request.slots, counting):
        return SlotAnswer(acquired=True, lease=_grant(tx, request, counting), missing_names=missing)
    if request.wait_seconds > 0:
        ticket = waiting[0].ticket if waiting else limits.next_ticket()
        until = now + timedelta(seconds=left_seconds + _GRACE_SECONDS)
        limits.put(_claims(tx, request, counting, ticket, granted=False, until=until))
        limits.wake()
    else:
        limits.release(request.id)
    return SlotAnswer(acquired=False, missing_names=missing)


def _counts(claim: Claim, now: datetime) -> bool:
    """Say whether what was granted is the answer to a repeated request as well.

    Slots of a rate limit are taken for good: their claim holds nothing, and remembers for a while
    that they were given, for an answer may be lost on its way.
    """
    return claim.mode is SlotMode.RATE_LIMIT or claim.expire_time > now


def _missing(request: SlotRequest, found: Sequence[StoredLimit]) -> tuple[str, ...]:
    known = {stored.limit.name for stored in found}
    missing = tuple(name for name in dict.fromkeys(request.names) if name not in known)
    if missing and request.strict:
        raise errors.NotFound("concurrency limit", missing[0])
    return missing


def _refuse_impossible(request: SlotRequest, counting: Sequence[StoredLimit]) -> None:
    for stored in counting:
        limit = stored.limit
        if request.slots > limit.limit:
            raise errors.FailedPrecondition(
                f"Concurrency limit {limit.name!r} has fewer slots ({limit.limit}) than are asked "
                f"for ({request.slots}); ask for fewer, or raise the limit.",
                "concurrency limit",
                limit.name,
            )
        if request.mode is SlotMode.RATE_LIMIT and limit.slot_decay_per_second <= 0:
            raise errors.FailedPrecondition(
                f"Concurrency limit {limit.name!r} has no slot decay, so it cannot be used as a "
                "rate limit; set its slot_decay_per_second.",
                "concurrency limit",
                limit.name,
            )


def _is_free(tx: Transaction, slots: int, counting: Sequence[StoredLimit]) -> bool:
    """Say whether nobody waits, and slots are free."""
    use = tx.concurrency_limits.use([stored.limit.id for stored in counting])
    now = tx.now()
    return all(
        not use[stored.limit.id].waiting and room(stored, use[stored.limit.id], now).fits(slots)
        for stored in counting
    )


def _grant(
    tx: Transaction, request: SlotRequest, counting: Sequence[StoredLimit]
) -> SlotLease | None:
    limits, now = tx.concurrency_limits, tx.now()
    if request.mode is SlotMode.RATE_LIMIT:
        for stored in counting:
            limits.take(stored.limit.id, taken=taken_now(stored, now) + request.slots)
        ticket = limits.next_ticket()
        limits.put(_claims(tx, request, counting, ticket, granted=True, until=now))
        return None
    until = now + timedelta(seconds=request.lease_seconds)
    claims = _claims(tx, request, counting, limits.next_ticket(), granted=True, until=until)
    limits.put(claims)
    return lease(claims, [stored.limit.name for stored in counting])


def _given(
    tx: Transaction,
    request: SlotRequest,
    granted: Sequence[Claim],
    found: Sequence[StoredLimit],
    missing: tuple[str, ...],
) -> SlotAnswer:
    """Answer with what was granted to a request before; its time begins now."""
    if granted[0].mode is SlotMode.RATE_LIMIT:
        now = tx.now()
        taken = [claim for claim in granted if claim.expire_time > now]
        tx.concurrency_limits.put([dataclasses.replace(claim, expire_time=now) for claim in taken])
        return SlotAnswer(acquired=True, missing_names=missing)
    until = tx.now() + timedelta(seconds=granted[0].lease_seconds)
    claims = [dataclasses.replace(claim, expire_time=until) for claim in granted]
    tx.concurrency_limits.put(claims)
    ids = {claim.limit_id for claim in claims}
    names = [stored.limit.name for stored in found if stored.limit.id in ids]
    return SlotAnswer(acquired=True, lease=lease(claims, names), missing_names=missing)


def _claims(
    tx: Transaction,
    request: SlotRequest,
    counting: Sequence[StoredLimit],
    ticket: int,
    *,
    granted: bool,
    until: datetime,
) -> list[Claim]:
    return [
        Claim(
            lease_id=request.id,
            limit_id=stored.limit.id,
            ticket=ticket,
            slots=request.slots,
            mode=request.mode,
            granted=granted,
            lease_seconds=request.lease_seconds,
            holder=request.holder,
            acquire_time=tx.now(),
            expire_time=until,
        )
        for stored in counting
    ]


def _leave(tx: Transaction, lease_id: str) -> None:
    """Let those behind pass somebody who is gone; the place is kept for a while."""
    limits, now = tx.concurrency_limits, tx.now()
    waiting = [claim for claim in limits.claims([lease_id]) if not claim.granted]
    if waiting:
        limits.put([dataclasses.replace(claim, expire_time=now) for claim in waiting])
        limits.wake()


def _renew(tx: Transaction, lease_id: str) -> SlotLease:
    limits, now = tx.concurrency_limits, tx.now()
    claims = [
        claim
        for claim in limits.claims([lease_id])
        if claim.granted and claim.mode is SlotMode.CONCURRENCY
    ]
    stored = limits.get_by_ids([claim.limit_id for claim in claims])
    ended = claims and claims[0].expire_time <= now
    # One that came too late, say because the server was away, lives on if nobody was waiting.
    if not claims or (ended and not _is_free(tx, claims[0].slots, stored)):
        raise errors.NotFound(
            "lease on slots",
            lease_id,
            f"The lease {lease_id} on slots has ended, and others may have them; acquire slots "
            "again.",
        )
    until = now + timedelta(seconds=claims[0].lease_seconds)
    renewed = [dataclasses.replace(claim, expire_time=until) for claim in claims]
    limits.put(renewed)
    return lease(renewed, [one.limit.name for one in stored])


def _check_id(lease_id: str) -> None:
    checks = Checks()
    checks.id("id", lease_id)
    checks.raise_any()


def _check(request: SlotRequest) -> None:
    checks = Checks()
    checks.id("request_id", request.id)
    if not 1 <= len(request.names) <= concurrency.NAMES_MAX:
        checks.add("concurrency_limit_names", f"Name 1 to {concurrency.NAMES_MAX} limits.")
    for index, name in enumerate(request.names[: concurrency.NAMES_MAX]):
        checks.text(f"concurrency_limit_names[{index}]", name, _NAME_CHARACTERS_MAX)
    if request.slots < 1:
        checks.add("slots", f"{request.slots} is too small; 1 is the least.")
    shortest, longest = concurrency.LEASE_SECONDS_MIN, concurrency.LEASE_SECONDS_MAX
    if not shortest <= request.lease_seconds <= longest:
        checks.add("lease_duration", f"A lease lives {shortest:g} to {longest:g} seconds.")
    if not request.wait_seconds >= 0:
        checks.add("wait", "Nobody waits for a negative time; leave it out to wait not at all.")
    checks.text("holder.type", request.holder.type, _HOLDER_CHARACTERS_MAX)
    checks.text("holder.id", request.holder.id, _HOLDER_CHARACTERS_MAX)
    checks.optional_id("holder.flow_run_id", request.holder.flow_run_id)
    checks.raise_any()


__all__ = ["SlotService", "ask"]
