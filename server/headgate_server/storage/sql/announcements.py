"""What replicas tell each other after a commit: PostgreSQL's LISTEN and NOTIFY.

An announcement costs as much as a small commit, and most servers have no replica beside them. So
replicas also say that they are there, now and then, and who has heard of none for a while may keep
its smallest commits to itself.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from headgate_server.storage.records import ALL_TOPICS, Commit

CHANNEL = "headgate"

#: A connection on which a network swallows everything is given up after some 15 s, on our side
#: too; the system's own patience is a quarter of an hour, for one that is idle two hours.
IMPATIENCE: Mapping[str, Any] = {
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}

#: PostgreSQL takes 8,000 bytes in an announcement; what would not fit means all.
_TOPICS_BYTES_MAX = 7_500

#: The longest time until a stop is noticed when even the database cannot wake us.
_LOOK_SECONDS = 5.0
_RECONNECT_SECONDS_MAX = 5.0

_NEWEST = "SELECT journal FROM heads"

#: How long a replica counts as there after it was heard: three times what it takes it to say so.
_PRESENT_SECONDS = 15.0
#: How long those who are there may take to answer our first word.
_ANSWER_SECONDS = 2.0


def encode(commit: Commit, replica_id: str) -> str:
    """Return an announcement; which runs changed is left out, the journal tells."""
    topics = " ".join(sorted(commit.topics))
    if len(topics.encode()) > _TOPICS_BYTES_MAX:
        topics = ALL_TOPICS
    return (
        f"{replica_id} {commit.revision} {int(commit.ready)} {int(commit.logs)} {topics}".rstrip()
    )


def decode(text: str, replica_id: str) -> Commit | None:
    """Read an announcement; None if it is one of our own, or none at all: anybody may notify."""
    try:
        sender, revision, ready, logs, *topics = text.split(" ")
        commit = Commit(
            revision=int(revision), ready=ready == "1", logs=logs == "1", topics=frozenset(topics)
        )
    except ValueError:
        return None
    return None if sender == replica_id else commit


class Presence:
    """Whether another replica may be there. Who does not listen cannot know that there is none.

    Args:
        monotonic: Tells seconds that only grow.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        #: Who was heard, and until when they count as there.
        self._heard: dict[str, float] = {}
        self._until = math.inf

    @property
    def is_likely(self) -> bool:
        """Whether one was heard, or could have been."""
        return self._monotonic() < self._until

    def listen(self) -> None:
        """Note that from now on those who are there are heard."""
        # Who has heard of us before says so when it is due; others answer at once.
        patience = _PRESENT_SECONDS if self._heard else _ANSWER_SECONDS
        self._until = self._monotonic() + patience

    def lose(self) -> None:
        """Note that nobody can be heard any more."""
        self._until = math.inf

    def hear(self, replica_id: str) -> bool:
        """Note that one was heard; returns whether it is new to us, and so we may be to it."""
        now = self._monotonic()
        self._until = now + _PRESENT_SECONDS
        self._heard = {id: until for id, until in self._heard.items() if until > now}
        is_new = replica_id not in self._heard
        self._heard[replica_id] = self._until
        return is_new


class Announcements:
    """A thread that hears what other replicas committed; it reconnects by itself.

    Args:
        conninfo: How to connect.
        replica_id: Who we are.
        presence: Told of other replicas.
        on_commit: Called in the thread.
    """

    def __init__(
        self,
        conninfo: str,
        replica_id: str,
        presence: Presence,
        on_commit: Callable[[Commit], None],
    ) -> None:
        self._conninfo = conninfo
        self._replica_id = replica_id
        self._presence = presence
        self._on_commit = on_commit
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-listener", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. Blocks."""
        self._stopping.set()
        try:
            # Wakes the thread: it hears its own voice.
            with self._connect() as connection:
                connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        except psycopg.Error:
            pass  # without a database it looks by itself, a little later
        self._thread.join()

    def _run(self) -> None:
        wait = 0.1
        while not self._stopping.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._presence.listen()
                    # Announcements may have been missed before.
                    self._on_commit(self._anything(connection))
                    wait = 0.1
                    self._hear(connection)
            except psycopg.Error:
                self._presence.lose()
                # Jitter, so that replicas do not come back all at the same moment.
                self._stopping.wait(wait * random.uniform(0.5, 1.5))
                wait = min(wait * 2, _RECONNECT_SECONDS_MAX)

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopping.is_set():
            self._say_hello(connection)
            is_new = False
            for notice in connection.notifies(timeout=_LOOK_SECONDS):
                if self._stopping.is_set():
                    return
                commit = decode(notice.payload, self._replica_id) if notice.payload else None
                if commit is None:
                    continue
                is_new = self._presence.hear(notice.payload.partition(" ")[0])
                self._on_commit(commit)
                if is_new:
                    break  # it shall know of us at once, too
            if is_new:
                # What came together with its word is lost with the loop, and what it committed
                # before was not all announced.
                self._on_commit(self._anything(connection))
            elif self._presence.is_likely:
                # The net for small commits of one that did not know of us for a moment.
                self._on_commit(Commit(revision=self._newest(connection)))

    def _anything(self, connection: psycopg.Connection[Any]) -> Commit:
        """Return a commit that has everybody look who waits for one."""
        return Commit(
            revision=self._newest(connection),
            ready=True,
            logs=True,
            topics=frozenset({ALL_TOPICS}),
        )

    def _newest(self, connection: psycopg.Connection[Any]) -> int:
        newest = connection.execute(_NEWEST).fetchone()
        return newest[0] if newest else 0

    def _say_hello(self, connection: psycopg.Connection[Any]) -> None:
        hello = encode(Commit(), self._replica_id)
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, hello))

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=5,
            application_name="headgate-listener",
            **IMPATIENCE,
        )
