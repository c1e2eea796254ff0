"""Flows that are killed while they run; the environment says where.

LINES        the file to which each step appends its number
DIE_WITHIN   the step that is killed after it has appended its line
DIE_BEHIND   the step right behind which the flow is killed
DIE_ONCE     a folder: each step that is not noted in it is killed, and noted
"""

from __future__ import annotations

import os
import pathlib
import signal

from headgate import flow, task


def die() -> None:
    """End as the machine's power does."""
    os.kill(os.getpid(), signal.SIGKILL)


def append(line: str) -> None:
    """Write a line, in one go."""
    descriptor = os.open(os.environ["LINES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def is_first_time(mark: str) -> bool:
    """Say whether this is the first time that it is asked for."""
    folder = os.environ.get("DIE_ONCE")
    if folder is None:
        return False
    place = pathlib.Path(folder) / mark
    if place.exists():
        return False
    place.touch()
    return True


@task
def step(number: int) -> int:
    """Append a line, and perhaps die."""
    append(str(number))
    if os.environ.get("DIE_WITHIN") == str(number) or is_first_time(f"step-{number}"):
        die()
    return number


def call_all(count: int) -> int:
    """Call the steps one after the other."""
    total = 0
    for number in range(count):
        total += step(number)
        if os.environ.get("DIE_BEHIND") == str(number):
            die()
    return total


@flow(durable=True)
def durable(count: int = 50) -> int:
    """Go on where it was."""
    return call_all(count)


@flow
def fragile(count: int = 50) -> int:
    """Start over."""
    return call_all(count)


@flow(durable=True)
def inner(first: int, count: int) -> int:
    """Call some steps, as a subflow."""
    return sum(step(number) for number in range(first, first + count))


@flow(durable=True)
def nested(groups: int = 3, size: int = 2) -> int:
    """Call subflows."""
    return sum(inner(group * size, size) for group in range(groups))


if __name__ == "__main__":
    import sys

    globals()[sys.argv[1]]()
