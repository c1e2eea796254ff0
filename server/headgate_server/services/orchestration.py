"""The one way by which a flow run changes its state.

Read the run and what surrounds it, let the rules decide, write by compare-and-set. No
transaction is open while rules think; who loses the race reads again and decides anew.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from datetime import datetime

from headgate.core import errors, runs, states
from headgate.core.clock import Clock
from headgate.core.states import StateType
from headgate_server.domain import decisions, lease_effects, orchestrator, transforms
from headgate_server.domain.context import Context, Retry
from headgate_server.services import orphans
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Lease

#: Races are lost to other transitions of the same run, which are few; more than this many in
#: a row means that something else is wrong.
_ATTEMPTS_MAX = 20

_SPARED = frozenset({StateType.RUNNING, StateType.COMPLETED})
_LIVE = frozenset({StateType.PENDING, StateType.RUNNING})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A state that a flow run shall enter, and by whose leave.

    Attributes:
        flow_run_id: The run.
        state: The proposed state.
        fencing_token: The token of the lease under which it is proposed; None: from outside.
        force: Whether it overrides the rules.
        seq: The number of the proposal in the engine's stream, committed with the verdict.
        known: The run as the holder of its lease saw it last.
        release: Whether the lease ends with the transition in any case.
        rescheduled: Whether the transition counts as a reschedule after a lost runner.
        lease: The lease that is ended by it, as it was read: another one is not ended.
        retry: Set where somebody asks to retry the run.
    """

    flow_run_id: str
    state: states.State
    fencing_token: int | None = None
    force: bool = False
    seq: int | None = None
    known: runs.FlowRun | None = None
    release: bool = False
    rescheduled: bool = False
    lease: Lease | None = None
    retry: Retry | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Situation:
    run: runs.FlowRun
    lease: Lease | None
    fired_pause_keys: frozenset[str]
    now: datetime


