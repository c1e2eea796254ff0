"""What one flow run has to tell the server, in order, until the server has committed it.

An outbox stands between two sides. The *run* (any thread of the user's) puts items in and never
waits, save when the inbox is full. The *link* (its own thread) takes them out, numbers them by
taking, and drops them when they are acknowledged. Deques are the only thing they share: their
``append`` and ``popleft`` are atomic, and each side keeps to its end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from headgate.codec import session as frames
from headgate.core import errors, runs, states
from headgate.engine.recording import Answer

__all__ = [
    "BATCH_ITEMS_MAX",
    "INBOX_ITEMS_MAX",
    "NUMBER_MAX",
    "Batch",
    "Carrier",
    "LogLines",
    "Numbered",
    "Outbox",
]

T = TypeVar("T")

#: As the contract has it.
BATCH_ITEMS_MAX = 1_000
#: How many items may wait to be sent before the run has to wait itself.
INBOX_ITEMS_MAX = 10_000
#: No thing has a greater number.
NUMBER_MAX = 2**62
#: A batch of log lines ends early when it has this many characters.
LOG_BATCH_CHARACTERS_MAX = 1_000_000


class Numbered(Generic[T]):
    """Things that are sent in order and kept until they are committed.

    The number of a thing is its place: 1, 2, 3, ... from the first on. It gets it by being taken.
    """

    __slots__ = ("_in_flight", "committed", "inbox", "taken")

    def __init__(self) -> None:
        """Start with nothing."""
        self.inbox: deque[T] = deque()
        self._in_flight: deque[T] = deque()
        self.committed = 0
        self.taken = 0

    def take(self, limit: int) -> tuple[int, list[T]]:
        """Take at most so many, with the number of the first."""
        inbox, things = self.inbox, list[T]()
        for _ in range(min(limit, len(inbox))):
            # In flight before it leaves the inbox: who looks at both must never see neither.
            thing = inbox[0]
            self._in_flight.append(thing)
            inbox.popleft()
            things.append(thing)
        first = self.taken + 1
        self.taken += len(things)
        return first, things

    def commit(self, number: int) -> int:
        """Drop all up to a number; returns how many that were."""
        # A number beyond what was taken would be the server's mistake; never drop what was
        # not sent.
        count = max(0, min(number, self.taken) - self.committed)
        for _ in range(count):
            self._in_flight.popleft()
        self.committed += count
        return count

    def rewind(self, committed: int) -> None:
        """Go back to the first thing that is not committed: all after it is taken again."""
        if self.taken == 0 and self.committed == 0:
            # Nothing was ever sent from here: go on from where another process stopped.
            self.committed = self.taken = committed
            return
        self.commit(committed)
        self.inbox.extendleft(reversed(self._in_flight))
        self._in_flight.clear()
        self.taken = self.committed

    @property
    def is_settled(self) -> bool:
        """Whether all is committed."""
        return not self.inbox and not self._in_flight


class Carrier(Protocol):
    """The link, as runs and their outboxes know it."""

    def wake(self, outbox: Outbox, *, urgent: bool) -> None:
        """Send what an outbox has soon, or, when somebody waits, at once."""
        ...

    def create_run(self, flow_run_id: str) -> Outbox:
        """Return the outbox of a run that comes into being here."""
        ...

    def claim_run(self, flow_run_id: str) -> Outbox:
        """Return the outbox of a run that waits, and that is to execute here."""
        ...

    def close_run(self, outbox: Outbox) -> None:
        """Forget a run that has ended here, when all that it said is committed."""
        ...


class Batch(NamedTuple):
    """Items to send."""

    first_seq: int
    items: list[frames.Item]
    barrier: bool


class LogLines(NamedTuple):
    """Log lines to send."""

    first_seq: int
    records: list[runs.LogRecord]


#: Told about requests of the server's, on the link's thread: must be quick and never raise.
OnControl = Callable[[frames.Event], None]


class Outbox:
    """What one flow run has to tell the server; a ``Recorder``.

    Args:
        flow_run_id: The run.
        fencing_token: The token of its lease; 1 for a run that comes into being here.
        link: The link.
        created: Whether the run comes into being here; else it is to be opened first.
        claims: Whether this process wants a run that nobody has; the token is told then.
    """

    def __init__(
        self,
        flow_run_id: str,
        *,
        fencing_token: int,
        link: Carrier,
        created: bool,
        claims: bool = False,
    ) -> None:
        """Make an empty outbox."""
        self._claims = claims
        self.flow_run_id = flow_run_id
        self.fencing_token = fencing_token
        #: Whether items may be sent; the link's.
        self.is_open = created
        #: Whether it is in the link's line; set by the run, cleared by the link.
        self.queued = False
        #: Whether the run has ended here: nothing more is put in.
        self.is_closed = False
        self.failure: errors.HeadgateError | None = None
        self.opened: Future[frames.RunOpened] = Future()
        self.on_control: OnControl = _ignore
        self.link = link
        self._items: Numbered[frames.Item] = Numbered()
        self._logs: Numbered[runs.LogRecord] = Numbered()
        self._inbox = self._items.inbox
        self._answers: dict[str, Future[Answer]] = {}
        self._asked: dict[int, frames.Proposed] = {}
        self._flushes: deque[Future[None]] = deque()
        #: Who waits for the commit of an item, by the id of its state; then, by its number.
        self._commits: dict[str, Future[None]] = {}
        self._awaited: dict[int, Future[None]] = {}
        self._room = threading.Event()
        self._is_short_of_room = False
        self._detached = False

    # --- The run's side ---

    def record(self, item: frames.Item) -> None:
        """Take a fact; waits when ``INBOX_ITEMS_MAX`` items are waiting.

        Raises:
            HeadgateError: Nothing is taken any more; the same as ``failure``.
        """
        inbox = self._inbox
        if self.failure is not None:
            self._refuse(self.failure)
            return
        if len(inbox) >= INBOX_ITEMS_MAX:
            self._wait_for_room()
        inbox.append(item)
        if not self.queued:
            self.link.wake(self, urgent=False)

    def begin(self, item: frames.Item) -> None:
        """Take the first fact of a run, to be sent with what comes next: a proposal."""
        self._inbox.append(item)

    def commit(self, item: frames.Reported) -> Future[None]:
        """Take a fact and send it at once; the future is done when it is committed."""
        done: Future[None] = Future()
        # Known before the item is: the link may take it at once.
        self._commits[item.state_id] = done
        if self.failure is not None:
            self._give_up_commits(self.failure)
            return done
        self._inbox.append(item)
        self.link.wake(self, urgent=True)
        if self.failure is not None:
            self._give_up_commits(self.failure)  # it failed in between
        return done

    def propose(
        self, state: states.State, *, task_run_id: str = "", force: bool = False
    ) -> Future[Answer]:
        """Ask to enter a state; the future has the answer, or the failure."""
        answer: Future[Answer] = Future()
        self._answers[state.id] = answer
        if self.failure is not None:
            self._give_up_answers(self.failure)
            return answer
        self._inbox.append(frames.Proposed(task_run_id, state, force))
        self.link.wake(self, urgent=True)
        return answer

    def log(self, record: runs.LogRecord) -> None:
        """Take a log line; dropped when nothing is taken any more."""
        if self.failure is not None:
            return
        if len(self._logs.inbox) >= INBOX_ITEMS_MAX:
            self._wait_for_room()
        self._logs.inbox.append(record)
        if not self.queued:
            self.link.wake(self, urgent=False)

    def flush(self) -> Future[None]:
        """Return a future that is done when all that was taken is committed."""
        done: Future[None] = Future()
        if self.failure is not None or self.is_settled:
            done.set_result(None)
            return done
        self._flushes.append(done)
        if self.failure is not None or self.is_settled:
            _resolve(done)  # meanwhile, and nothing that comes may tell of it
        self.link.wake(self, urgent=True)
        return done

    def detach(self) -> None:
        """Take nothing any more, silently: this process is a fork of the one that records."""
        self._detached = True
        self.failure = errors.MissingContextError(
            "This process is a fork of the one that executes the flow run, and cannot record "
            "tasks for it; start flows of its own in it, or use threads."
        )

    def _refuse(self, failure: errors.HeadgateError) -> None:
        # In a fork of a recording process the user's tasks still run; they are not recorded.
        if not self._detached:
            raise failure

    def _wait_for_room(self) -> None:
        while self.failure is None:
            self._is_short_of_room = True
            self._room.clear()
            # Looked at again after clearing: the link may have made room in between.
            if len(self._inbox) < INBOX_ITEMS_MAX and len(self._logs.inbox) < INBOX_ITEMS_MAX:
                return
            self.link.wake(self, urgent=True)
            self._room.wait(1.0)
        self._refuse(self.failure)

    # --- The link's side ---

    @property
    def is_settled(self) -> bool:
        """Whether all that was taken is committed and answered."""
        return self._items.is_settled and self._logs.is_settled and not self._answers

    @property
    def has_items(self) -> bool:
        """Whether there are items to send."""
        return bool(self._items.inbox)

    @property
    def has_logs(self) -> bool:
        """Whether there are log lines to send."""
        return bool(self._logs.inbox)

    @property
    def cursor(self) -> frames.Cursor:
        """The run, and how far it has come."""
        return frames.Cursor(
            self.flow_run_id,
            self.fencing_token,
            self._items.committed + 1,
            self._logs.committed + 1,
            self._claims,
        )

    def accept_token(self, fencing_token: int) -> None:
        """Take note of the token of a lease that was claimed."""
        if self._claims:
            self.fencing_token, self._claims = fencing_token, False

    def take_items(self, limit: int) -> Batch | None:
        """Take the next items to send, at most so many."""
        first, items = self._items.take(min(limit, BATCH_ITEMS_MAX))
        if not items:
            return None
        barrier = bool(self._flushes or self._awaited)
        for number, item in enumerate(items, first):
            if type(item) is frames.Proposed:
                self._asked[number] = item
                barrier = True
            elif self._commits and type(item) is frames.Reported:
                done = self._commits.pop(item.state_id, None)
                if done is not None:
                    self._awaited[number] = done
                    barrier = True
        self._make_room()
        return Batch(first, items, barrier)

    def take_logs(self, limit: int) -> LogLines | None:
        """Take the next log lines to send, at most so many."""
        inbox, characters, count = self._logs.inbox, 0, 0
        for record in inbox.copy():
            if count >= min(limit, BATCH_ITEMS_MAX) or characters > LOG_BATCH_CHARACTERS_MAX:
                break
            characters += len(record.message)
            count += 1
        first, records = self._logs.take(count)
        if not records:
            return None
        self._make_room()
        return LogLines(first, records)

    def commit_items(self, seq: int) -> int:
        """Drop items that are committed; returns how many."""
        count = self._items.commit(seq)
        self._settle()
        self._tell_of_commits()
        return count

    def commit_logs(self, seq: int) -> int:
        """Drop log lines that are committed; returns how many."""
        count = self._logs.commit(seq)
        self._settle()
        return count

    def answer(self, answered: frames.Answered) -> int:
        """Pass an answer on; it commits the proposal, too. Returns how many items that drops."""
        proposal = self._asked.pop(answered.seq, None)
        if proposal is not None:
            future = self._answers.pop(proposal.state.id, None)
            if future is not None and not future.done():
                future.set_result(Answer(answered.verdict, answered.run_count))
        return self.commit_items(answered.seq)

    def resume(self, committed_seq: int, committed_log_seq: int) -> None:
        """Go on on a new stream: send all again that is not committed.

        A proposal that is committed and whose answer was lost is made again, at the end.
        """
        self._items.rewind(committed_seq)
        self._logs.rewind(committed_log_seq)
        lost = [item for number, item in sorted(self._asked.items()) if number <= committed_seq]
        self._asked.clear()
        self._inbox.extend(lost)
        self.is_open = True
        self._settle()
        self._tell_of_commits()

    def fail(self, error: errors.HeadgateError) -> None:
        """Take nothing any more, and let nobody wait."""
        self.failure = error
        self._give_up_answers(error)
        self._give_up_commits(error)
        while self._flushes:
            _resolve(self._flushes.popleft())
        if not self.opened.done():
            self.opened.set_exception(error)
        self._room.set()

    def _give_up_answers(self, error: errors.HeadgateError) -> None:
        while (future := _take_any(self._answers)) is not None:
            if not future.done():
                future.set_exception(error)

    def _tell_of_commits(self) -> None:
        if self._awaited:
            committed = self._items.committed
            # Numbers grow with the place in the dict, save after a break; all are looked at.
            for number in [number for number in self._awaited if number <= committed]:
                _resolve(self._awaited.pop(number))

    def _give_up_commits(self, error: errors.HeadgateError) -> None:
        for waiting in (self._commits, self._awaited):
            while (future := _take_any(waiting)) is not None:
                if self._detached:
                    _resolve(future)  # a fork records nothing, and its code goes on
                elif not future.done():
                    future.set_exception(error)

    def _make_room(self) -> None:
        if self._is_short_of_room and len(self._inbox) < INBOX_ITEMS_MAX // 2:
            self._is_short_of_room = False
            self._room.set()

    def _settle(self) -> None:
        if self._flushes and self.is_settled:
            while self._flushes:
                _resolve(self._flushes.popleft())


def _take_any(futures: dict[Any, Future[T]]) -> Future[T] | None:
    """Take one of those who wait. The run and the link may both do so, when it has failed."""
    try:
        return futures.popitem()[1]
    except KeyError:
        return None


def _resolve(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _ignore(event: frames.Event) -> None:
    """Do nothing."""
