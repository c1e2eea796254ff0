"""Testing one's own flows: a control plane per test, and an hour of retries in milliseconds.

Run it: ``pytest testing_flows.py``, or ``python testing_flows.py``
"""

from __future__ import annotations

from headgate import flow, task
from headgate.logging import disable_run_logger
from headgate.runtime import task_run
from headgate.testing import AdvancingClock, headgate_test_harness
from headgate.testing.utilities import assert_state_names


@task(retries=3, retry_delay_seconds=3600)
def unsteady() -> str:
    """Work the third time only."""
    if task_run.run_count < 3:
        raise ConnectionError("Not yet")
    return "done"


@flow
def nightly() -> str:
    """Wait up to three hours."""
    return unsteady()


def test_the_function_alone() -> None:
    """Call the undecorated function: no server, no run, no logger."""
    with disable_run_logger():
        assert nightly.fn.__doc__ == "Wait up to three hours."


def test_two_hours_of_waiting() -> None:
    """Move the clock instead of waiting."""
    with headgate_test_harness(clock=AdvancingClock()) as harness:
        assert nightly() == "done"
        run = harness.most_recent_flow_run()
        assert_state_names(harness, run.id, ["Pending", "Running", "Completed"])


if __name__ == "__main__":
    test_the_function_alone()
    test_two_hours_of_waiting()
    print("Both tests passed")
