"""Background tasks: a web handler hands work over, whoever serves the task does it.

Serve it: ``python background_tasks.py serve``. Hand work over: ``python background_tasks.py``
"""

from __future__ import annotations

import sys

from headgate import task
from headgate.task_worker import serve


@task(retries=2, log_prints=True)
def send_welcome(address: str) -> str:
    """Send a mail, as we pretend."""
    print(f"Welcome, {address}")
    return f"sent to {address}"


def handle_signup(address: str) -> str:
    """Do what a web handler does: hand over and answer at once."""
    future = send_welcome.delay(address)
    # A handler would return here; whoever wants to know waits.
    return future.result(timeout=60)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(send_welcome, limit=4)
    else:
        print(handle_signup("ada@example.com"))