class Orchestration:
    """Answers proposed states of flow runs.

    Args:
        storage: Where runs are kept.
        new_id: Makes ids, for states that rules put in place.
        rng: Where chance comes from, for the jitter of retries.
        clock: Tells the time where the database was not asked.
    """

    def __init__(
        self, storage: Storage, *, new_id: Callable[[], str], rng: random.Random, clock: Clock
    ) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._clock = clock
        self._new_id = new_id
        self._rng = rng
        self._orphans = orphans.Orphans(storage, new_id=new_id, propose=self._propose_for_orphan)

    async def propose(
        self,
        flow_run_id: str,
        state: states.State,
        *,
        fencing_token: int | None,
        force: bool = False,
        seq: int | None = None,
        known: runs.FlowRun | None = None,
        release: bool = False,
        rescheduled: bool = False,
        lease: Lease | None = None,
        retry: Retry | None = None,
    ) -> tuple[states.Verdict, runs.FlowRun]:
        """Propose a state; return the verdict and the run after it.

        Returns after the COMMIT. The arguments are those of :class:`Proposal`.

        Raises:
            NotFound: There is no such run.
            LeaseFenced: The token is not the newest of the run, or the lease is gone.
            Unavailable: Too many others changed the run at the same time.
        """
        return await self._carry_out(
            Proposal(
                flow_run_id=flow_run_id,
                state=state,
                fencing_token=fencing_token,
                force=force,
                seq=seq,
                known=known,
                release=release,
                rescheduled=rescheduled,
                lease=lease,
                retry=retry,
            )
        )

    async def end_what_is_left(self, run: runs.FlowRun) -> None:
        """End what is left of a run that was lost or cancelled: nobody else will."""
        left = orphans.leaves_task_runs(run, released=False)
        await self._orphans.follow(run, more_task_runs=left)

    async def _carry_out(self, proposal: Proposal) -> tuple[states.Verdict, runs.FlowRun]:
        situation = self._known(proposal)
        for _ in range(_ATTEMPTS_MAX):
            known = situation is not None
            if situation is None:
                situation = await self._storage.read(lambda tx: _read(tx, proposal))
            context = self._context(proposal, situation)
            decision = orchestrator.decide(context, situation.now)
            verdict = decisions.to_verdict(decision, current=context.current)
            match decision:
                case decisions.Accept(state) | decisions.Reject(state):
                    stays = state.id == context.current.id
                case decisions.Wait() | decisions.Abort():
                    state, stays = context.current, True
            if stays and known:
                pass  # Nothing would be compared with what is stored.
            elif stays:
                unchanged = await self._advance(proposal, situation.run)
                if unchanged is not None:
                    return verdict, unchanged
            else:
                saved = await self._save(proposal, context, state, situation)
                if saved is not None:
                    return dataclasses.replace(verdict, state=saved.state), saved
            situation = None  # It was not like that any more: look.
        raise errors.Unavailable(
            f"Flow run {proposal.flow_run_id} is being changed by many at once; try again."
        )

    def _known(self, proposal: Proposal) -> _Situation | None:
        """Spare the look at a run whose holder knows it: going on, and ending well.

        All that those depend on is guarded by the compare-and-set, so a run that has changed
        since is looked at then. A failure depends on the retry policy too, which may have been
        changed without a transition.
        """
        known = proposal.known
        if (
            known is None
            or proposal.fencing_token != known.fencing_token
            or proposal.state.type not in _SPARED
            or known.state.type not in _LIVE
        ):
            return None
        lease = Lease(
            flow_run_id=known.id,
            fencing_token=known.fencing_token,
            session_id="",
            accepted=True,
            offer_expire_time=None,
        )
        return _Situation(
            run=known, lease=lease, fired_pause_keys=frozenset(), now=self._clock.now()
        )

    def _context(self, proposal: Proposal, situation: _Situation) -> Context:
        return Context(
            run=situation.run,
            proposed=proposal.state,
            held=situation.lease is not None and situation.lease.accepted,
            by_holder=proposal.fencing_token is not None,
            forced=proposal.force,
            retry=proposal.retry,
            fired_pause_keys=situation.fired_pause_keys,
            new_id=self._new_id(),
            random=self._rng.random(),
        )

    async def _advance(self, proposal: Proposal, run: runs.FlowRun) -> runs.FlowRun | None:
        """Commit the number of a proposal that changed nothing; None if it lost a race."""
        seq = proposal.seq
        if seq is None or run.committed_seq >= seq:
            return run
        advanced = await self._storage.write(
            lambda tx: tx.flow_runs.advance(run.id, fencing_token=run.fencing_token, seq=seq)
        )
        return dataclasses.replace(run, committed_seq=seq) if advanced else None

    async def _save(
        self, proposal: Proposal, context: Context, state: states.State, situation: _Situation
    ) -> runs.FlowRun | None:
        """Write the transition; None if it lost a race."""
        before, now = situation.run, situation.now
        leased = situation.lease is not None
        effect = lease_effects.decide(context, state, leased=leased)
        fence = effect.fence or (proposal.release and leased and not context.by_holder)
        release = leased and (effect.release or proposal.release)
        after = transforms.apply(before, state, now)
        after = dataclasses.replace(
            after,
            fencing_token=before.fencing_token + fence,
            reschedule_count=before.reschedule_count + proposal.rescheduled,
            runner_name=None if release else before.runner_name,
        )
        # A proposal that comes again with a number that is committed already (its verdict was
        # lost) must not try to commit the number again.
        seq = proposal.seq if proposal.seq and proposal.seq > before.committed_seq else None

        def change(tx: Transaction) -> tuple[int, bool] | None:
            if state.type is StateType.CANCELLING and tx.leases.get(before.id) is None:
                # Its holder let it go meanwhile, with the run as it was: it is Cancelled at once,
                # for nobody is left to stop it.
                return None
            revision = tx.flow_runs.save(before, after, release=release, seq=seq)
            if revision is None:
                return None
            more = False
            if orphans.leaves_task_runs(after, released=release):
                more = self._orphans.end_some_task_runs(tx, after)
            return revision, more

        saved = await self._storage.write(change)
        if saved is None:
            return None
        revision, more = saved
        # Not in the same transaction: if we do not come to it, ``loops.leftovers`` does.
        await self._orphans.follow(after, more_task_runs=more, released=release)
        return dataclasses.replace(
            after, revision=revision, committed_seq=seq if seq else before.committed_seq
        )

    async def _propose_for_orphan(self, run: runs.FlowRun, state: states.State) -> None:
        force = state.type is not StateType.CANCELLING
        await self._carry_out(Proposal(flow_run_id=run.id, state=state, force=force))


def _read(tx: Transaction, proposal: Proposal) -> _Situation:
    run = tx.flow_runs.get(proposal.flow_run_id)
    if run is None:
        raise errors.NotFound("flow run", proposal.flow_run_id)
    token = proposal.fencing_token
    if token is not None and token != run.fencing_token:
        raise errors.LeaseFenced(run.id, token, run.fencing_token)
    lease = tx.leases.get(run.id)
    if proposal.lease is not None and proposal.lease != lease:
        raise errors.LeaseFenced(run.id, proposal.lease.fencing_token, run.fencing_token)
    fired: frozenset[str] = frozenset()
    if proposal.state.type is StateType.PAUSED and proposal.state.details.pause_key:
        keys = (state.details.pause_key for state in tx.flow_runs.states(run.id))
        fired = frozenset(key for key in keys if key)
    return _Situation(run=run, lease=lease, fired_pause_keys=fired, now=tx.now())
