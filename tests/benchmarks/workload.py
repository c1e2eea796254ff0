"""What the benchmarks run in a process of its own: a user's program, timed from inside."""

from __future__ import annotations

import sys
import time

from headgate import flow, task


@task
def trivial(n: int) -> int:
    """Do nothing: what remains is our overhead."""
    return n


@flow
def many_tasks(count: int) -> None:
    """Call a trivial task many times."""
    for n in range(count):
        trivial(n)


@flow(durable=True)
def many_steps(count: int) -> None:
    """Call a trivial task many times; each is committed before the next one begins."""
    for n in range(count):
        trivial(n)


@flow
def nothing() -> None:
    """Do nothing."""


def main() -> None:
    """Time ``many_tasks``, ``many_steps`` or ``nothing``; print operations per second."""
    what, count = sys.argv[1], int(sys.argv[2])
    nothing()  # The connection, the first imports: not what is measured.
    many_tasks(50)
    started = time.perf_counter()
    if what == "tasks":
        many_tasks(count)
    elif what == "steps":
        many_steps(count)
    else:
        for _ in range(count):
            nothing()
    print(count / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
