"""What engines' streams bring: the hot path.

A group of batches becomes a few statements of many rows, whatever the number of runs and
streams. Nothing here goes through SQLAlchemy row by row: tuples are made as the driver takes
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from headgate.core import errors, runs
from headgate_server.storage.records import Appended, AppendRefused, LogAppend, RunAppend
from headgate_server.storage.sql import json_text
from headgate_server.storage.sql.driver import Cursors, RawRow, Rows
from headgate_server.storage.sql.types import to_micros, to_micros_or_none
from headgate_server.storage.sql.work import (
    STATE_TYPE_TEXT,
    Work,
    journal_row,
    storable,
)

Batch = RunAppend | LogAppend
Outcome = Appended | AppendRefused


@dataclasses.dataclass(slots=True)
class _Guard:
    """How far a flow run has come, within the rows."""

    fencing_token: int
    seq: int
    log_seq: int
    moved: bool = False


def fold(
    work: Work, batches: Sequence[Batch], cursors: Sequence[Cursors]
) -> tuple[Rows, list[Outcome]]:
    """Make of a group of batches the rows to write, and what each of them is told.

    Args:
        work: The transaction.
        batches: In order.
        cursors: How far the flow runs of the batches have come; none for an unknown run.
    """
    guards = {found.run_id: _Guard(*found[1:]) for found in cursors}
    rows = Rows()
    outcomes = [_fold(work, rows, guards.get(batch.flow_run_id), batch) for batch in batches]
    rows.cursors.extend(
        (guard.seq, guard.log_seq, run_id) for run_id, guard in guards.items() if guard.moved
    )
    return rows, outcomes


def fold_alone(batch: RunAppend) -> Rows:
    """Make of a batch rows whose revisions count from 1, without a time: see ``commit_alone``."""
    rows = Rows()
    _fold_runs(rows, batch, revision=1, commit_time=0)
    return rows


def _fold(work: Work, rows: Rows, guard: _Guard | None, batch: Batch) -> Outcome:
    if guard is None:
        return AppendRefused(known=False, fencing_token=0, committed_seq=0)
    is_logs = isinstance(batch, LogAppend)
    seq = guard.log_seq if is_logs else guard.seq
    if batch.fencing_token != guard.fencing_token or batch.seq_before != seq:
        return AppendRefused(known=True, fencing_token=guard.fencing_token, committed_seq=seq)
    guard.moved = True
    if isinstance(batch, LogAppend):
        guard.log_seq = batch.seq_after
        _fold_logs(work, rows, batch)
        return Appended(revision=0)
    guard.seq = batch.seq_after
    first, count = work.take_revisions(len(batch.entries)), len(batch.entries)
    _fold_runs(rows, batch, revision=first, commit_time=to_micros(work.now()))
    return Appended(revision=first + count - 1 if count else 0)


def _fold_runs(rows: Rows, batch: RunAppend, *, revision: int, commit_time: int) -> None:
    flow_run_id = batch.flow_run_id
    add_line = rows.journal.append
    newest: dict[str, int] = {}
    for entry in batch.entries:
        run_id = entry.run_id
        add_line(
            journal_row(
                revision, flow_run_id, run_id, entry.run_name, entry.state, commit_time=commit_time
            )
        )
        newest[run_id] = revision
        revision += 1
    new, changed = rows.new_task_runs, rows.changed_task_runs
    for run in batch.new_task_runs:
        if run.id in new:
            # Of two streams in one group: written one by one, the second finds it there.
            raise errors.AlreadyExists("task run", run.id)
        new[run.id] = task_run_row(run, newest.get(run.id, run.revision))
    for run in batch.changed_task_runs:
        row = task_run_row(run, newest.get(run.id, run.revision))
        # One that an earlier batch of this very group brought is not in the table yet.
        target = new if run.id in new else changed
        target[run.id] = row


def _fold_logs(work: Work, rows: Rows, batch: LogAppend) -> None:
    first = work.take_log_ids(len(batch.records))
    rows.logs.extend(log_rows(batch.records, first))


def log_rows(records: Sequence[runs.LogRecord], first_id: int) -> list[RawRow]:
    """Return the rows of log lines, in the order of the table's columns."""
    return [
        (
            first_id + place,
            record.flow_run_id,
            record.task_run_id,
            to_micros(record.timestamp),
            record.level,
            storable(record.logger),
            storable(record.message),
        )
        for place, record in enumerate(records)
    ]


def task_run_row(run: runs.TaskRun, revision: int) -> RawRow:
    """Return the row of a task run, in the order of the table's columns."""
    return (
        run.id,
        storable(run.name),
        run.flow_run_id,
        storable(run.task_key),
        storable(run.dynamic_key),
        storable(run.task_version),
        json_text.dump_texts(run.tags),
        STATE_TYPE_TEXT[run.state.type],
        storable(run.state.name),
        run.run_count,
        run.max_retries,
        to_micros_or_none(run.expected_start_time),
        to_micros_or_none(run.start_time),
        to_micros_or_none(run.end_time),
        run.parent_task_run_id,
        json_text.dump_texts(run.upstream_run_ids),
        run.flow_run_attempt,
        to_micros(run.create_time),
        revision,
    )
