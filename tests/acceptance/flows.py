"""Flows that the acceptance tests deploy or run: small, and steered by files.

A flow that shall be caught in the middle writes ``started`` into the folder it is given and goes
on when ``go`` appears there.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import threading

from headgate import flow, suspend_flow_run, task
from headgate.input import RunInput

_POLL = threading.Event()


def wait_for(path: pathlib.Path) -> None:
    """Return when the file is there."""
    while not path.exists():
        _POLL.wait(0.01)


@task
def number(n: int) -> int:
    """Return its argument: a task that costs nothing."""
    return n


@flow
def ten_thousand(folder: str, count: int = 10_000) -> int:
    """Call a trivial task many times; tell when a third is done."""
    here = pathlib.Path(folder)
    total = 0
    for n in range(count):
        total += number(n)
        if n == count // 3:
            (here / "started").touch()
    return total


@flow
def steered(folder: str) -> str:
    """Start, wait to be told, end."""
    here = pathlib.Path(folder)
    with (here / "attempts").open("a") as attempts:
        attempts.write(f"{os.getpid()}\n")
    number(1)
    (here / "started").touch()
    wait_for(here / "go")
    number(2)
    return "done"


@flow
def deaf(folder: str) -> str:
    """As ``steered``, but SIGTERM does not stop it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return steered.fn(folder)


class Approval(RunInput):
    """What ``suspends`` waits for."""

    approved: bool


@flow
def suspends(folder: str) -> str:
    """Suspend itself, and write down what it was told."""
    here = pathlib.Path(folder)
    with (here / "attempts").open("a") as attempts:
        attempts.write(f"{os.getpid()}\n")
    answer = suspend_flow_run(wait_for_input=Approval, timeout=60)
    assert answer is not None
    (here / "answer").write_text(str(answer.approved))
    return "done"


@flow
def quick(limit: int = 3) -> int:
    """Run a few tasks and end."""
    return sum(number(n) for n in range(limit))


@flow
def killed() -> None:
    """Kill its own process, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    name, folder = sys.argv[1:]
    print(globals()[name](folder))
