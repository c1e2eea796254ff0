"""What goes with what: the one place that deletes rows belonging to runs and flows."""

from __future__ import annotations

import sqlalchemy as sa

from headgate_server.storage.sql import artifacts, concurrency, run_inputs, tables
from headgate_server.storage.sql.work import Work


def delete_flow_runs(work: Work, condition: sa.ColumnElement[bool]) -> int:
    """Delete flow runs with all that belongs to them; return how many."""
    doomed = sa.select(tables.flow_runs.c.id).where(condition).scalar_subquery()
    if work.execute(sa.select(tables.flow_runs.c.id).where(condition).limit(1)).first() is None:
        return 0
    for table in (
        tables.task_runs,
        tables.journal,
        tables.logs,
        tables.leases,
        tables.ready_runs,
    ):
        work.execute(sa.delete(table).where(table.c.flow_run_id.in_(doomed)))
    run_inputs.delete_of_runs(work, doomed)
    artifacts.delete_of_runs(work, doomed)
    concurrency.delete_of_runs(work, doomed)
    work.changes.ready = True  # a slot may have become free
    return work.execute(sa.delete(tables.flow_runs).where(condition)).rowcount


def delete_deployments(work: Work, condition: sa.ColumnElement[bool]) -> None:
    """Delete deployments; their runs stay, without deployment."""
    doomed = sa.select(tables.deployments.c.id).where(condition).scalar_subquery()
    for table in (tables.flow_runs, tables.ready_runs, tables.leases):
        work.execute(
            sa.update(table).where(table.c.deployment_id.in_(doomed)).values(deployment_id=None)
        )
    work.execute(sa.delete(tables.deployments).where(condition))


def delete_flow(work: Work, flow_id: str) -> None:
    """Delete a flow with its deployments and runs."""
    delete_flow_runs(work, tables.flow_runs.c.flow_id == flow_id)
    work.execute(sa.delete(tables.deployments).where(tables.deployments.c.flow_id == flow_id))
    work.execute(sa.delete(tables.flows).where(tables.flows.c.id == flow_id))
