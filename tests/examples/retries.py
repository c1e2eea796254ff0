"""Retries: what fails is tried again, with growing delays, jitter, and a say in it.

Run it: ``python retries.py``
"""

from __future__ import annotations

from headgate import flow, task
from headgate.runtime import task_run
from headgate.tasks import exponential_backoff


class RateLimited(Exception):
    """The service asks us to come again."""


class NotAllowed(Exception):
    """The service will never answer this."""


def is_worth_it(task, run, state) -> bool:
    """Say whether trying again can help."""
    return not isinstance(state.result(raise_on_failure=False), NotAllowed)


@task(
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=0.01),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_worth_it,
)
def fetch(page: int) -> str:
    """Fetch a page from a service that is busy the first two times, and closed on page 13."""
    if page == 13:
        raise NotAllowed("Page 13 is not for us")
    if task_run.run_count < 3:
        raise RateLimited("Come again")
    return f"page {page}"


@flow(retries=1, log_prints=True)
def download() -> None:
    """Fetch two pages; one of them cannot be had, which is not worth a retry."""
    print(fetch(1))
    state = fetch(13, return_state=True)
    print(f"Page 13: {state.name} after {task_run_count(state)} attempt")


def task_run_count(state) -> int:
    """Ask the server how often the run of a state was tried."""
    from headgate import get_client

    with get_client(sync_client=True) as client:
        return client.read_task_run(state.task_run_id).run_count


if __name__ == "__main__":
    download()
