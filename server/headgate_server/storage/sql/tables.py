"""The tables.

Three things to know before reading a query:

- A run's state is not in its row but in the journal: ``revision`` points at the line of its
  newest transition. What is filtered and counted by (``state_type``, ``state_name``) is in
  both.
- Records within a record (tags, parameters, schedules, state details) are JSON text.
- There are no foreign keys: rows that belong to a run go with it in one place,
  ``deletion.py``, and the two hot tables are spared the look-ups.
"""

from __future__ import annotations

import sqlalchemy as sa

from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant

METADATA = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: One row. Locking it is a replica's turn to write, so that numbers are given in the order
#: of commits; see ``work.py``.
heads = sa.Table(
    "heads",
    METADATA,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=False),
    sa.Column("journal", sa.BigInteger, nullable=False),
    sa.Column("journal_oldest", sa.BigInteger, nullable=False),
    sa.Column("logs", sa.BigInteger, nullable=False),
)

flows = sa.Table(
    "flows",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("labels", TEXT, nullable=False),
    sa.Column("tags", TEXT, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("name"),
)

deployments = sa.Table(
    "deployments",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("flow_id", UID, nullable=False, index=True),
    sa.Column("flow_name", TEXT, nullable=False),
    sa.Column("entrypoint", TEXT, nullable=False),
    sa.Column("path", TEXT, nullable=False),
    sa.Column("description", TEXT, nullable=False),
    sa.Column("version", TEXT, nullable=False),
    sa.Column("tags", TEXT, nullable=False),
    sa.Column("labels", TEXT, nullable=False),
    sa.Column("parameters", TEXT, nullable=False),
    sa.Column("parameter_schema", TEXT, nullable=False),
    sa.Column("enforce_parameter_schema", sa.Boolean, nullable=False),
    sa.Column("schedules", TEXT, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    # Whether it runs by itself: it is not paused and has a schedule that is not paused.
    sa.Column("is_scheduled", sa.Boolean, nullable=False),
    sa.Column("concurrency_limit", sa.Integer),
    sa.Column("collision_strategy", TEXT, nullable=False),
    sa.Column("work_pool_name", TEXT, nullable=False),
    sa.Column("work_queue_name", TEXT, nullable=False),
    sa.Column("job_variables", TEXT, nullable=False),
    sa.Column("pull_steps", TEXT, nullable=False),
    sa.Column("loss_action", TEXT, nullable=False),
    sa.Column("loss_max_reschedules", sa.Integer, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.Column("etag", TEXT, nullable=False),
    sa.UniqueConstraint("flow_name", "name"),
    sa.Index(None, "work_pool_name", "work_queue_name"),
)

flow_runs = sa.Table(
    "flow_runs",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("flow_id", UID, nullable=False),
    sa.Column("flow_name", TEXT, nullable=False),
    sa.Column("deployment_id", UID),
    sa.Column("flow_version", TEXT, nullable=False),
    sa.Column("parameters", TEXT, nullable=False),
    sa.Column("tags", TEXT, nullable=False),
    sa.Column("labels", TEXT, nullable=False),
    sa.Column("state_id", UID, nullable=False),
    sa.Column("state_type", TEXT, nullable=False),
    sa.Column("state_name", TEXT, nullable=False),
    sa.Column("state_timestamp", Instant, nullable=False),
    sa.Column("pause_expire_time", Instant),
    sa.Column("run_count", sa.Integer, nullable=False),
    sa.Column("retry_policy", TEXT),
    sa.Column("expected_start_time", Instant),
    sa.Column("start_time", Instant),
    sa.Column("end_time", Instant),
    sa.Column("parent_task_run_id", UID),
    sa.Column("parent_flow_run_id", UID),
    sa.Column("root_flow_run_id", UID, nullable=False),
    sa.Column("work_pool_name", TEXT),
    sa.Column("work_queue_name", TEXT),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("job_variables", TEXT, nullable=False),
    sa.Column("auto_scheduled", sa.Boolean, nullable=False),
    sa.Column("idempotency_key", TEXT),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("reschedule_count", sa.Integer, nullable=False),
    sa.Column("committed_seq", sa.BigInteger, nullable=False),
    sa.Column("committed_log_seq", sa.BigInteger, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    # expected_start_time, or create_time: what lists are ordered by, in microseconds.
    sa.Column("order_time", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("flow_id", "idempotency_key"),
    sa.Index(None, "order_time", "id"),
    sa.Index(None, "state_type", "order_time", "id"),
    sa.Index(None, "state_name", "order_time", "id"),
    # Counts of all runs, from the index alone.
    sa.Index(None, "state_type", "state_name"),
    sa.Index(None, "flow_id", "order_time", "id"),
    sa.Index(None, "deployment_id", "order_time", "id"),
    sa.Index(None, "parent_flow_run_id", "order_time", "id"),
    sa.Index(None, "work_pool_name", "order_time", "id"),
    sa.Index(None, "root_flow_run_id"),
)

#: Runs that may be leased, now or at ``due_time``: small, however long the history is.
ready_runs = sa.Table(
    "ready_runs",
    METADATA,
    sa.Column("flow_run_id", UID, primary_key=True),
    sa.Column("work_pool_name", TEXT, nullable=False),
    sa.Column("work_queue_name", TEXT, nullable=False),
    sa.Column("deployment_id", UID),
    # Minus the run's priority: what goes first is smaller.
    sa.Column("precedence", sa.Integer, nullable=False),
    # In microseconds.
    sa.Column("due_time", sa.BigInteger, nullable=False, index=True),
    # Whether a queue has due runs, and which are the next.
    sa.Index("ix_ready_runs_due", "work_pool_name", "work_queue_name", "due_time"),
    sa.Index(
        "ix_ready_runs_order",
        "work_pool_name",
        "work_queue_name",
        "precedence",
        "due_time",
        "flow_run_id",
        "deployment_id",
    ),
)

task_runs = sa.Table(
    "task_runs",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("flow_run_id", UID, nullable=False),
    sa.Column("task_key", TEXT, nullable=False),
    sa.Column("dynamic_key", TEXT, nullable=False),
    sa.Column("task_version", TEXT, nullable=False),
    sa.Column("tags", TEXT, nullable=False),
    sa.Column("state_type", TEXT, nullable=False),
    sa.Column("state_name", TEXT, nullable=False),
    sa.Column("run_count", sa.Integer, nullable=False),
    sa.Column("max_retries", sa.Integer, nullable=False),
    sa.Column("expected_start_time", Instant),
    sa.Column("start_time", Instant),
    sa.Column("end_time", Instant),
    sa.Column("parent_task_run_id", UID),
    sa.Column("upstream_run_ids", TEXT, nullable=False),
    sa.Column("flow_run_attempt", sa.Integer, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    # Pages of a flow run's task runs, and their counts, from the index alone.
    sa.Index(None, "flow_run_id", "id", "state_type", "state_name"),
)

#: One line per transition. A line is of the flow run itself where the two ids are equal,
#: else of one of its task runs.
journal = sa.Table(
    "journal",
    METADATA,
    sa.Column("revision", SERIAL, primary_key=True, autoincrement=False),
    sa.Column("flow_run_id", UID, nullable=False),
    sa.Column("run_id", UID, nullable=False),
    sa.Column("run_name", TEXT, nullable=False),
    sa.Column("state_id", UID, nullable=False),
    sa.Column("state_type", TEXT, nullable=False),
    sa.Column("state_name", TEXT, nullable=False),
    sa.Column("state_timestamp", Instant, nullable=False),
    sa.Column("message", TEXT, nullable=False),
    sa.Column("details", TEXT),
    sa.Column("data_serializer", TEXT),
    sa.Column("data_inline", sa.LargeBinary),
    sa.Column("data_storage_key", TEXT),
    sa.Column("commit_time", Instant, nullable=False),
    sa.Index(None, "flow_run_id", "run_id", "revision"),
)

logs = sa.Table(
    "logs",
    METADATA,
    sa.Column("id", SERIAL, primary_key=True, autoincrement=False),
    sa.Column("flow_run_id", UID, nullable=False),
    sa.Column("task_run_id", UID),
    sa.Column("timestamp", Instant, nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("logger", TEXT, nullable=False),
    sa.Column("message", TEXT, nullable=False),
    sa.Index(None, "flow_run_id", "id"),
    sa.Index(None, "task_run_id", "id"),
)

work_pools = sa.Table(
    "work_pools",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("type", TEXT, nullable=False),
    sa.Column("description", TEXT, nullable=False),
    sa.Column("concurrency_limit", sa.Integer),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("base_job_template", TEXT, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("name"),
)

work_queues = sa.Table(
    "work_queues",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("work_pool_name", TEXT, nullable=False),
    sa.Column("description", TEXT, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("concurrency_limit", sa.Integer),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("create_time", Instant, nullable=False),
    sa.UniqueConstraint("work_pool_name", "name"),
)

sessions = sa.Table(
    "sessions",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("instance_id", TEXT, nullable=False),
    sa.Column("resume_token_hash", TEXT, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("work_pool_names", TEXT, nullable=False),
    sa.Column("work_queue_names", TEXT, nullable=False),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("sdk", TEXT, nullable=False),
    sa.Column("last_beat_time", Instant, nullable=False),
    sa.Column("expire_time", Instant, nullable=False, index=True),
)

leases = sa.Table(
    "leases",
    METADATA,
    sa.Column("flow_run_id", UID, primary_key=True),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("session_id", UID, nullable=False, index=True),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("offer_expire_time", Instant),
    # Where its slots count; all None for the runs of an engine.
    sa.Column("work_pool_name", TEXT),
    sa.Column("work_queue_name", TEXT),
    sa.Column("deployment_id", UID),
)
