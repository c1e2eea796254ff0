"""The streams of engines: one per process that executes flows, many runs on each."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence

import anyio

from headgate.core import errors, ids, names, states
from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.domain import transforms
from headgate_server.domain.checks import Checks
from headgate_server.services import claiming
from headgate_server.services import engine_frames as frames
from headgate_server.services.engine_runs import EngineRun
from headgate_server.services.hub import Attachment
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.services.sessions import LiveStream, hash_token
from headgate_server.services.stream_context import StreamContext
from headgate_server.storage.interface import Transaction
from headgate_server.storage.records import Lease, Session, SessionKind

#: Runs that have ended are kept at hand for what may still come of them, up to so many.
_ENDED_RUNS_MAX = 64
_FIRST_TOKEN = 1


class EngineSessions:
    """Serves engines' streams."""

    def __init__(self, context: StreamContext) -> None:
        """Make it."""
        self._context = context

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
        stream = EngineStream(self._context)
        try:
            await stream.run(read, write)
        finally:
            stream.detach()
            self._context.connected.remove(stream)


class EngineStream(LiveStream[frames.Inbound, frames.Outbound]):
    """One stream of an engine."""

    def __init__(self, context: StreamContext) -> None:
        """Make it; the first frame opens it."""
        super().__init__(context.clock, context.settings)
        self._context = context
        self._storage = context.storage
        self._session: Session | None = None
        self._resume_token = ""
        self._runs: dict[str, EngineRun] = {}
        self._ended_runs: deque[EngineRun] = deque()
        self._items_ahead = 0
        self._bytes_ahead = 0
        self._progress = anyio.Event()
        self._closing = False
        self._renewed = self.last_heard

    # --- Frames -----------------------------------------------------------------------------

    async def receive(self, frame: frames.Inbound) -> None:
        """Act on a frame."""
        if self._session is None:
            if not isinstance(frame, frames.Open):
                kind = type(frame).__name__.lower()
                raise errors.ProtocolViolation(
                    f"The first frame of a session must be open, not {kind}.", kind
                )
            await self._open(frame)
            return
        match frame:
            case frames.Batch():
                await self._receive_batch(frame)
            case frames.LogBatch():
                await self._receive_logs(frame)
            case frames.Beat(seq):
                self.outbox.put(frames.BeatAck(seq, self._context.clock.now()))
            case frames.Open():
                await self._open_runs(frame.runs)
            case frames.Close():
                self._closing = True
                self.finish()

    async def _receive_batch(self, batch: frames.Batch) -> None:
        run = await self._run_of(batch)
        if run is None:
            return
        if await run.receive(batch):
            self.start(run.work)
        if self._is_far_ahead:
            await self._room()

    async def _receive_logs(self, batch: frames.LogBatch) -> None:
        run = await self._run_of(batch)
        if run is None:
            return
        if run.receive_logs(batch):
            self.start(run.work_logs)
        if self._is_far_ahead:
            await self._room()

    @property
    def _is_far_ahead(self) -> bool:
        settings = self._context.settings
        return (
            self._items_ahead > 2 * settings.window_items
            or self._bytes_ahead > 2 * settings.window_bytes
        )

    async def _room(self) -> None:
        """Read no further while an engine is far ahead of what is committed."""
        while self._is_far_ahead:
            self._progress = anyio.Event()
            await self._progress.wait()

    async def settle(self) -> None:
        """Write what was received; when the process ends in order, end its session."""
        await self._written_out(self._runs.values())
        if self._closing and self._session is not None:
            await self._end_session(self._session)

    async def _written_out(self, runs: Collection[EngineRun]) -> None:
        while any(not run.idle for run in runs):
            self._progress = anyio.Event()
            await self._progress.wait()

    def go_away(self, reconnect_after_seconds: float, reason: str) -> None:
        """Tell the engine to come again later, and end the stream in order."""
        self.outbox.put(frames.GoAway(reconnect_after_seconds, reason))
        self.finish()

    # --- The session ------------------------------------------------------------------------

    async def _open(self, frame: frames.Open) -> None:
        context = self._context
        session = None
        if frame.session_id:
            session = await self._resume(frame)
        if session is None:
            self._resume_token = context.new_token()
            session = await self._storage.write(lambda tx: self._new_session(tx, frame))
        self._session = session
        self.session_id = session.id
        await context.connected.add(self)
        self.start(self._renew)
        await self._open_runs(frame.runs)

    async def _resume(self, frame: frames.Open) -> Session | None:
        if not ids.is_id(frame.session_id):
            raise errors.InvalidArgument.of("open.session_id", "It is not an id.")
        self._resume_token = frame.resume_token
        ttl = self._context.settings.ttl_seconds
        return await self._storage.write(
            lambda tx: tx.leases.resume_session(
                frame.session_id,
                resume_token_hash=hash_token(frame.resume_token),
                ttl_seconds=ttl,
            )
        )

    def _new_session(self, tx: Transaction, frame: frames.Open) -> Session:
        id, now = self._context.new_id(), tx.now()
        session = Session(
            id=id,
            kind=SessionKind.ENGINE,
            name=frame.name or "engine",
            instance_id=id,
            resume_token_hash=hash_token(self._resume_token),
            sdk=frame.sdk,
            last_beat_time=now,
            expire_time=now,
        )
        return tx.leases.open_session(session, ttl_seconds=self._context.settings.ttl_seconds)

    async def _renew(self) -> None:
        """Renew the session in storage as often as it is due, while frames arrive."""
        settings, session = self._context.settings, self._session
        assert session is not None
        while True:
            await anyio.sleep(settings.beat_interval_seconds)
            if self.last_heard <= self._renewed:
                continue
            self._renewed = self.last_heard
            renewed = await self._storage.write(
                lambda tx: tx.leases.beat(
                    session.id, epoch=session.epoch, ttl_seconds=settings.ttl_seconds
                )
            )
            if not renewed:
                raise errors.SessionSuperseded(session.id)

    async def _end_session(self, session: Session) -> None:
        """Crash what the process did not end, then forget the session."""
        held = await self._storage.read(lambda tx: tx.leases.held_by(session.id))
        now = self._context.clock.now()
        for lease in held:
            crashed = states.new_state(
                StateType.CRASHED,
                id=self._context.new_id(),
                now=now,
                message="Its process ended without reporting a final state.",
            )
            try:
                await self._context.orchestration.propose(
                    lease.flow_run_id, crashed, fencing_token=lease.fencing_token
                )
            except (errors.LeaseFenced, errors.NotFound):
                continue  # Others have dealt with it.
        await self._storage.write(lambda tx: tx.leases.close_session(session.id))

    # --- Runs -------------------------------------------------------------------------------

    async def _open_runs(self, cursors: Sequence[frames.RunCursor]) -> None:
        session, settings = self._session, self._context.settings
        assert session is not None
        opened = [await self._open_run(cursor) for cursor in cursors]
        # Acknowledgements of a former lease come first: the items of this one count from 1 again.
        self.outbox.put_behind(
            frames.Opened(
                session_id=session.id,
                resume_token=self._resume_token,
                ttl_seconds=settings.ttl_seconds,
                beat_interval_seconds=settings.beat_interval_seconds,
                window_items=settings.window_items,
                window_bytes=settings.window_bytes,
                runs=opened,
            )
        )
        for run in opened:
            if run.flow_run is not None and run.flow_run.state.type is StateType.CANCELLING:
                self.cancel(run.flow_run)

    async def _open_run(self, cursor: frames.RunCursor) -> frames.OpenedRun:
        id = cursor.flow_run_id
        if not ids.is_id(id):
            error = errors.InvalidArgument.of("open.runs.flow_run_id", f"{id!r} is not an id.")
            return frames.OpenedRun(flow_run_id=id, error=error)
        heard = self._context.hub.heard
        token = cursor.fencing_token
        if cursor.claim:
            # The log lines of its former lease come before it is fenced off.
            await self._written_out([run for run in (self._runs.get(id),) if run is not None])
            try:
                token = await self._claim(id)
            except (errors.NotFound, errors.FailedPrecondition) as error:
                return frames.OpenedRun(flow_run_id=id, error=error)
        flow_run, lease = await self._storage.read(
            lambda tx: (tx.flow_runs.get(id), tx.leases.get(id))
        )
        if flow_run is None:
            return frames.OpenedRun(flow_run_id=id)
        if not _may_go_on(flow_run, lease, token):
            fenced = errors.LeaseFenced(id, token, flow_run.fencing_token)
            return frames.OpenedRun(flow_run_id=id, flow_run=flow_run, error=fenced)
        known = self._runs.get(id)
        if known is None or known.broken or known.fencing_token != token:
            self._take_up(flow_run)
            self._context.hub.look_again_if_not(heard, id)
        return frames.OpenedRun(flow_run_id=id, flow_run=flow_run)

    async def _claim(self, flow_run_id: str) -> int:
        """Lease a run that waits, and that nobody holds, to the session; return the token.

        Raises:
            NotFound: There is no such run.
            FailedPrecondition: It does not wait, or another one holds it.
        """
        session = self._session
        assert session is not None
        return await self._storage.write(lambda tx: claiming.claim(tx, flow_run_id, session))

    async def _run_of(self, batch: frames.Batch | frames.LogBatch) -> EngineRun | None:
        """Return the run of a batch; None, and an answer, if it cannot be written here."""
        id, token = batch.flow_run_id, batch.fencing_token
        run = self._runs.get(id)
        if run is not None and run.fencing_token == token:
            return run
        if run is not None and token < run.fencing_token:
            self.send(frames.RunError(id, errors.LeaseFenced(id, token, run.fencing_token)))
            return None
        if isinstance(batch, frames.Batch) and _creates(batch):
            return self._expect(id)
        if batch.error is not None:
            self.send(frames.RunError(id, batch.error))
            return None
        cursor = frames.RunCursor(flow_run_id=id, fencing_token=token)
        opened = await self._open_run(cursor)
        error = opened.error
        if error is None and opened.flow_run is None:
            error = errors.NotFound("flow run", id)
        if error is not None:
            self.send(frames.RunError(id, error))
            return None
        return self._runs[id]

    def _expect(self, flow_run_id: str) -> EngineRun:
        """Take up a run whose creation has just arrived."""
        attachment = Attachment(flow_run_id=flow_run_id, token=_FIRST_TOKEN, listener=self)
        return self._attach(attachment, committed_seq=0, committed_log_seq=0, stored=None)

    def _take_up(self, flow_run: FlowRun) -> EngineRun:
        attachment = Attachment(
            flow_run_id=flow_run.id, token=flow_run.fencing_token, listener=self
        )
        attachment.knows(flow_run.state)
        return self._attach(
            attachment,
            committed_seq=flow_run.committed_seq,
            committed_log_seq=flow_run.committed_log_seq,
            stored=flow_run,
        )

    def _attach(
        self,
        attachment: Attachment,
        *,
        committed_seq: int,
        committed_log_seq: int,
        stored: FlowRun | None,
    ) -> EngineRun:
        former = self._runs.get(attachment.flow_run_id)
        if former is not None:
            former.leave()
            self._context.hub.detach(former.attachment)
        run = EngineRun(
            self._context,
            self,
            attachment,
            committed_seq=committed_seq,
            committed_log_seq=committed_log_seq,
            stored=stored,
        )
        self._runs[run.flow_run_id] = run
        self._context.hub.attach(attachment)
        return run

    def detach(self) -> None:
        """Let the hub forget the runs of a stream that has ended."""
        for run in self._runs.values():
            run.leave()
            self._context.hub.detach(run.attachment)

    # --- What runs ask of their stream ------------------------------------------------------

    def send(self, frame: frames.Outbound) -> None:
        """Send a frame."""
        self.outbox.put(frame)

    def send_ack(self, flow_run_id: str, committed_seq: int, revision: int) -> None:
        """Acknowledge items; a newer number replaces one that was not sent yet."""
        ack = frames.Ack(flow_run_id, committed_seq, revision)
        self.outbox.put_latest(flow_run_id, ack)

    def send_log_ack(self, flow_run_id: str, committed_log_seq: int) -> None:
        """Acknowledge log lines; a newer number replaces one that was not sent yet."""
        ack = frames.LogAck(flow_run_id, committed_log_seq)
        self.outbox.put_latest(f"logs {flow_run_id}", ack)

    def settled(self, count: int, size_bytes: int) -> None:
        """So much of what was received is done with; less than 0: was received."""
        self._items_ahead -= count
        self._bytes_ahead -= size_bytes
        self._progress.set()

    def run_ended(self, run: EngineRun) -> None:
        """Keep a run that has ended for a while, not for ever."""
        self._context.hub.detach(run.attachment)
        self._ended_runs.append(run)
        while len(self._ended_runs) > _ENDED_RUNS_MAX and self._ended_runs[0].idle:
            old = self._ended_runs.popleft()
            if self._runs.get(old.flow_run_id) is old:
                del self._runs[old.flow_run_id]

    async def create_flow_run(self, creation: frames.FlowRunCreation) -> FlowRun:
        """Store a flow run that the engine started by itself, leased to the session."""
        _check_creation(creation)
        session = self._session
        assert session is not None
        return await self._storage.write(lambda tx: self._create(tx, session, creation))

    def _create(
        self, tx: Transaction, session: Session, creation: frames.FlowRunCreation
    ) -> FlowRun:
        asked, now = creation.flow_run, tx.now()
        if tx.leases.get_session(session.id) is None:
            # Reaped, though its stream still seems to stand. A lease without a session would
            # never be reaped.
            raise errors.Unavailable(
                f"Session {session.id} has expired; connect again.", retry_after_seconds=0.0
            )
        existing = tx.flow_runs.get(asked.id)
        if existing is not None:
            return _same_creation(tx, existing, session)
        flow = Lifecycle(self._context.new_id).ensure_flow(tx, creation.flow_name)
        root_id = asked.id
        if asked.parent_flow_run_id is not None:
            parent = tx.flow_runs.get(asked.parent_flow_run_id)
            if parent is None:
                raise errors.NotFound("flow run", asked.parent_flow_run_id)
            root_id = parent.root_flow_run_id
        state = transforms.first(asked.state, now)
        running = state.type is StateType.RUNNING
        flow_run = dataclasses.replace(
            asked,
            name=asked.name or names.random_name(self._context.rng),
            flow_id=flow.id,
            flow_name=flow.name,
            state=state,
            run_count=int(running),
            expected_start_time=state.details.scheduled_time or state.timestamp,
            start_time=state.timestamp if running else None,
            end_time=state.timestamp if state.is_terminal else None,
            root_flow_run_id=root_id,
            fencing_token=_FIRST_TOKEN,
            committed_seq=1,
            create_time=now,
        )
        revision = tx.flow_runs.insert(flow_run)
        if not state.is_terminal:
            tx.leases.grant_to_engine(
                flow_run.id, fencing_token=_FIRST_TOKEN, session_id=session.id
            )
        return dataclasses.replace(flow_run, revision=revision)

    # --- What the hub tells -----------------------------------------------------------------

    def cancel(self, flow_run: FlowRun) -> None:
        """Tell the engine to stop a run."""
        self.send(
            frames.Cancel(
                flow_run_id=flow_run.id,
                grace_seconds=self._context.settings.cancel_grace_seconds,
                reason=flow_run.state.message,
            )
        )

    def pause(self, flow_run: FlowRun) -> None:
        """Tell the engine to pause a run."""
        suspend = flow_run.state.details.pause_reschedule
        self.send(frames.Pause(flow_run_id=flow_run.id, suspend=suspend))

    def resume(self, flow_run: FlowRun) -> None:
        """Tell the engine to go on with a run."""
        self.send(frames.Resume(flow_run_id=flow_run.id))

    def fenced(self, flow_run: FlowRun, token: int) -> None:
        """Tell the engine that a run is no longer its own."""
        run = self._runs.get(flow_run.id)
        if run is not None and run.fencing_token == token:
            run.fail(errors.LeaseFenced(flow_run.id, token, flow_run.fencing_token))


