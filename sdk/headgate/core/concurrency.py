"""Concurrency limits, and the leases on their slots, as records."""

from __future__ import annotations

import enum
from datetime import datetime

from headgate.core import familiar
from headgate.core.record import record

#: What the names of the limits of tags begin with: ``tag:database`` limits the tasks with the
#: tag ``database``.
TAG_PREFIX = "tag:"

LEASE_SECONDS_DEFAULT = 300.0
LEASE_SECONDS_MIN = 1.0
LEASE_SECONDS_MAX = 86_400.0
#: How long the server waits within one call.
WAIT_SECONDS_MAX = 30.0
#: How many limits one request may name.
NAMES_MAX = 100


class SlotMode(enum.StrEnum):
    """How slots come back."""

    #: When the lease ends.
    CONCURRENCY = "CONCURRENCY"
    #: By themselves, so many per second.
    RATE_LIMIT = "RATE_LIMIT"


@record
class ConcurrencyLimit(familiar.Updated):
    """How many of something may be used at once.

    Attributes:
        id: UUID text.
        name: Unique; ``tag:X`` limits the tasks with the tag X.
        limit: How many slots there are.
        active: Whether it limits.
        slot_decay_per_second: How many slots become free per second after a rate limit took
            them; 0: it cannot be used as a rate limit.
        active_slots: How many slots are in use now.
        waiting: How many requests wait for slots now.
        create_time: When it was made.
        update_time: When it last changed.
    """

    id: str
    name: str
    limit: int
    active: bool = True
    slot_decay_per_second: float = 0.0
    active_slots: int = 0
    waiting: int = 0
    create_time: datetime
    update_time: datetime

    @property
    def tag(self) -> str:
        """The tag whose limit it is; empty: it is that of none."""
        return self.name.removeprefix(TAG_PREFIX) if self.name.startswith(TAG_PREFIX) else ""

    @property
    def concurrency_limit(self) -> int:
        """The same as ``limit``."""
        return self.limit


@record
class SlotHolder:
    """Who holds slots.

    Attributes:
        type: ``flow_run``, ``task_run``, ``process``, or any other word.
        id: UUID text for runs, else any text.
        flow_run_id: The flow run in whose process it is; empty: it is in none.
    """

    type: str = ""
    id: str = ""
    flow_run_id: str = ""


NO_HOLDER = SlotHolder()


@record
class SlotLease:
    """The right to use slots of some limits until a time.

    Attributes:
        id: UUID text.
        concurrency_limit_names: The limits.
        slots: How many slots of each.
        holder: Who has it.
        acquire_time: When it was granted; where it waits, when it began to.
        expire_time: When it ends unless it is renewed; where it waits, until when it is in line.
        lease_seconds: How long it lives without being renewed.
        waiting: Whether it only waits in line.
    """

    id: str
    concurrency_limit_names: tuple[str, ...]
    slots: int
    holder: SlotHolder = NO_HOLDER
    acquire_time: datetime
    expire_time: datetime
    lease_seconds: float = LEASE_SECONDS_DEFAULT
    waiting: bool = False


@record
class SlotRequest:
    """A wish for slots.

    Attributes:
        id: UUID text; the id of the lease that it becomes.
        names: The limits.
        slots: How many slots of each.
        mode: Whether leases or decay give the slots back.
        lease_seconds: How long the lease lives without being renewed.
        wait_seconds: How long to wait for slots.
        strict: Whether a limit that does not exist is an error.
        holder: Who will hold the slots.
    """

    id: str
    names: tuple[str, ...]
    slots: int = 1
    mode: SlotMode = SlotMode.CONCURRENCY
    lease_seconds: float = LEASE_SECONDS_DEFAULT
    wait_seconds: float = 0.0
    strict: bool = False
    holder: SlotHolder = NO_HOLDER


@record
class SlotAnswer:
    """What came of a request.

    Attributes:
        acquired: Whether the slots were given; if not, the request waits in line.
        lease: The lease, where there is one to renew and to release.
        missing_names: The limits that do not exist.
    """

    acquired: bool
    lease: SlotLease | None = None
    missing_names: tuple[str, ...] = ()


__all__ = [
    "LEASE_SECONDS_DEFAULT",
    "LEASE_SECONDS_MAX",
    "LEASE_SECONDS_MIN",
    "NAMES_MAX",
    "NO_HOLDER",
    "TAG_PREFIX",
    "WAIT_SECONDS_MAX",
    "ConcurrencyLimit",
    "SlotAnswer",
    "SlotHolder",
    "SlotLease",
    "SlotMode",
    "SlotRequest",
]
