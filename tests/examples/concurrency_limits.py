"""Concurrency limits: many tasks, few at once, wherever they run.

Run it: ``python concurrency_limits.py``
"""

from __future__ import annotations

import contextlib
import threading

from headgate import flow, get_client, task
from headgate.concurrency.sync import concurrency, rate_limit
from headgate.exceptions import AlreadyExists

lock = threading.Lock()
inside = most = 0


@task
def query(number: int) -> int:
    """Ask a database that bears two queries at once, and fifty a second."""
    global inside, most
    rate_limit("queries")
    with concurrency("database", occupy=1):
        with lock:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.01)
        with lock:
            inside -= 1
    return number


@flow(log_prints=True)
def load() -> None:
    """Run eight queries."""
    query.map(range(8)).wait()
    print(f"At most {most} queries at once")


def set_limits() -> None:
    """Make the limits, as ``headgate gcl create database --limit 2`` does."""
    with get_client(sync_client=True) as client:
        for name, limit, decay in (("database", 2, 0.0), ("queries", 10, 50.0)):
            with contextlib.suppress(AlreadyExists):
                client.create_global_concurrency_limit(name, limit, slot_decay_per_second=decay)


if __name__ == "__main__":
    set_limits()
    load()
