"""Values that cannot be sent or kept, and user code that fails around a run, with a server."""

import asyncio
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, datetime
from typing import Any

import pytest

from headgate import flow, flow_runs, get_client, states, task
from headgate.artifacts import create_markdown_artifact
from headgate.core import errors
from headgate.deployments import run_deployment
from headgate.events import emit_event
from headgate.input import receive_input, send_input
from headgate.variables import Variable

pytestmark = pytest.mark.usefixtures("server")

LOCK: Any = threading.Lock()
NOWHERE = "00000000-0000-7000-8000-000000000001"


@flow
def etl(x: int = 1) -> int:
    return x


@task
def load(x: Any = 1) -> Any:
    return x


def ask_for(**parameters: Any) -> Any:
    etl.to_deployment("nightly").apply()
    return run_deployment("etl/nightly", parameters=parameters, timeout=0)


def untyped(called: Any) -> Any:
    """Say to type checkers that anything may be given."""
    return called


CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a variable": (
        lambda: Variable.set("x", LOCK),
        errors.InvalidArgument,
        "value of variable 'x' is nothing that JSON has .* set texts, numbers",
    ),
    "the name of a variable": (
        lambda: Variable.set("X Y", 1),
        errors.InvalidArgument,
        "variable.name: A name has 1 to 255 lower-case",
    ),
    "an artifact": (
        lambda: untyped(create_markdown_artifact)(LOCK),
        errors.InvalidArgument,
        "markdown: is .*lock.*; use a text",
    ),
    "an event": (
        lambda: emit_event("e", {"headgate.resource.id": "r"}, payload={"a": LOCK}),
        errors.InvalidArgument,
        "payload: .*lock is no JSON type.*; give dictionaries",
    ),
    "an input": (
        lambda: send_input(LOCK, NOWHERE),
        errors.ParameterTypeError,
        "cannot be sent as an input: it has no JSON form; send plain values",
    ),
    "an input for a run that is not there": (
        lambda: send_input(1, NOWHERE),
        errors.NotFound,
        "There is no flow run",
    ),
    "an input outside of a run": (
        lambda: receive_input(int, timeout=0).next(),
        errors.MissingContextError,
        "no flow run here .* name one by flow_run_id",
    ),
    "a parameter": (
        lambda: ask_for(x=LOCK),
        errors.ParameterTypeError,
        "Parameter 'x' cannot be sent: a lock has no JSON form",
    ),
    "a parameter's type": (
        lambda: ask_for(x="abc"),
        errors.InvalidArgument,
        "parameters.'x'.: 'abc' is not of type 'integer'",
    ),
    "a background task": (
        lambda: load.delay(LOCK),
        errors.SerializationError,
        "Argument 'x' of task 'load' cannot be sent to another process: .*within the task\\.$",
    ),
    "an id": (lambda: flow_runs.resume_flow_run("nope"), errors.InvalidArgument, "'nope' is not"),
    "a deployment": (lambda: run_deployment("ab"), errors.InvalidArgument, "flow/deployment"),
    "parameters of a flow": (
        lambda: untyped(etl)("a"),
        errors.ParameterTypeError,
        "x: Input should be a valid integer",
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_what_cannot_be_sent_is_named_with_the_reason_and_what_can(name: str):
    call, kind, said = CASES[name]
    assert issubclass(kind, errors.HeadgateError)
    with pytest.raises(kind, match=said):
        call()


# --- Code of the user's around a run ------------------------------------------------------------


def boom(*_: Any, **_more: Any) -> Any:
    raise KeyError("boom")


def fails() -> None:
    raise ValueError("broken")


async def afails() -> None:
    raise ValueError("broken")


def yields() -> Generator[int]:
    yield 1
    raise ValueError("broken")


async def ayields() -> AsyncGenerator[int]:
    yield 1
    raise ValueError("broken")


async def taken(items: Any) -> None:
    async for _ in items:
        pass


HOOKED: dict[str, Callable[[], Any]] = {
    "a flow": lambda: flow(on_failure=[boom])(fails)(),
    "a task": lambda: task(on_failure=[boom])(fails)(),
    "an async flow": lambda: asyncio.run(flow(on_failure=[boom])(afails)()),
    "an async task": lambda: asyncio.run(task(on_failure=[boom])(afails)()),
    "a generator": lambda: list(flow(on_failure=[boom])(yields)()),
    "an async generator": lambda: asyncio.run(taken(flow(on_failure=[boom])(ayields)())),
}


@pytest.mark.parametrize("name", list(HOOKED))
def test_a_hook_that_fails_is_not_shown_as_what_led_to_the_failure(name: str):
    with pytest.raises(ValueError, match="broken") as caught:
        HOOKED[name]()
    shown = "".join(traceback.format_exception(caught.value))
    assert "KeyError" not in shown
    assert caught.value.__context__ is None
    assert "sdk/headgate/" not in shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: task(retries=1, retry_delay_seconds=boom)(fails),
        lambda: flow(retries=1, retry_delay_seconds=boom)(fails),
        lambda: task(task_run_name=boom)(fails)(),
        lambda: flow(flow_run_name=boom)(fails)(),
    ],
    ids=["delay of a task", "delay of a flow", "name of a task run", "name of a flow run"],
)
def test_an_option_that_is_a_function_and_fails_is_shown_without_a_frame_of_ours(
    make: Callable[[], Any],
):
    with pytest.raises(KeyError, match="boom") as caught:
        make()
    assert "sdk/headgate/" not in "".join(traceback.format_exception(caught.value))


# --- Calls of clients ---------------------------------------------------------------------------


async def areads() -> None:
    async with get_client() as client:
        await client.read_flow(NOWHERE)


def reads() -> None:
    with get_client(sync_client=True) as client:
        client.read_flow(NOWHERE)


@pytest.mark.parametrize("read", [reads, lambda: asyncio.run(areads())], ids=["sync", "async"])
def test_what_a_server_answers_is_shown_at_the_line_of_the_call(read: Callable[[], Any]):
    with pytest.raises(errors.NotFound, match=f"There is no flow '{NOWHERE}'") as caught:
        read()
    shown = "".join(traceback.format_exception(caught.value))
    assert "client.read_flow(NOWHERE)" in shown
    assert "sdk/headgate/" not in shown


@flow
def pauses_at(time: Any) -> Any:
    return states.Paused(pause_expiration_time=time)


def test_a_time_without_a_zone_does_not_end_the_link():
    naive = datetime(2030, 1, 2)  # noqa: DTZ001  # that is the point
    paused = pauses_at(naive, return_state=True)
    assert paused.details.pause_expire_time == naive.replace(tzinfo=UTC)
    wrong = pauses_at("soon", return_state=True)
    assert "pause_expiration_time is 'soon'" in wrong.message
    assert load(5) == 5


def test_a_task_that_is_called_outside_of_flows_is_called_a_task():
    with pytest.raises(errors.ParameterBindError, match="The call does not fit task load"):
        untyped(load)(1, 2)
