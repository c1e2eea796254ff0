"""A flow that goes on while its server changes: run by hand, steered by files."""

from __future__ import annotations

import pathlib
import sys

from headgate import flow, task
from tests import processes


@task
def number(n: int) -> int:
    """Return its argument."""
    return n


@flow
def relayed(folder: str) -> int:
    """Call tasks until ``go`` is there, and some more; return how many."""
    here = pathlib.Path(folder)
    n = 0
    while not (here / "go").exists() or n < 1_000:
        number(n)
        n += 1
        if n == 100:
            (here / "started").touch()
        processes.pause(0.001)
    return n


if __name__ == "__main__":
    print("calls:", relayed(sys.argv[1]))
