"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headgate_server.storage.sql.types import SERIAL, TEXT, UID, Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "heads",
        sa.Column("id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("journal", sa.BigInteger(), nullable=False),
        sa.Column("journal_oldest", sa.BigInteger(), nullable=False),
        sa.Column("logs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_heads"),
    )
    op.create_table(
        "flows",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("labels", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flows"),
        sa.UniqueConstraint("name", name="uq_flows_name"),
    )
    op.create_table(
        "deployments",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("flow_id", UID, nullable=False),
        sa.Column("flow_name", TEXT, nullable=False),
        sa.Column("entrypoint", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("labels", TEXT, nullable=False),
        sa.Column("parameters", TEXT, nullable=False),
        sa.Column("parameter_schema", TEXT, nullable=False),
        sa.Column("enforce_parameter_schema", sa.Boolean(), nullable=False),
        sa.Column("schedules", TEXT, nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("is_scheduled", sa.Boolean(), nullable=False),
        sa.Column("concurrency_limit", sa.Integer(), nullable=True),
        sa.Column("collision_strategy", TEXT, nullable=False),
        sa.Column("work_pool_name", TEXT, nullable=False),
        sa.Column("work_queue_name", TEXT, nullable=False),
        sa.Column("job_variables", TEXT, nullable=False),
        sa.Column("pull_steps", TEXT, nullable=False),
        sa.Column("loss_action", TEXT, nullable=False),
        sa.Column("loss_max_reschedules", sa.Integer(), nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.Column("etag", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.UniqueConstraint("flow_name", "name", name="uq_deployments_flow_name_name"),
    )
    op.create_index("ix_deployments_flow_id", "deployments", ["flow_id"])
    op.create_index(
        "ix_deployments_work_pool_name_work_queue_name",
        "deployments",
        ["work_pool_name", "work_queue_name"],
    )
    op.create_table(
        "flow_runs",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("flow_id", UID, nullable=False),
        sa.Column("flow_name", TEXT, nullable=False),
        sa.Column("deployment_id", UID, nullable=True),
        sa.Column("flow_version", TEXT, nullable=False),
        sa.Column("parameters", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("labels", TEXT, nullable=False),
        sa.Column("state_id", UID, nullable=False),
        sa.Column("state_type", TEXT, nullable=False),
        sa.Column("state_name", TEXT, nullable=False),
        sa.Column("state_timestamp", Instant(), nullable=False),
        sa.Column("pause_expire_time", Instant(), nullable=True),
        sa.Column("run_count", sa.Integer(), nullable=False),
        sa.Column("retry_policy", TEXT, nullable=True),
        sa.Column("expected_start_time", Instant(), nullable=True),
        sa.Column("start_time", Instant(), nullable=True),
        sa.Column("end_time", Instant(), nullable=True),
        sa.Column("parent_task_run_id", UID, nullable=True),
        sa.Column("parent_flow_run_id", UID, nullable=True),
        sa.Column("root_flow_run_id", UID, nullable=False),
        sa.Column("work_pool_name", TEXT, nullable=True),
        sa.Column("work_queue_name", TEXT, nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("job_variables", TEXT, nullable=False),
        sa.Column("auto_scheduled", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", TEXT, nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("reschedule_count", sa.Integer(), nullable=False),
        sa.Column("committed_seq", sa.BigInteger(), nullable=False),
        sa.Column("committed_log_seq", sa.BigInteger(), nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("order_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flow_runs"),
        sa.UniqueConstraint(
            "flow_id", "idempotency_key", name="uq_flow_runs_flow_id_idempotency_key"
        ),
    )
    op.create_index(
        "ix_flow_runs_deployment_id_order_time_id",
        "flow_runs",
        ["deployment_id", "order_time", "id"],
    )
    op.create_index(
        "ix_flow_runs_flow_id_order_time_id", "flow_runs", ["flow_id", "order_time", "id"]
    )
    op.create_index("ix_flow_runs_order_time_id", "flow_runs", ["order_time", "id"])
    op.create_index(
        "ix_flow_runs_parent_flow_run_id_order_time_id",
        "flow_runs",
        ["parent_flow_run_id", "order_time", "id"],
    )
    op.create_index("ix_flow_runs_root_flow_run_id", "flow_runs", ["root_flow_run_id"])
    op.create_index(
        "ix_flow_runs_state_name_order_time_id", "flow_runs", ["state_name", "order_time", "id"]
    )
    op.create_index(
        "ix_flow_runs_state_type_order_time_id", "flow_runs", ["state_type", "order_time", "id"]
    )
    op.create_index("ix_flow_runs_state_type_state_name", "flow_runs", ["state_type", "state_name"])
    op.create_index(
        "ix_flow_runs_work_pool_name_order_time_id",
        "flow_runs",
        ["work_pool_name", "order_time", "id"],
    )
    op.create_table(
        "ready_runs",
        sa.Column("flow_run_id", UID, nullable=False),
        sa.Column("work_pool_name", TEXT, nullable=False),
        sa.Column("work_queue_name", TEXT, nullable=False),
        sa.Column("deployment_id", UID, nullable=True),
        sa.Column("precedence", sa.Integer(), nullable=False),
        sa.Column("due_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("flow_run_id", name="pk_ready_runs"),
    )
    op.create_index(
        "ix_ready_runs_due", "ready_runs", ["work_pool_name", "work_queue_name", "due_time"]
    )
    op.create_index("ix_ready_runs_due_time", "ready_runs", ["due_time"])
    op.create_index(
        "ix_ready_runs_order",
        "ready_runs",
        [
            "work_pool_name",
            "work_queue_name",
            "precedence",
            "due_time",
            "flow_run_id",
            "deployment_id",
        ],
    )
    op.create_table(
        "task_runs",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("flow_run_id", UID, nullable=False),
        sa.Column("task_key", TEXT, nullable=False),
        sa.Column("dynamic_key", TEXT, nullable=False),
        sa.Column("task_version", TEXT, nullable=False),
        sa.Column("tags", TEXT, nullable=False),
        sa.Column("state_type", TEXT, nullable=False),
        sa.Column("state_name", TEXT, nullable=False),
        sa.Column("run_count", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("expected_start_time", Instant(), nullable=True),
        sa.Column("start_time", Instant(), nullable=True),
        sa.Column("end_time", Instant(), nullable=True),
        sa.Column("parent_task_run_id", UID, nullable=True),
        sa.Column("upstream_run_ids", TEXT, nullable=False),
        sa.Column("flow_run_attempt", sa.Integer(), nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_task_runs"),
    )
    op.create_index(
        "ix_task_runs_flow_run_id_id_state_type_state_name",
        "task_runs",
        ["flow_run_id", "id", "state_type", "state_name"],
    )
    op.create_table(
        "journal",
        sa.Column("revision", SERIAL, autoincrement=False, nullable=False),
        sa.Column("flow_run_id", UID, nullable=False),
        sa.Column("run_id", UID, nullable=False),
        sa.Column("run_name", TEXT, nullable=False),
        sa.Column("state_id", UID, nullable=False),
        sa.Column("state_type", TEXT, nullable=False),
        sa.Column("state_name", TEXT, nullable=False),
        sa.Column("state_timestamp", Instant(), nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("details", TEXT, nullable=True),
        sa.Column("data_serializer", TEXT, nullable=True),
        sa.Column("data_inline", sa.LargeBinary(), nullable=True),
        sa.Column("data_storage_key", TEXT, nullable=True),
        sa.Column("commit_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_journal"),
    )
    op.create_index(
        "ix_journal_flow_run_id_run_id_revision", "journal", ["flow_run_id", "run_id", "revision"]
    )
    op.create_table(
        "logs",
        sa.Column("id", SERIAL, autoincrement=False, nullable=False),
        sa.Column("flow_run_id", UID, nullable=False),
        sa.Column("task_run_id", UID, nullable=True),
        sa.Column("timestamp", Instant(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("logger", TEXT, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logs"),
    )
    op.create_index("ix_logs_flow_run_id_id", "logs", ["flow_run_id", "id"])
    op.create_index("ix_logs_task_run_id_id", "logs", ["task_run_id", "id"])
    op.create_table(
        "work_pools",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("concurrency_limit", sa.Integer(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("base_job_template", TEXT, nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.Column("update_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_work_pools"),
        sa.UniqueConstraint("name", name="uq_work_pools_name"),
    )
    op.create_table(
        "work_queues",
        sa.Column("id", UID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("work_pool_name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("concurrency_limit", sa.Integer(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("create_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_work_queues"),
        sa.UniqueConstraint("work_pool_name", "name", name="uq_work_queues_work_pool_name_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", UID, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("instance_id", TEXT, nullable=False),
        sa.Column("resume_token_hash", TEXT, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("work_pool_names", TEXT, nullable=False),
        sa.Column("work_queue_names", TEXT, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("sdk", TEXT, nullable=False),
        sa.Column("last_beat_time", Instant(), nullable=False),
        sa.Column("expire_time", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expire_time", "sessions", ["expire_time"])
    op.create_table(
        "leases",
        sa.Column("flow_run_id", UID, nullable=False),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("session_id", UID, nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("offer_expire_time", Instant(), nullable=True),
        sa.Column("work_pool_name", TEXT, nullable=True),
        sa.Column("work_queue_name", TEXT, nullable=True),
        sa.Column("deployment_id", UID, nullable=True),
        sa.PrimaryKeyConstraint("flow_run_id", name="pk_leases"),
    )
    op.create_index("ix_leases_session_id", "leases", ["session_id"])
    op.execute("INSERT INTO heads (id, journal, journal_oldest, logs) VALUES (1, 0, 0, 0)")


def downgrade() -> None:
    op.drop_table("leases")
    op.drop_table("sessions")
    op.drop_table("work_queues")
    op.drop_table("work_pools")
    op.drop_table("logs")
    op.drop_table("journal")
    op.drop_table("task_runs")
    op.drop_table("ready_runs")
    op.drop_table("flow_runs")
    op.drop_table("deployments")
    op.drop_table("flows")
    op.drop_table("heads")
