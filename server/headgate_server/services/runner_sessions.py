"""The streams of runners: one per runner, held as long as it lives."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio

from headgate.core import errors, leases
from headgate.core.deployments import Deployment
from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.domain import leasing
from headgate_server.domain.checks import NAME_CHARACTERS_MAX, Checks
from headgate_server.domain.leasing import Held, Outcome
from headgate_server.services import lease_frames as frames
from headgate_server.services.engine_frames import Cancel, GoAway
from headgate_server.services.hub import Attachment
from headgate_server.services.leasing import Leasing
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.services.matcher import Matcher
from headgate_server.services.sessions import LiveStream, hash_token
from headgate_server.services.stream_context import StreamContext
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import Grant, Lease, Session, SessionKind

#: A lease that a runner took and did not speak of when it came back is lost after so many beats.
_SUSPECT_BEATS = 2
#: So many beats in a row both sides may differ about what is held, while nothing is under way.
_DIFFERING_BEATS_MAX = 3
#: Streams remember them as long as they live.
_FEATURES_MAX = 100
#: A runner that missed so many beats is given nothing: its connection may be half open, and
#: each run offered to it would wait in vain.
_QUIET_BEATS = 3


class RunnerSessions:
    """Serves runners' streams."""

    def __init__(self, context: StreamContext, *, leasing: Leasing, matcher: Matcher) -> None:
        """Make it."""
        self._context = context
        self._leasing = leasing
        self._matcher = matcher

    async def serve(
        self,
        read: Callable[[], Awaitable[frames.Inbound | None]],
        write: Callable[[frames.Outbound], Awaitable[None]],
    ) -> None:
        """Serve one stream to its end.

        Raises:
            ControlPlaneError: What ended it, where it did not end in order.
        """
        self._context.connected.refuse_while_draining()
        stream = RunnerStream(self._context, self._leasing, self._matcher)
        try:
            await stream.run(read, write)
        finally:
            stream.detach()
            self._context.connected.remove(stream)


@dataclasses.dataclass(frozen=True, slots=True)
class _Greeting:
    """What Hello led to."""

    session: Session
    resumed: bool
    stored: tuple[leasing.Stored, ...]


