"""The arithmetic of leases that runner and server share; see ``lease_service.proto``.

Both sides count on their own clocks, and the runner must come first: it stops its runs before
the server may give them to somebody else. So the runner takes a margin off, counted from the
moment its last acknowledged beat was *sent*, and the server adds one, counted from the moment
that beat *arrived*. No clock is compared with another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

#: How far beat intervals are spread, so that a thousand runners do not beat as one.
BEAT_JITTER = 0.2


def digest(held: Iterable[tuple[str, int]]) -> int:
    """Return the ``held_digest`` of a heartbeat: the same for the same set, in any order.

    Args:
        held: Flow run id and fencing token of each lease.
    """
    result = 0
    for flow_run_id, token in held:
        text = f"{flow_run_id}:{token}".encode("ascii")
        result ^= int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    return result


def fence_at(beat_sent: float, *, ttl_seconds: float, margin_seconds: float) -> float:
    """Say when a runner stops its runs unless a later beat is acknowledged.

    Args:
        beat_sent: When the last acknowledged beat was sent, on the runner's monotonic clock.
        ttl_seconds: How long leases live, as the acknowledgement said.
        margin_seconds: How much earlier the runner stops; at most half of the ttl is used.
    """
    return beat_sent + ttl_seconds - min(margin_seconds, ttl_seconds / 2)


def next_beat_in(interval_seconds: float, *, random: float) -> float:
    """Say after how many seconds to beat again.

    Args:
        interval_seconds: The interval that the server asked for.
        random: A number from 0 to 1, drawn for this beat.
    """
    return interval_seconds * (1.0 + BEAT_JITTER * (2.0 * random - 1.0))


__all__ = ["BEAT_JITTER", "digest", "fence_at", "next_beat_in"]
