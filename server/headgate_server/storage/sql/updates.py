"""What a transition changes of a task run, cut out of its row."""

from __future__ import annotations

from headgate_server.storage.sql import tables
from headgate_server.storage.sql.driver import RawRow

UPDATED_COLUMNS = (
    "state_type",
    "state_name",
    "run_count",
    "expected_start_time",
    "start_time",
    "end_time",
    "revision",
)

_PLACES = [tables.task_runs.c.keys().index(name) for name in (*UPDATED_COLUMNS, "id")]


def update_values(row: RawRow) -> RawRow:
    """Return of a task run's row the columns that a transition changes, then the id."""
    return tuple([row[place] for place in _PLACES])
