"""The runs that schedules want: made when a deployment changes, topped up by a loop."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from headgate.core import deployments, names, runs
from headgate_server.domain import parameter_templates, schedule_plan
from headgate_server.services.notifier import Signal
from headgate_server.services.parameter_facts import template_context, variable_text
from headgate_server.storage.interface import Transaction


class Scheduling:
    """Makes the runs that the schedules of deployments want.

    Args:
        new_id: Makes ids.
        rng: Where chance comes from, for names.

    Attributes:
        changed: Given when a deployment has changed; the loop waits for it.
    """

    def __init__(self, *, new_id: Callable[[], str], rng: random.Random) -> None:
        """Make it."""
        self.changed = Signal()
        self._new_id = new_id
        self._rng = rng

    def wake(self) -> None:
        """Let the loop look at the deployments now."""
        self.changed.give()

    def insert_runs(self, tx: Transaction, deployment: deployments.Deployment) -> int:
        """Insert the runs that are wanted and not there yet; return how many.

        A run that was cancelled, or has moved on, keeps its key: it is not made again.
        """
        now = tx.now()
        inserted = 0
        for planned in schedule_plan.plan(deployment, now):
            key = planned.idempotency_key
            if tx.flow_runs.find_idempotent(deployment.flow_id, key) is not None:
                continue
            run = schedule_plan.make_run(
                deployment,
                planned,
                id=self._new_id(),
                state_id=self._new_id(),
                name=names.random_name(self._rng),
                now=now,
            )
            tx.flow_runs.insert(_resolved(tx, deployment, run))
            inserted += 1
        return inserted

    def count_missing(self, tx: Transaction, deployment: deployments.Deployment) -> int:
        """Count the runs that are wanted and not there yet."""
        return sum(
            tx.flow_runs.find_idempotent(deployment.flow_id, planned.idempotency_key) is None
            for planned in schedule_plan.plan(deployment, tx.now())
        )

    def top_up(self, tx: Transaction, deployment: deployments.Deployment) -> int:
        """Insert what is missing, unless the deployment has changed since it was read."""
        current = tx.deployments.get(deployment.id)
        if current is None or current.etag != deployment.etag:
            return 0
        return self.insert_runs(tx, deployment)


def _resolved(
    tx: Transaction, deployment: deployments.Deployment, run: runs.FlowRun
) -> runs.FlowRun:
    """Resolve the templates in the parameters of a run.

    One that cannot be resolved stays as it is, and the run fails by it: a schedule has nobody to
    tell, and its other runs are not to blame.
    """
    resolved = parameter_templates.resolve(
        run.parameters,
        "parameters",
        find_variable=lambda name: variable_text(tx, name),
        context=template_context(deployment, run_id=run.id, run_name=run.name),
    )
    return dataclasses.replace(run, parameters=resolved.parameters)
