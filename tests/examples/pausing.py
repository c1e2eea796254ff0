"""Pausing: a flow waits for a person, who answers a typed question.

Run it: ``python pausing.py``, and answer from another terminal with the command that it prints.
"""

from __future__ import annotations

from headgate import flow, pause_flow_run, task
from headgate.input import RunInput
from headgate.runtime import flow_run


class Approval(RunInput):
    """What is asked for; the page shows it as a form, the server validates the answer."""

    approved: bool
    reason: str = ""


@task
def train() -> float:
    """Train a model, as we pretend; return its accuracy."""
    return 0.93


@flow(log_prints=True)
def release() -> str:
    """Train a model, and release it if somebody agrees."""
    accuracy = train()
    print(f"Answer me: headgate flow-run resume {flow_run.id} --input approved=true")
    answer = pause_flow_run(
        wait_for_input=Approval.with_initial_data(
            description=f"The accuracy is **{accuracy}**. Shall it go out?"
        ),
        timeout=600,
    )
    verdict = "released" if answer.approved else f"withheld: {answer.reason}"
    print(f"The model is {verdict}")
    return verdict


if __name__ == "__main__":
    release()
