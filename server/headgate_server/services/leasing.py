"""Takes, releases and ends leases: the use-cases of one lease at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime

from headgate.core import errors, states
from headgate.core.deployments import InfrastructureLossPolicy
from headgate.core.runs import FlowRun
from headgate.core.states import StateType
from headgate_server.domain import leasing, transforms
from headgate_server.domain.leasing import Held, Outcome
from headgate_server.services.hook_calls import HookCalls
from headgate_server.services.orchestration import Orchestration
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Lease, Session, SessionKind

#: How often an ending is decided anew because the run changed meanwhile.
_ATTEMPTS_MAX = 10


@dataclasses.dataclass(frozen=True, slots=True)
class _Facts:
    lease: Lease
    run: FlowRun
    policy: InfrastructureLossPolicy | None
    now: datetime


class Leasing:
    """Use-cases of leases.

    Args:
        storage: Where leases are kept.
        orchestration: Answers proposed states.
        new_id: Makes ids of states.
    """

    def __init__(
        self, storage: Storage, *, orchestration: Orchestration, new_id: Callable[[], str]
    ) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._orchestration = orchestration
        self._new_id = new_id
        #: Finds runners that call the hooks of runs whose own runner is lost.
        self.hook_calls = HookCalls(storage)

    async def accept(self, session_id: str, held: Held) -> FlowRun | None:
        """Note that an offer is taken: the run is Pending, if it is not Running already.

        Returns:
            The run; None if the lease is not there any more.
        """
        return await self._storage.write(lambda tx: self._accept(tx, session_id, held))

    def _accept(self, tx: Transaction, session_id: str, held: Held) -> FlowRun | None:
        lease, run = tx.leases.get(held.flow_run_id), tx.flow_runs.get(held.flow_run_id)
        if run is None or run.fencing_token != held.fencing_token:
            return None
        if run.state.is_terminal:
            return run  # Its process was quicker than the acceptance.
        if lease is None or not _is(lease, held, session_id):
            return None
        if lease.accepted:
            return run  # Sent again after a broken stream.
        tx.leases.accept(held.flow_run_id, fencing_token=held.fencing_token, session_id=session_id)
        if run.state.type is not StateType.SCHEDULED:
            return run
        now = tx.now()
        pending = states.new_state(StateType.PENDING, id=self._new_id(), now=now)
        after = transforms.apply(run, pending, now)
        revision = tx.flow_runs.save(run, after)
        if revision is None:
            msg = f"Flow run {run.id} is being changed by many at once; accept it again."
            raise errors.Unavailable(msg)
        return dataclasses.replace(after, revision=revision)

    async def release(self, session_id: str, held: Held, *, outcome: Outcome, message: str) -> None:
        """End a lease as its runner says. One that is not there any more is no error."""

        def decide(facts: _Facts) -> leasing.Ending:
            return leasing.after_release(
                facts.run,
                accepted=facts.lease.accepted,
                policy=facts.policy,
                outcome=outcome,
                message=message,
            )

        await self._end(session_id, held, decide, by_holder=True)

    async def lose(self, session: Session, held: Held) -> None:
        """End a lease whose holder is lost."""

        who = "Runner" if session.kind is SessionKind.RUNNER else "Process"

        def decide(facts: _Facts) -> leasing.Ending:
            return leasing.after_loss(
                facts.run,
                accepted=facts.lease.accepted,
                policy=facts.policy,
                holder=f"{who} {session.name}",
                silent_seconds=(facts.now - session.last_beat_time).total_seconds(),
            )

        ended = await self._end(session.id, held, decide, by_holder=False)
        if ended is not None and session.kind is SessionKind.RUNNER:
            await self.hook_calls.ask(ended)

    async def give_back(self, session_id: str, held: Held) -> None:
        """Put a run whose offer was not taken back into its queue."""

        def decide(facts: _Facts) -> leasing.Ending | None:
            if facts.lease.accepted:
                return None
            if facts.run.state.type is StateType.SCHEDULED:
                return leasing.GiveBack()
            # Its process was quicker than the acceptance, which is on its way.
            return None

        await self._end(session_id, held, decide, by_holder=False)

    async def _end(
        self,
        session_id: str,
        held: Held,
        decide: Callable[[_Facts], leasing.Ending | None],
        *,
        by_holder: bool,
    ) -> FlowRun | None:
        """End a lease; return the run, where it entered a state with that."""
        for _ in range(_ATTEMPTS_MAX):
            facts = await self._storage.read(lambda tx: _read(tx, session_id, held))
            if facts is None:
                return None
            match decide(facts):
                case None:
                    return None
                case leasing.Enter() as enter:
                    entered = await self._enter(facts, enter, by_holder=by_holder)
                    if entered is not None:
                        return entered
                case leasing.GiveBack():
                    if await self._storage.write(lambda tx, facts=facts: _drop(tx, facts, 1)):
                        return None
                case leasing.Drop():
                    if await self._storage.write(lambda tx, facts=facts: _drop(tx, facts, 0)):
                        return None
        msg = f"Flow run {held.flow_run_id} is being changed by many at once; try again."
        raise errors.Unavailable(msg)

    async def _enter(
        self, facts: _Facts, enter: leasing.Enter, *, by_holder: bool
    ) -> FlowRun | None:
        """Propose the state that ends a lease; None if the run changed meanwhile."""
        state = states.new_state(
            enter.type,
            id=self._new_id(),
            now=facts.now,
            name=enter.name,
            message=enter.message,
        )
        try:
            _, run = await self._orchestration.propose(
                facts.run.id,
                state,
                fencing_token=facts.lease.fencing_token if by_holder else None,
                force=not by_holder,
                release=True,
                rescheduled=enter.rescheduled,
                lease=facts.lease,
            )
        except errors.LeaseFenced:
            return None
        return run if run.state.type is enter.type or run.state.is_terminal else None


def _is(lease: Lease, held: Held, session_id: str) -> bool:
    return lease.fencing_token == held.fencing_token and lease.session_id == session_id


def _read(tx: Transaction, session_id: str, held: Held) -> _Facts | None:
    lease = tx.leases.get(held.flow_run_id)
    if lease is None or not _is(lease, held, session_id):
        return None
    run = tx.flow_runs.get(held.flow_run_id)
    if run is None:
        return None
    deployment = tx.deployments.get(run.deployment_id) if run.deployment_id else None
    policy = deployment.on_infrastructure_loss if deployment else None
    return _Facts(lease, run, policy, tx.now())


def _drop(tx: Transaction, facts: _Facts, fence: int) -> bool:
    """Delete the lease, with the run as it is; False if either changed meanwhile."""
    if tx.leases.get(facts.run.id) != facts.lease:
        return False
    after = dataclasses.replace(
        facts.run, fencing_token=facts.run.fencing_token + fence, runner_name=None
    )
    return tx.flow_runs.save(facts.run, after, release=True) is not None


__all__ = ["Leasing"]