class RunnerStream(LiveStream[frames.Inbound, frames.Outbound]):
    """One stream of a runner."""

    def __init__(self, context: StreamContext, leasing: Leasing, matcher: Matcher) -> None:
        """Make it; the first frame says who the runner is."""
        super().__init__(context.clock, context.settings)
        self._context = context
        self._storage = context.storage
        self._lifecycle = Lifecycle(context.new_id)
        self._leasing = leasing
        self._matcher = matcher
        self._session: Session | None = None
        self._attached: dict[str, Attachment] = {}
        self._lost: dict[Held, None] = {}
        self._suspects: dict[Held, int] = {}
        self._differing: tuple[list[Held], int] = ([], 0)
        self._offered_total: int | None = None
        self._granted_total = 0
        self._pause_until = 0.0
        self._draining = False
        self._quiet = False
        self._features: frozenset[str] = frozenset()
        self._locks: dict[str, anyio.Lock] = {}
        self._under_way = 0
        self._settled = anyio.Event()

    # --- As the matcher sees it -------------------------------------------------------------

    @property
    def session(self) -> Session:
        """Its session."""
        assert self._session is not None
        return self._session

    @property
    def free(self) -> int:
        """How many offers it takes now."""
        if self._draining or self._offered_total is None or self.ended.is_set():
            return 0
        now = self._clock.monotonic()
        if self._pause_until > now:
            return 0
        if now - self.last_heard > _QUIET_BEATS * self._settings.beat_interval_seconds:
            self._quiet = True
            return 0
        return self._granted_total - self._offered_total

    async def offer(self, grants: Sequence[Grant]) -> None:
        """Send runs that are leased to it; or give them back, if it takes none any more."""
        if self._draining or self.ended.is_set():
            for grant in grants:
                held = Held(flow_run_id=grant.flow_run.id, fencing_token=grant.fencing_token)
                await self._leasing.give_back(self.session.id, held)
            return
        for grant in grants:
            self._offered_total = (self._offered_total or 0) + 1
            self._attach(grant.flow_run, grant.fencing_token)
            self.outbox.put(
                frames.Offer(
                    fencing_token=grant.fencing_token,
                    flow_run=grant.flow_run,
                    deployment=grant.deployment,
                    attempt=grant.flow_run.run_count + 1,
                )
            )

    # --- For the hooks of runs whose own runner is lost -------------------------------------

    @property
    def takes_hooks(self) -> bool:
        """Whether it can be asked to call hooks now."""
        return "hooks" in self._features and not (self._draining or self.ended.is_set())

    def call_hooks(self, flow_run: FlowRun, deployment: Deployment) -> None:
        """Ask it to call the hooks of a run."""
        self.outbox.put(frames.CallHooks(flow_run, deployment))

    # --- Frames -----------------------------------------------------------------------------

    async def receive(self, frame: frames.Inbound) -> None:
        """Act on a frame."""
        if self._session is None or isinstance(frame, frames.Hello):
            if self._session is not None or not isinstance(frame, frames.Hello):
                kind = type(frame).__name__.lower()
                raise errors.ProtocolViolation(
                    f"The first frame of a lease stream must be hello, and no other; not {kind}.",
                    kind,
                )
            await self._hello(frame)
            return
        if self._quiet:
            self._quiet = False
            self._matcher.wake()
        match frame:
            case frames.Credit(granted_total):
                self._credit(granted_total)
            case frames.Accept(held):
                self._do(held, self._accept, held)
            case frames.Decline():
                self._do(frame.held, self._decline, frame)
            case frames.Release():
                self._do(frame.held, self._release, frame)
            case frames.Beat():
                await self._beat(frame)
            case frames.Drain():
                self._draining = True
            case frames.Goodbye(reason):
                self._draining = True
                await self._goodbye(reason)
                self.finish()

    async def settle(self) -> None:
        """Finish what was received."""
        self._draining = True
        while self._under_way:
            self._settled = anyio.Event()
            await self._settled.wait()

    def go_away(self, reconnect_after_seconds: float, reason: str) -> None:
        """Tell the runner to come again later, and end the stream in order."""
        self._draining = True
        self.outbox.put(GoAway(reconnect_after_seconds, reason))
        self.finish()

    def _do(
        self, held: Held, work: Callable[..., Awaitable[None]], *args: Held | frames.Inbound
    ) -> None:
        """Do something about one run: in order with what is done about it, beside all else."""
        self._under_way += 1
        lock = self._locks.setdefault(held.flow_run_id, anyio.Lock())

        async def do() -> None:
            try:
                async with lock:
                    await work(*args)
            finally:
                self._under_way -= 1
                self._settled.set()
                if not lock.statistics().tasks_waiting and not lock.locked():
                    self._locks.pop(held.flow_run_id, None)

        self.start(do)

    # --- Hello ------------------------------------------------------------------------------

    async def _hello(self, hello: frames.Hello) -> None:
        _check(hello)
        token = self._context.new_token()
        greeting = await self._storage.write(lambda tx: self._greet(tx, hello, token))
        session = self._session = greeting.session
        self.session_id = session.id
        await self._context.connected.add(self)
        told = leasing.reconcile(hello.held, greeting.stored)
        for held in told.unsent:
            await self._leasing.give_back(session.id, held)
        self._suspects = dict.fromkeys(told.suspect, 0)
        self.outbox.put(
            frames.Welcome(
                session_id=session.id,
                epoch=session.epoch,
                resume_token=hello.resume_token if greeting.resumed else token,
                ttl_seconds=self._settings.ttl_seconds,
                beat_interval_seconds=self._settings.beat_interval_seconds,
                offer_ttl_seconds=self._settings.offer_ttl_seconds,
                keep=told.keep,
                drop=told.drop,
                cancel_flow_run_ids=[held.flow_run_id for held in told.cancel],
            )
        )
        await self._attach_all((*told.keep, *told.suspect), told.cancel)
        self._matcher.add(self)
        self._features = hello.features
        self.start(self._leasing.hook_calls.add, self)

    def _greet(self, tx: Transaction, hello: frames.Hello, token: str) -> _Greeting:
        _find_pools(tx, hello)
        session = None
        ttl_seconds = self._settings.ttl_seconds
        if hello.session_id:
            session = tx.leases.resume_session(
                hello.session_id,
                resume_token_hash=hash_token(hello.resume_token),
                ttl_seconds=ttl_seconds,
            )
        resumed = session is not None
        if session is None:
            now = tx.now()
            new = Session(
                id=self._context.new_id(),
                kind=SessionKind.RUNNER,
                name=hello.name,
                instance_id=hello.instance_id,
                resume_token_hash=hash_token(token),
                work_pool_names=hello.work_pool_names,
                work_queue_names=hello.work_queue_names,
                slots=hello.slots,
                sdk=hello.sdk,
                last_beat_time=now,
                expire_time=now,
            )
            session = self._lifecycle.open_runner(tx, new, ttl_seconds=ttl_seconds)
        return _Greeting(session, resumed, _stored(tx, session.id, hello.held))

    async def _attach_all(self, all_held: Sequence[Held], cancelled: Sequence[Held]) -> None:
        ids = [held.flow_run_id for held in all_held]
        heard = self._context.hub.heard
        flow_runs = await self._storage.read(lambda tx: [tx.flow_runs.get(id) for id in ids])
        for held, flow_run in zip(all_held, flow_runs, strict=True):
            if flow_run is None:
                continue
            self._attach(flow_run, held.fencing_token)
            self._context.hub.look_again_if_not(heard, flow_run.id)
            if flow_run.state.type is StateType.CANCELLING and held not in cancelled:
                self.cancel(flow_run)  # Since it was welcomed.

    def _attach(self, flow_run: FlowRun, token: int) -> None:
        attachment = Attachment(flow_run_id=flow_run.id, token=token, listener=self)
        attachment.knows(flow_run.state)
        former = self._attached.get(flow_run.id)
        if former is not None:
            self._context.hub.detach(former)
        self._attached[flow_run.id] = attachment
        self._context.hub.attach(attachment)

    def _detach(self, held: Held) -> None:
        attachment = self._attached.get(held.flow_run_id)
        if attachment is not None and attachment.token == held.fencing_token:
            self._context.hub.detach(self._attached.pop(held.flow_run_id))

    def detach(self) -> None:
        """Let hub and matcher forget a stream that has ended."""
        for attachment in self._attached.values():
            self._context.hub.detach(attachment)
        if self._session is not None:
            self._matcher.remove(self)
            self._leasing.hook_calls.remove(self)

    # --- Offers and their ends --------------------------------------------------------------

    def _credit(self, granted_total: int) -> None:
        if self._offered_total is None:
            # Earlier streams of the session are not known here; what is held is.
            free = max(0, self.session.slots - len(self._attached))
            self._offered_total = max(0, granted_total - free)
        self._granted_total = max(self._granted_total, granted_total)
        # Never more than fits, whatever the runner says.
        limit = self._offered_total + self.session.slots
        self._granted_total = min(self._granted_total, limit)
        self._matcher.wake()

    async def _accept(self, held: Held) -> None:
        flow_run = await self._leasing.accept(self.session.id, held)
        if flow_run is None:
            reason = "The offer had ended before it was accepted."
            self.outbox.put(frames.Revoke(held=held, reason=reason))
            self._detach(held)
            return
        attachment = self._attached.get(held.flow_run_id)
        if attachment is None:
            self._attach(flow_run, held.fencing_token)

    async def _decline(self, decline: frames.Decline) -> None:
        self._detach(decline.held)
        retry_after = decline.retry_after_seconds
        if retry_after > 0:
            self._pause_until = max(self._pause_until, self._clock.monotonic() + retry_after)
            self.start(self._wake_later, retry_after)
        await self._leasing.give_back(self.session.id, decline.held)

    async def _wake_later(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._matcher.wake()

    async def _release(self, release: frames.Release) -> None:
        held = release.held
        self._detach(held)
        self._lost.pop(held, None)
        self._suspects.pop(held, None)
        await self._leasing.release(
            self.session.id, held, outcome=release.outcome, message=release.message
        )
        self.outbox.put(frames.Released(held))

    async def _goodbye(self, reason: str) -> None:
        session = self.session
        session_id = session.id
        while self._under_way:
            self._settled = anyio.Event()
            await self._settled.wait()
        held = await self._storage.read(lambda tx: tx.leases.held_by(session_id))
        for lease in held:
            await self._leasing.release(
                session_id,
                _held(lease),
                outcome=Outcome.HANDED_BACK,
                message=reason or "Its runner ended and handed the run back.",
            )
        await self._storage.write(lambda tx: self._lifecycle.close_runner(tx, session, "stopped"))

    # --- Heartbeats -------------------------------------------------------------------------

    async def _beat(self, beat: frames.Beat) -> None:
        session = self.session
        ttl_seconds = self._settings.ttl_seconds
        renewed = await self._storage.write(
            lambda tx: tx.leases.beat(session.id, epoch=session.epoch, ttl_seconds=ttl_seconds)
        )
        if not renewed:
            await self._not_renewed(session)
        believed = [
            Held(flow_run_id=attachment.flow_run_id, fencing_token=attachment.token)
            for attachment in self._attached.values()
        ]
        if beat.held_digest == _digest(believed):
            self._lost.clear()
            self._suspects.clear()
            self._differing = ([], 0)
        else:
            await self._compare(session, believed)
            self._count_difference(believed)
        self.outbox.put(frames.BeatAck(beat.seq, ttl_seconds, tuple(self._lost)))

    async def _not_renewed(self, session: Session) -> None:
        known = await self._storage.read(lambda tx: tx.leases.get_session(session.id))
        if known is not None:
            raise errors.SessionSuperseded(session.id)
        msg = f"Session {session.id} has expired and its leases are lost; connect again."
        raise errors.Unavailable(msg, retry_after_seconds=0.0)

    async def _compare(self, session: Session, believed: Sequence[Held]) -> None:
        """Find out what of that which the runner may hold is lost."""
        claimed = frozenset(believed)
        stored = await self._storage.read(lambda tx: _stored(tx, session.id, claimed))
        goes_on = {fact.held for fact in stored if fact.leased or fact.ended}
        for held in claimed - goes_on:
            self._lost[held] = None
            self._detach(held)
        for held in list(self._suspects):
            self._suspects[held] += 1
            if self._suspects[held] >= _SUSPECT_BEATS:
                del self._suspects[held]
                self._detach(held)
                await self._leasing.lose(session, held)

    def _count_difference(self, believed: list[Held]) -> None:
        """Have a runner say what it holds, if it has held something else for some beats.

        E.g. one that was asleep for so long that it has given up what it held, on a stream that
        still stands: no frame says so.

        Raises:
            Unavailable: It is to connect again.
        """
        before, count = self._differing
        if believed != before or self._under_way or self._suspects:
            count = 0
        self._differing = (believed, count + 1)
        if count >= _DIFFERING_BEATS_MAX:
            msg = "What the runner holds is not what it was given; connect again and name it."
            raise errors.Unavailable(msg, retry_after_seconds=0.0)

    # --- What the hub tells -----------------------------------------------------------------

    def cancel(self, flow_run: FlowRun) -> None:
        """Tell the runner to stop a run."""
        self.outbox.put(
            Cancel(
                flow_run_id=flow_run.id,
                grace_seconds=self._settings.cancel_grace_seconds,
                reason=flow_run.state.message,
            )
        )

    def pause(self, flow_run: FlowRun) -> None:
        """Nothing: the engine in the run's process is told."""

    def resume(self, flow_run: FlowRun) -> None:
        """Nothing: the engine in the run's process is told."""

    def fenced(self, flow_run: FlowRun, token: int) -> None:
        """Tell the runner that a run is no longer its own."""
        self._attached.pop(flow_run.id, None)
        held = Held(flow_run_id=flow_run.id, fencing_token=token)
        self._lost[held] = None
        reason = f"The run is {flow_run.state.name}; its lease has ended."
        self.outbox.put(frames.Revoke(held=held, reason=reason))


def _check(hello: frames.Hello) -> None:
    checks = Checks()
    checks.name("hello.name", hello.name)
    checks.id("hello.instance_id", hello.instance_id)
    checks.optional_id("hello.session_id", hello.session_id)
    if not 1 <= hello.slots <= 100_000:
        checks.add("hello.slots", f"{hello.slots} is not between 1 and 100000.")
    if not hello.work_pool_names:
        checks.add("hello.work_pool_names", "A runner serves at least one work pool; name it.")
    checks.text("hello.sdk", hello.sdk, NAME_CHARACTERS_MAX)
    if len(hello.features) > _FEATURES_MAX:
        checks.add("hello.features", f"At most {_FEATURES_MAX} features fit.")
    elif any(len(feature) > NAME_CHARACTERS_MAX for feature in hello.features):
        checks.add("hello.features", f"A feature has at most {NAME_CHARACTERS_MAX} characters.")
    checks.ids("hello.held", (held.flow_run_id for held in hello.held))
    checks.raise_any()


def _find_pools(tx: Transaction, hello: frames.Hello) -> None:
    for name in hello.work_pool_names:
        if tx.work_pools.get(name) is None:
            raise errors.NotFound("work pool", name)
    for name in hello.work_queue_names:
        if all(tx.work_pools.get_queue(pool, name) is None for pool in hello.work_pool_names):
            raise errors.NotFound("work queue", name)


def _stored(
    tx: Transaction, session_id: str, claimed: frozenset[Held]
) -> tuple[leasing.Stored, ...]:
    """Read what is stored about claimed leases, and about all leases of the session."""
    by_lease = {_held(lease): lease for lease in tx.leases.held_by(session_id)}
    found: list[leasing.Stored] = []
    for held in sorted(by_lease.keys() | claimed, key=lambda held: held.flow_run_id):
        run, lease = tx.flow_runs.get(held.flow_run_id), by_lease.get(held)
        if run is None:
            continue
        current = run.fencing_token == held.fencing_token
        over = run.state.is_terminal or run.state.details.pause_reschedule
        found.append(
            leasing.Stored(
                held=held,
                leased=lease is not None,
                accepted=lease is not None and lease.accepted,
                ended=current and over,
                cancelling=run.state.type is StateType.CANCELLING,
            )
        )
    return tuple(found)


def _held(lease: Lease) -> Held:
    return Held(flow_run_id=lease.flow_run_id, fencing_token=lease.fencing_token)


def _digest(all_held: Iterable[Held]) -> int:
    return leases.digest((held.flow_run_id, held.fencing_token) for held in all_held)


__all__ = ["RunnerSessions", "RunnerStream"]
