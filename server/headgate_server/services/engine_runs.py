"""One flow run on an engine's stream: its items in order, written in groups, acknowledged.

Items are folded when they arrive, while the items before them are being committed. A flow run's
own transitions, and its creation, are steps of their own between the drafts of its task runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar, TypeVarTuple

import anyio

from headgate.core import errors
from headgate.core.runs import FlowRun, LogRecord, RunKind
from headgate.core.states import State
from headgate_server.domain import recording
from headgate_server.services import engine_frames as frames
from headgate_server.services.hub import Attachment
from headgate_server.services.stream_context import StreamContext
from headgate_server.storage.records import (
    Appended,
    AppendOutcome,
    AppendRefused,
    Failed,
    JournalEntry,
    LogAppend,
    RunAppend,
)

_log = logging.getLogger("headgate.server.engine")

#: Items that are written at once, at most; more follow in the next write.
_DRAFT_ITEMS_MAX = 2_000
_LOG_RECORDS_MAX = 2_000
_TASK_RUN = RunKind.TASK_RUN
_MOVES = (recording.TaskMove, frames.FlowRunMove)

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Host(Protocol):
    """The stream that a run is on."""

    def start(self, work: Callable[[*Args], Awaitable[None]], *args: *Args) -> None:
        """Start a task; it ends with the stream."""
        ...

    def send(self, frame: frames.Outbound) -> None:
        """Send a frame."""
        ...

    def send_ack(self, flow_run_id: str, committed_seq: int, revision: int) -> None:
        """Acknowledge items; a newer number replaces one that was not sent yet."""
        ...

    def send_log_ack(self, flow_run_id: str, committed_log_seq: int) -> None:
        """Acknowledge log lines; a newer number replaces one that was not sent yet."""
        ...

    def settled(self, count: int, size_bytes: int) -> None:
        """So much of what was received is done with; less than 0: was received."""
        ...

    def run_ended(self, run: EngineRun) -> None:
        """The run is in a terminal state, or cannot go on here."""
        ...

    async def create_flow_run(self, creation: frames.FlowRunCreation) -> FlowRun:
        """Store a flow run that the engine started by itself, leased to the session."""
        ...


@dataclasses.dataclass(slots=True)
class _Step:
    """Something to write: a draft of task runs, or one thing about the flow run."""

    work: recording.Draft | frames.FlowRunCreation | frames.FlowRunMove
    seq: int
    size_bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.work.items) if isinstance(self.work, recording.Draft) else 1


class EngineRun:
    """A run on a stream.

    Args:
        context: What the stream is surrounded by.
        host: The stream.
        attachment: The run at the hub.
        committed_seq: The last item that is committed.
        committed_log_seq: The last log line that is committed.
        stored: The run as it is stored; None where its creation is to come.
    """

    def __init__(
        self,
        context: StreamContext,
        host: Host,
        attachment: Attachment,
        *,
        committed_seq: int,
        committed_log_seq: int,
        stored: FlowRun | None,
    ) -> None:
        """Make it as far as it has come."""
        self.flow_run_id = attachment.flow_run_id
        self.fencing_token = attachment.token
        self.attachment = attachment
        self.broken = False
        self._context = context
        self._host = host
        self._committed_seq = self._received_seq = committed_seq
        self._committed_log_seq = self._received_log_seq = committed_log_seq
        self._flow_run: FlowRun | None = None
        self._book = recording.Book()
        self._steps: deque[_Step] = deque()
        self._log_records: deque[tuple[LogRecord, int]] = deque()
        # Of asyncio: where it is free, as it nearly always is, it costs a tenth of anyio's.
        self._folding = asyncio.Lock()
        self._working = self._working_logs = False
        self._exists = anyio.Event()
        #: The run, where it has ended.
        self._ended: FlowRun | None = None
        if stored is not None:
            self._exists.set()
            self._ended = stored if stored.state.is_terminal else None

    @property
    def idle(self) -> bool:
        """Whether nothing of it waits to be written."""
        return not (self._steps or self._log_records or self._working or self._working_logs)

    # --- What arrives -----------------------------------------------------------------------

    async def receive(self, batch: frames.Batch) -> bool:
        """Take a batch up; returns whether there is work to start (see ``work``)."""
        if self.broken:
            return False
        async with self._folding:
            items = self._unseen(batch, self._received_seq, batch.items)
            if items is None:
                return False
            if not items:
                # Sent again: say once more how far we are.
                self._host.send_ack(self.flow_run_id, self._committed_seq, 0)
                return False
            await self._fold(items, batch.size_bytes)
        if self._working:
            return False
        self._working = True
        return not self._hand_over()

    def receive_logs(self, batch: frames.LogBatch) -> bool:
        """Take log lines up; returns whether there is work to start (see ``work_logs``)."""
        if self.broken:
            return False
        records = self._unseen(batch, self._received_log_seq, batch.records)
        if records is None:
            return False
        if not records:
            self._host.send_log_ack(self.flow_run_id, self._committed_log_seq)
            return False
        self._received_log_seq += len(records)
        share = batch.size_bytes // len(records)
        self._host.settled(-len(records), -share * len(records))
        self._log_records.extend((record, share) for record in records)
        if self._working_logs:
            return False
        self._working_logs = True
        return True

    def _unseen(
        self, batch: frames.Batch | frames.LogBatch, received: int, items: Sequence[T]
    ) -> Sequence[T] | None:
        """Return the items that did not arrive before; None if the batch is refused."""
        if batch.error is not None:
            self.fail(batch.error)
            return None
        skip = received + 1 - batch.first_seq
        if skip < 0:
            kind = "log_batch" if isinstance(batch, frames.LogBatch) else "batch"
            self.fail(
                errors.ProtocolViolation(
                    f"The {kind} of flow run {self.flow_run_id} starts at {batch.first_seq}, but "
                    f"{received + 1} is next; open the run again and send the rest.",
                    kind,
                )
            )
            return None
        return items[skip:] if skip else items

    async def _fold(self, items: Sequence[frames.Item], size_bytes: int) -> None:
        start, share = 0, size_bytes // len(items)
        self._host.settled(-len(items), -share * len(items))
        for place, item in enumerate(items):
            if isinstance(item, frames.FlowRunMove | frames.FlowRunCreation):
                await self._fold_task_items(items[start:place], share)  # pyright: ignore[reportArgumentType]  # between two of the others
                self._received_seq += 1
                self._steps.append(_Step(item, self._received_seq, share))
                start = place + 1
        await self._fold_task_items(items[start:], share)  # pyright: ignore[reportArgumentType]  # behind the last of the others

    async def _fold_task_items(self, items: Sequence[recording.TaskItem], share: int) -> None:
        if not items:
            return
        missing = self._book.missing(items)
        if missing:
            self._book.load(
                await self._context.storage.read(
                    lambda tx: [
                        task_run
                        for task_run in tx.task_runs.get_many(missing)
                        if task_run.flow_run_id == self.flow_run_id
                    ]
                )
            )
        step = self._steps[-1] if self._steps else None
        if (
            step is None
            or not isinstance(step.work, recording.Draft)
            or len(step.work.items) + len(items) > _DRAFT_ITEMS_MAX
        ):
            step = _Step(recording.Draft(self._received_seq), 0)
            self._steps.append(step)
        draft = step.work
        assert isinstance(draft, recording.Draft)
        self._book.fold(draft, items)
        self._received_seq = step.seq = draft.seq_after
        step.size_bytes += share * len(items)

    def leave(self) -> None:
        """Write no more: the stream has ended, or has taken the run up anew.

        What is left comes again. Else the answer to what is on its way would start the next write,
        between what the next one reads of the run and what it writes; and its number would
        be taken for an acknowledgement of items of a newer lease, which count from 1 again.
        """
        self.broken = True
        self._exists.set()
        self._drop_steps()
        self._host.settled(len(self._log_records), sum(size for _, size in self._log_records))
        self._log_records.clear()

    # --- What is written --------------------------------------------------------------------

    def _hand_over(self) -> bool:
        """Give the storage the next draft; what comes of it goes on by itself.

        So what is most often, task runs and nothing else, needs no task on the loop: starting one
        takes longer than many a commit.

        Returns:
            Whether that was enough; else ``work`` is to be started.
        """
        while self._steps and not self.broken and self._ended is None:
            step = self._steps[0]
            draft = step.work
            if not isinstance(draft, recording.Draft):
                return False
            append = self._to_append(draft)
            then = functools.partial(self._on_outcome, step, draft)
            try:
                outcome = self._context.storage.append_then(append, then)
            except errors.Unavailable:
                return False  # raised again where it ends the stream
            self._steps.popleft()
            if outcome is None:
                return True
            if not isinstance(outcome, Appended):
                self._host.start(self.work, step, outcome)
                return True
            self._on_appended(draft, outcome)
            self._host.settled(step.count, step.size_bytes)
        if self._steps and not self.broken:
            return False
        self._working = False
        self._host.settled(0, 0)
        return True

    def _on_outcome(self, step: _Step, draft: recording.Draft, outcome: AppendOutcome) -> None:
        if not isinstance(outcome, Appended):
            self._host.start(self.work, step, outcome)
            return
        self._on_appended(draft, outcome)
        self._host.settled(step.count, step.size_bytes)
        if not self._hand_over():
            self._host.start(self.work)

    async def work(self, begun: _Step | None = None, outcome: AppendOutcome | None = None) -> None:
        """Write what was received, step by step, until nothing is left.

        Args:
            begun: A step that was handed to the storage before, if any.
            outcome: What became of it.
        """
        try:
            while begun is not None or (self._steps and not self.broken):
                step = self._steps.popleft() if begun is None else begun
                count, size = step.count, step.size_bytes
                try:
                    await self._do(step, outcome)
                finally:
                    self._host.settled(count, size)
                begun = outcome = None
        except (errors.Unavailable, errors.ResourceExhausted):
            raise  # Not this run's fault: the stream ends, and what is left comes again.
        except errors.ControlPlaneError as error:
            self.fail(error)
        except Exception as error:
            self.fail(self._incident(error))
        finally:
            self._working = False
            self._host.settled(0, 0)

    async def _do(self, step: _Step, outcome: AppendOutcome | None) -> None:
        match step.work:
            case recording.Draft() as draft:
                await self._commit(draft, outcome)
            case frames.FlowRunCreation() as creation:
                await self._create(step.seq, creation)
            case frames.FlowRunMove() as move:
                await self._move(step.seq, move)

    async def _commit(self, draft: recording.Draft, outcome: AppendOutcome | None) -> None:
        try:
            if isinstance(outcome, Failed):
                raise outcome.error
            if outcome is None:
                outcome = await self._context.storage.append(self._to_append(draft))
        except errors.HeadgateError:
            raise
        except Exception as error:  # a driver's own: find out whether the engine is to blame
            await self._refuse_taken_ids(draft, error)
            raise
        match outcome:
            case Appended():
                self._on_appended(draft, outcome)
                if self._ended is not None:
                    # A thread of its process did not hear of the end in time.
                    await self._context.orchestration.end_what_is_left(self._ended)
            case AppendRefused() as refused:
                await self._start_over(draft, refused)

    def _on_appended(self, draft: recording.Draft, appended: Appended) -> None:
        self._committed_seq = draft.seq_after
        if self.broken:
            return
        self._book.forget_ended(draft)
        if not self._answer_follows:
            self._host.send_ack(self.flow_run_id, draft.seq_after, appended.revision)
        for answer in draft.answers:
            self._answer(answer)

    async def _refuse_taken_ids(self, draft: recording.Draft, error: Exception) -> None:
        ids = list(draft.new)
        taken = await self._context.storage.read(lambda tx: tx.task_runs.get_many(ids))
        if taken:
            raise errors.AlreadyExists("task run", taken[0].id) from error

    def _to_append(self, draft: recording.Draft) -> RunAppend:
        return RunAppend(
            flow_run_id=self.flow_run_id,
            fencing_token=self.fencing_token,
            seq_before=draft.seq_before,
            seq_after=draft.seq_after,
            new_task_runs=list(draft.new.values()),
            changed_task_runs=list(draft.changed.values()),
            entries=[
                JournalEntry(_TASK_RUN, task_run.id, task_run.name, task_run.state)
                for task_run in draft.entered
            ],
        )

    def _answer(self, answer: recording.Answer) -> None:
        if answer.verdict is not None:
            self._host.send(
                frames.VerdictFrame(
                    flow_run_id=self.flow_run_id,
                    seq=answer.seq,
                    verdict=answer.verdict,
                    run_count=answer.run_count,
                )
            )
        if answer.error is not None:
            self._host.send(frames.RunError(self.flow_run_id, answer.error))

    async def _start_over(self, draft: recording.Draft, refused: AppendRefused) -> None:
        """Fold again what an older stream of the session has not committed meanwhile."""
        self._check(refused)
        async with self._folding:
            items: list[frames.Item] = list(draft.items)
            for step in self._steps:
                if isinstance(step.work, recording.Draft):
                    items.extend(step.work.items)
                else:
                    items.append(step.work)
            done = refused.committed_seq - draft.seq_before
            if done <= 0:
                msg = f"Flow run {self.flow_run_id} has lost items that were acknowledged."
                raise errors.FailedPrecondition(msg, "flow run", self.flow_run_id)
            if any(isinstance(item, _MOVES) and item.proposed for item in items[:done]):
                # Its verdict went the way of that stream. Asked for anew, it is given again.
                msg = f"Flow run {self.flow_run_id} has come further meanwhile; open it again."
                raise errors.Unavailable(msg, retry_after_seconds=0.0)
            left = items[done:]
            self._drop_steps()
            self._book = recording.Book()
            self._committed_seq = self._received_seq = refused.committed_seq
            self._host.send_ack(self.flow_run_id, refused.committed_seq, 0)
            if left:
                await self._fold(left, 0)

    async def _create(self, seq: int, creation: frames.FlowRunCreation) -> None:
        flow_run = await self._host.create_flow_run(creation)
        self._committed_seq = seq
        self._flow_run = flow_run
        self.attachment.knows(flow_run.state)
        self._exists.set()
        if not (self._answer_follows or self.broken):
            self._host.send_ack(self.flow_run_id, seq, flow_run.revision)

    async def _move(self, seq: int, move: frames.FlowRunMove) -> None:
        self.attachment.proposing = move.state.id
        verdict, flow_run = await self._context.orchestration.propose(
            self.flow_run_id,
            move.state,
            fencing_token=self.fencing_token,
            force=move.force,
            seq=seq,
            known=self._known(),
        )
        self._committed_seq = seq
        self._flow_run = flow_run
        self._knows(flow_run.state)
        if self.broken:
            return
        if move.proposed:
            self._host.send(
                frames.VerdictFrame(
                    flow_run_id=self.flow_run_id,
                    seq=seq,
                    verdict=verdict,
                    run_count=flow_run.run_count,
                )
            )
        else:
            self._host.send_ack(self.flow_run_id, seq, flow_run.revision)
        if flow_run.state.is_terminal:
            self._ended = flow_run
            self._host.run_ended(self)

    @property
    def _answer_follows(self) -> bool:
        """Whether the next step is a proposal: its verdict acknowledges this step, too."""
        step = self._steps[0].work if self._steps else None
        return isinstance(step, frames.FlowRunMove) and step.proposed

    def _known(self) -> FlowRun | None:
        """Return the run as it was last seen, with what has been committed of it since."""
        if self._flow_run is None:
            return None
        return dataclasses.replace(self._flow_run, committed_seq=self._committed_seq)

    def _knows(self, state: State) -> None:
        # A run that is being cancelled is told so by the hub, whatever it proposed.
        if state.id == self.attachment.proposing or state.is_terminal:
            self.attachment.knows(state)

    async def work_logs(self) -> None:
        """Write log lines until none are left."""
        try:
            await self._exists.wait()
            while self._log_records and not self.broken:
                await self._commit_logs()
        except (errors.Unavailable, errors.ResourceExhausted):
            raise  # As in ``work``.
        except errors.ControlPlaneError as error:
            self.fail(error)
        except Exception as error:
            self.fail(self._incident(error))
        finally:
            self._working_logs = False
            self._host.settled(0, 0)

    async def _commit_logs(self) -> None:
        lines = self._log_records
        taken = [lines.popleft() for _ in range(min(len(lines), _LOG_RECORDS_MAX))]
        try:
            records = [record for record, _ in taken]
            while records:
                before = self._committed_log_seq
                append = LogAppend(
                    flow_run_id=self.flow_run_id,
                    fencing_token=self.fencing_token,
                    seq_before=before,
                    seq_after=before + len(records),
                    records=records,
                )
                result = await self._context.storage.append_logs(append)
                if isinstance(result, Appended):
                    self._committed_log_seq += len(records)
                    break
                self._check(result)
                done = result.committed_seq - before
                if done <= 0:
                    msg = f"Flow run {self.flow_run_id} has lost log lines."
                    raise errors.FailedPrecondition(msg, "flow run", self.flow_run_id)
                # An older stream of the session was quicker.
                records = records[done:]
                self._committed_log_seq = min(before + done, self._received_log_seq)
            if not self.broken:
                self._host.send_log_ack(self.flow_run_id, self._committed_log_seq)
        finally:
            self._host.settled(len(taken), sum(size for _, size in taken))

    # --- What goes wrong --------------------------------------------------------------------

    def fail(self, error: errors.ControlPlaneError) -> None:
        """Refuse everything that still comes for the run, and say why, once."""
        if self.broken:
            return
        self.leave()
        self._host.send(frames.RunError(self.flow_run_id, error))
        self._host.run_ended(self)

    def _drop_steps(self) -> None:
        for step in self._steps:
            self._host.settled(step.count, step.size_bytes)
        self._steps.clear()

    def _check(self, refused: AppendRefused) -> None:
        if not refused.known:
            raise errors.NotFound("flow run", self.flow_run_id)
        if refused.fencing_token != self.fencing_token:
            raise errors.LeaseFenced(self.flow_run_id, self.fencing_token, refused.fencing_token)

    def _incident(self, error: Exception) -> errors.Internal:
        incident = self._context.new_id()
        _log.error(
            "Flow run %s failed on its stream, incident %s",
            self.flow_run_id,
            incident,
            exc_info=error,
        )
        return errors.Internal(incident)


__all__ = ["EngineRun", "Host"]