def _may_go_on(flow_run: FlowRun, lease: Lease | None, token: int) -> bool:
    """Say whether who has this token may write: it is the newest, and not given back."""
    if token != flow_run.fencing_token:
        return False
    ended = flow_run.state.is_terminal or flow_run.state.type is StateType.PAUSED
    return lease is not None or ended


def _creates(batch: frames.Batch) -> bool:
    return (
        batch.first_seq == 1
        and batch.fencing_token == _FIRST_TOKEN
        and bool(batch.items)
        and isinstance(batch.items[0], frames.FlowRunCreation)
    )


def _same_creation(tx: Transaction, existing: FlowRun, session: Session) -> FlowRun:
    """Return a run that this very session has created before."""
    lease = tx.leases.get(existing.id)
    if lease is not None and lease.session_id == session.id:
        return existing
    raise errors.AlreadyExists("flow run", existing.id)


def _check_creation(creation: frames.FlowRunCreation) -> None:
    run, checks = creation.flow_run, Checks()
    checks.id("flow_run.id", run.id)
    checks.name("flow_name", creation.flow_name)
    checks.text("flow_run.name", run.name, 255)
    checks.json_map("flow_run.parameters", run.parameters)
    checks.tags("flow_run.tags", run.tags)
    checks.labels("flow_run.labels", run.labels)
    checks.optional_id("flow_run.parent_flow_run_id", run.parent_flow_run_id)
    checks.optional_id("flow_run.parent_task_run_id", run.parent_task_run_id)
    checks.raise_any()


__all__ = ["EngineSessions", "EngineStream"]
