"""A client that answers from lists and remembers what it was asked."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click.testing
import pytest

from headgate.cli import main
from headgate.cli.app import App
from headgate.core import clock, deployments, errors, runs, states

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
RUN_ID = "01980000-0000-7000-8000-000000000001"


def a_state(kind: states.StateType = states.StateType.RUNNING, **options: Any) -> states.State:
    return states.new_state(kind, id=RUN_ID.replace("1", "2"), now=NOW, **options)


def a_run(**changes: Any) -> runs.FlowRun:
    run = runs.FlowRun(
        id=RUN_ID,
        name="brave-otter",
        flow_id="f",
        flow_name="etl",
        root_flow_run_id=RUN_ID,
        state=a_state(),
        parameters={"limit": "3", "who": '"you"'},
        create_time=NOW,
        revision=7,
    )
    return dataclasses.replace(run, **changes)


def a_transition(type: states.StateType, revision: int, **changes: Any) -> runs.TransitionRecord:
    record = runs.TransitionRecord(
        revision=revision,
        kind=runs.RunKind.FLOW_RUN,
        run_id=RUN_ID,
        run_name="brave-otter",
        flow_run_id=RUN_ID,
        root_flow_run_id=RUN_ID,
        deployment_id=None,
        state=a_state(type),
        commit_time=NOW,
    )
    return dataclasses.replace(record, **changes)


def a_deployment(**changes: Any) -> deployments.Deployment:
    deployment = deployments.Deployment(
        id="d",
        name="daily",
        flow_id="f",
        flow_name="etl",
        parameters={"limit": "3"},
        schedules=(
            deployments.Schedule(
                id="s", slug="morning", rule=deployments.CronRule(expression="0 6 * * *")
            ),
        ),
        create_time=NOW,
        update_time=NOW,
        etag="1",
    )
    return dataclasses.replace(deployment, **changes)


def a_pool(**changes: Any) -> deployments.WorkPool:
    pool = deployments.WorkPool(id="p", name="default", create_time=NOW, update_time=NOW)
    return dataclasses.replace(pool, **changes)


class FakeClient:
    """Answers every call with what ``answers`` has under its name; an error is raised."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append((name, arguments, options))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def asked(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the last call of this name."""
        return next((a, o) for called, a, o in reversed(self.calls) if called == name)


@dataclasses.dataclass
class Command:
    """The ``headgate`` command over a fake client; ``remarks``: its last standard error."""

    client: FakeClient
    remarks: str = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run it; return what it wrote to standard output, or to standard error if it failed."""

        @contextlib.contextmanager
        def open_client() -> Iterator[Any]:
            yield self.client

        app = App(client=open_client, clock=clock.ManualClock(NOW))
        done = click.testing.CliRunner().invoke(main.cli, arguments, obj=app)
        if isinstance(done.exception, errors.HeadgateError):
            raise done.exception
        assert done.exit_code == code, done.output
        self.remarks = done.stderr
        return done.stderr if code else done.stdout


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def headgate(client: FakeClient) -> Command:
    return Command(client)
