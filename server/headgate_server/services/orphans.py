"""What a flow run leaves behind when it is lost or cancelled: nothing stays Running.

Its task runs end with it: the first of them in the transaction that ends the flow run, the
rest in batches. Its subflows are ended, too: a cancelled run cancels all that it started, a
crashed run takes along the subflows of its own process, which cannot go on without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from headgate.core import runs, states
from headgate.core.states import StateType
from headgate_server.domain import transforms
from headgate_server.storage.interface import Storage, Transaction

_BATCH = 500

Propose = Callable[[runs.FlowRun, states.State], Awaitable[None]]


def leaves_task_runs(run: runs.FlowRun, *, released: bool) -> bool:
    """Say whether task runs of the run that have not ended will never be reported ended."""
    if run.state.type in (StateType.CRASHED, StateType.CANCELLED):
        return True
    return released and run.state.type is StateType.SCHEDULED


class Orphans:
    """Ends task runs and subflows of flow runs that are lost or cancelled.

    Args:
        storage: Where runs are kept.
        new_id: Makes ids of states.
        propose: Proposes a state for a subflow, from outside.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str], propose: Propose) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._new_id = new_id
        self._propose = propose

    def end_some_task_runs(self, tx: Transaction, run: runs.FlowRun) -> bool:
        """End a batch of the run's unfinished task runs; return whether there may be more."""
        unfinished = tx.task_runs.list_unfinished(run.id, _BATCH)
        if not unfinished:
            return False
        cancelled = run.state.type is StateType.CANCELLED
        type = StateType.CANCELLED if cancelled else StateType.CRASHED
        message = f"Its flow run is {run.state.name}: {run.state.message}".rstrip(": ")
        now = tx.now()
        tx.task_runs.save(
            [
                transforms.apply_to_task_run(
                    task_run,
                    states.new_state(type, id=self._new_id(), now=now, message=message),
                )
                for task_run in unfinished
            ]
        )
        return len(unfinished) == _BATCH

    async def follow(
        self, run: runs.FlowRun, *, more_task_runs: bool, released: bool = False
    ) -> None:
        """End what is left of a run that was just ended or taken back."""
        while more_task_runs:
            more_task_runs = await self._storage.write(lambda tx: self._end_more(tx, run))
        if run.state.type is StateType.CANCELLED:
            await self._end_children(run, _cancelling)
        elif run.state.type is StateType.CRASHED or (
            released and run.state.type is StateType.SCHEDULED
        ):
            # A run that goes on elsewhere calls its subflows again, or takes them up again.
            await self._end_children(run, _crashed)

    def _end_more(self, tx: Transaction, run: runs.FlowRun) -> bool:
        current = tx.flow_runs.get(run.id)
        if current is None or current.state.id != run.state.id:
            return False  # It goes on, and so do task runs of its new attempt.
        return self.end_some_task_runs(tx, run)

    async def _end_children(
        self, run: runs.FlowRun, state_for: Callable[[runs.FlowRun], StateType | None]
    ) -> None:
        # One batch: a run that has started more subflows than this at once is not known, and
        # those that are executed elsewhere stay listed until their runner has stopped them.
        children = await self._storage.read(
            lambda tx: (tx.flow_runs.list_unfinished_children(run.id, _BATCH), tx.now())
        )
        for child in children[0]:
            type = state_for(child)
            if type is None:
                continue
            message = f"The run that started it, {run.name}, is {run.state.name}."
            await self._propose(
                child,
                states.new_state(type, id=self._new_id(), now=children[1], message=message),
            )


def _cancelling(child: runs.FlowRun) -> StateType | None:
    return None if child.state.type is StateType.CANCELLING else StateType.CANCELLING


def _crashed(child: runs.FlowRun) -> StateType | None:
    """Crash subflows of the same process only; deployed ones have runners of their own."""
    return StateType.CRASHED if child.deployment_id is None else None
