"""Tells live streams what others decided about their runs: cancel, pause, resume, fenced.

Streams attach the runs that they hold. After each commit that touches an attached run, the hub
compares it with what the stream knows. Commits of this process bring their runs; those of other
replicas do not even name them always, so then the journal is followed.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Protocol

import anyio

from headgate.core import errors
from headgate.core.runs import FlowRun, RunKind
from headgate.core.states import State, StateType
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import Commit, JournalFilter

#: How long commits of other replicas are collected before the journal is read.
_FOLLOW_SECONDS = 0.1
_FOLLOW_LIMIT = 1_000
_RETRY_SECONDS = 1.0


class Listener(Protocol):
    """A stream that holds runs. The methods must not wait."""

    def cancel(self, flow_run: FlowRun) -> None:
        """The run is to be cancelled."""
        ...

    def pause(self, flow_run: FlowRun) -> None:
        """The run is to be paused."""
        ...

    def resume(self, flow_run: FlowRun) -> None:
        """Somebody resumed the run."""
        ...

    def fenced(self, flow_run: FlowRun, token: int) -> None:
        """The run is no longer the stream's; it is detached already."""
        ...


class News(enum.Enum):
    """What a stream is told about a run."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    FENCED = "fenced"


@dataclasses.dataclass(slots=True, kw_only=True)
class Attachment:
    """A run that a stream holds, and what the stream knows of it.

    Attributes:
        proposing: The id of the state that the stream proposes just now.
        revision: How new the news are that it was told; a read may come in late.
    """

    flow_run_id: str
    token: int
    listener: Listener
    state_id: str = ""
    state_type: StateType | None = None
    proposing: str = ""
    revision: int = 0

    def knows(self, state: State) -> None:
        """Note that the stream knows of a state."""
        self.state_id, self.state_type = state.id, state.type


def news_of(attachment: Attachment, flow_run: FlowRun) -> News | None:
    """Say what a stream must be told about a run as it is stored, and note that it knows."""
    state = flow_run.state
    if flow_run.fencing_token != attachment.token:
        return News.FENCED
    if state.id == attachment.state_id:
        return None
    was, proposing = attachment.state_type, attachment.proposing
    attachment.knows(state)
    if state.type is StateType.CANCELLING:
        return News.CANCEL
    if proposing and proposing in (state.id, state.details.transition_id):
        return None
    if state.type is StateType.PAUSED:
        return News.PAUSE
    if was is StateType.PAUSED and state.type in (StateType.SCHEDULED, StateType.RUNNING):
        return News.RESUME
    return None


class Hub:
    """Knows which stream of this process holds which runs."""

    def __init__(self, storage: Storage, notifier: Notifier) -> None:
        """Make it for a storage; ``run`` does the work."""
        self._storage = storage
        self._notifier = notifier
        self._attached: dict[str, list[Attachment]] = {}
        self._dirty: set[str] = set()
        self._follow = False
        self._wake = anyio.Event()
        self._revision = 0

    def attach(self, attachment: Attachment) -> None:
        """Begin to tell a stream about a run."""
        self._attached.setdefault(attachment.flow_run_id, []).append(attachment)

    def detach(self, attachment: Attachment) -> None:
        """Stop to tell a stream about a run; twice does no harm."""
        attached = self._attached.get(attachment.flow_run_id)
        if attached is None:
            return
        attached[:] = [other for other in attached if other is not attachment]
        if not attached:
            del self._attached[attachment.flow_run_id]

    @property
    def heard(self) -> int:
        """How far the journal has been heard of; ask before a run is read that is attached."""
        return max(self._revision, self._notifier.revision)

    def look_again_if_not(self, heard: int, flow_run_id: str) -> None:
        """Compare a run anew that was just attached, unless no more was heard since it was read."""
        if self.heard != heard:
            self._dirty.add(flow_run_id)
            self._wake.set()

    def look_again(self) -> None:
        """Compare all runs anew: after an outage, commits may have been missed."""
        self._dirty.update(self._attached)
        self._wake.set()

    async def run(self) -> None:
        """Tell streams about their runs until cancelled."""
        unlisten = self._notifier.listen(self._on_commit)
        try:
            self._revision = await self._newest()
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                await self._look()
        finally:
            unlisten()

    def _on_commit(self, commit: Commit) -> None:
        if commit.flow_run_ids:
            touched = commit.flow_run_ids & self._attached.keys()
            self._tell([commit.flow_runs[id] for id in touched & commit.flow_runs.keys()])
            if unread := touched - commit.flow_runs.keys():
                self._dirty |= unread
                self._wake.set()
        elif commit.revision > self._revision and self._storage.database == "postgresql":
            # Another replica's, or task runs only; there is no telling.
            self._follow = True
            self._wake.set()

    async def _look(self) -> None:
        dirty = set(self._dirty)
        try:
            if dirty:
                self._dirty -= dirty
                self._tell(await self._storage.read(lambda tx: _get_all(tx, dirty)))
            if self._follow:
                self._follow = False
                await anyio.sleep(_FOLLOW_SECONDS)
                await self._follow_journal()
        except errors.Unavailable:
            self._dirty |= dirty
            await anyio.sleep(_RETRY_SECONDS)
            self.look_again()

    async def _follow_journal(self) -> None:
        if not self._attached:
            self._revision = self._notifier.revision
            return
        where = JournalFilter(kind=RunKind.FLOW_RUN)
        more = True
        while more:
            newest, lines = await self._storage.read(
                lambda tx, after=self._revision: (
                    tx.journal.newest(),
                    tx.journal.read(after, where, _FOLLOW_LIMIT),
                )
            )
            more = len(lines) == _FOLLOW_LIMIT
            self._revision = lines[-1].revision if more else max(newest, self._revision)
            touched = {line.run_id for line in lines} & self._attached.keys()
            if touched:
                self._tell(await self._storage.read(lambda tx, ids=touched: _get_all(tx, ids)))

    def _tell(self, flow_runs: list[FlowRun]) -> None:
        for flow_run in flow_runs:
            for attachment in list(self._attached.get(flow_run.id, ())):
                self._tell_one(attachment, flow_run)

    def _tell_one(self, attachment: Attachment, flow_run: FlowRun) -> None:
        if flow_run.fencing_token < attachment.token or flow_run.revision < attachment.revision:
            return  # Read before the lease was granted, or before what was told last.
        attachment.revision = flow_run.revision
        listener = attachment.listener
        match news_of(attachment, flow_run):
            case News.FENCED:
                self.detach(attachment)
                listener.fenced(flow_run, attachment.token)
            case News.CANCEL:
                listener.cancel(flow_run)
            case News.PAUSE:
                listener.pause(flow_run)
            case News.RESUME:
                listener.resume(flow_run)
            case None:
                pass

    async def _newest(self) -> int:
        return await self._storage.read(lambda tx: tx.journal.newest())


def _get_all(tx: Transaction, flow_run_ids: set[str]) -> list[FlowRun]:
    found = (tx.flow_runs.get(flow_run_id) for flow_run_id in sorted(flow_run_ids))
    return [flow_run for flow_run in found if flow_run is not None]


__all__ = ["Attachment", "Hub", "Listener", "News", "news_of"]
