"""What users of the incumbent import from where they know it, and what it does here."""

from __future__ import annotations

import asyncio
import importlib
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any, Union

import pytest
from pydantic import SecretStr

from headgate import states
from headgate.blocks.core import Block
from headgate.blocks.system import Secret
from headgate.core import errors
from headgate.schedules import Cron, Interval, RRule
from headgate.states import StateType

NAMES = {
    "headgate.blocks.fields": ["SecretDict"],
    "headgate.client.schemas.actions": ["GlobalConcurrencyLimitCreate", "VariableCreate"],
    "headgate.client.schemas.objects": ["FlowRun", "Log", "StateType", "TERMINAL_STATES"],
    "headgate.client.schemas.responses": ["DeploymentResponse", "SetStateStatus"],
    "headgate.client.schemas.schedules": ["CronSchedule", "construct_schedule"],
    "headgate.client.utilities": ["inject_client"],
    "headgate.context": ["TagsContext", "use_profile"],
    "headgate.deployments.flow_runs": ["arun_deployment", "run_deployment"],
    "headgate.deployments.runner": ["RunnerDeployment", "deploy"],
    "headgate.events": ["emit_event"],
    "headgate.events.clients": ["AssertingEventsClient", "get_events_subscriber"],
    "headgate.events.filters": ["EventIDFilter", "EventOrder"],
    "headgate.events.schemas.events": ["Event", "ReceivedEvent", "Resource"],
    "headgate.events.utilities": ["emit_event"],
    "headgate.flow_engine": ["run_flow"],
    "headgate.flows": ["aserve", "serve"],
    "headgate.input.run_input": ["RunInput", "areceive_input", "receive_input", "send_input"],
    "headgate.logging": ["LogEavesdropper"],
    "headgate.logging.configuration": ["setup_logging"],
    "headgate.logging.formatters": ["HeadgateFormatter", "JsonFormatter"],
    "headgate.logging.handlers": ["APILogHandler", "HeadgateConsoleHandler"],
    "headgate.logging.loggers": ["disable_logger", "patch_print"],
    "headgate.main": ["flow", "get_client", "task", "unmapped"],
    "headgate.parameters": ["ParameterSchema"],
    "headgate.runner.runner": ["Runner"],
    "headgate.runner.storage": ["GitCredentials"],
    "headgate.states": ["AwaitingConcurrencySlot", "is_state", "return_value_to_state"],
    "headgate.task_engine": ["run_task", "run_task_async", "run_task_sync"],
    "headgate.types.entrypoint": ["EntrypointType"],
    "headgate.utilities.annotations": ["NotSet", "Quote"],
    "headgate.utilities.asyncutils": ["run_coro_as_sync", "sync_compatible"],
    "headgate.utilities.hashing": ["file_hash", "hash_objects"],
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_found_where_users_know_them(module: str):
    found = importlib.import_module(module)
    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


# States


@pytest.mark.parametrize(
    ("value", "type", "name", "message"),
    [
        (3, StateType.COMPLETED, "Completed", ""),
        (ValueError("a value as any other"), StateType.COMPLETED, "Completed", ""),
        (states.Completed(name="Skipped"), StateType.COMPLETED, "Skipped", ""),
        ([states.Completed(), states.Failed()], StateType.FAILED, "Failed", "1/2 states failed."),
    ],
)
async def test_a_returned_value_becomes_a_state(
    value: Any, type: StateType, name: str, message: str
):
    from headgate.results import ResultStore

    made = await states.return_value_to_state(value, ResultStore())
    assert (made.type, made.name, made.message) == (type, name, message)
    assert states.is_state(made)
    assert not states.is_state(value) or value is made


async def test_a_returned_value_is_kept_where_that_is_wanted(tmp_path: Path):
    from headgate.results import ResultStore

    store = ResultStore(result_storage=tmp_path)
    await states.return_value_to_state({"a": 1}, store, key="mine", write_result=True)
    assert store.read("mine").result == {"a": 1}


async def test_an_exception_becomes_a_failed_state():
    given = await states.exception_to_failed_state(ValueError("bad"), message="While adding:")
    assert given.message == "While adding: ValueError: bad"
    with pytest.raises(errors.UsageError):
        await states.exception_to_failed_state()
    raised = KeyError("k")
    try:
        raise raised
    except KeyError:
        handled = await states.exception_to_failed_state()
    assert (handled.data, handled.message) == (raised, "KeyError: 'k'")


async def test_what_tears_a_run_down_becomes_a_crashed_state():
    made = await states.exception_to_crashed_state(KeyboardInterrupt())
    assert made.type is StateType.CRASHED
    assert made.message == "Execution was aborted by an interrupt signal."
    assert states.format_exception(ValueError("x")).strip() == "ValueError: x"


# Coroutines and threads


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    raise LookupError("lost")


def test_a_coroutine_is_run_where_no_loop_runs_and_where_one_does():
    from headgate.utilities.asyncutils import run_coro_as_sync

    async def within() -> int | None:
        return run_coro_as_sync(double(2))

    assert run_coro_as_sync(double(1)) == 2
    assert run_coro_as_sync(double(1), force_new_thread=True) == 2
    assert asyncio.run(within()) == 4
    with pytest.raises(LookupError, match="lost"):
        run_coro_as_sync(fail(), force_new_thread=True)


def test_a_sync_compatible_function_blocks_or_is_awaited():
    from headgate.utilities.asyncutils import is_async_fn, sync_compatible

    either = sync_compatible(double)

    async def awaits() -> tuple[int, int]:
        return await either(3), either(4, _sync=True)

    assert either(2) == 4
    assert asyncio.run(awaits()) == (6, 8)
    assert is_async_fn(double)


async def test_functions_are_run_in_threads_and_at_once():
    from headgate.utilities import asyncutils

    assert await asyncutils.run_sync_in_worker_thread(sum, [1, 2]) == 3
    calls = [lambda number=number: double(number) for number in range(3)]
    assert await asyncutils.gather(*calls) == [0, 2, 4]
    with pytest.raises(LookupError):
        await asyncutils.gather(fail, lambda: double(1))
    async with asyncutils.asyncnullcontext(5) as value:
        assert value == 5


# Blocks, schedules, loggers, files


class Inner(Block):
    word: SecretStr = SecretStr("sesame")
    number: int = 1


def test_secrets_of_a_block_are_shown_to_who_asks_for_them():
    assert "sesame" not in str(Inner().model_dump())
    assert Inner().model_dump(context={"include_secrets": False})["word"] != "sesame"
    shown = Inner().model_dump(context={"include_secrets": True})
    assert (shown["word"], shown["number"]) == ("sesame", 1)
    assert (
        Secret(value=SecretStr("s")).model_dump(context={"include_secrets": True})["value"] == "s"
    )


def test_annotations_that_mean_blocks_are_known():
    assert Block.annotation_refers_to_block_class(Inner)
    assert Block.annotation_refers_to_block_class(Union[Inner, None])  # noqa: UP007  # as users write it
    assert not Block.annotation_refers_to_block_class(int)


def test_schedules_tell_what_they_were_made_of():
    from headgate.client.schemas.schedules import construct_schedule

    cron = Cron("0 6 * * *", timezone="Europe/Berlin", day_or=False)
    assert (cron.cron, cron.timezone, cron.day_or, cron.interval) == (
        "0 6 * * *",
        "Europe/Berlin",
        False,
        None,
    )
    every = Interval(60)
    assert every.interval == timedelta(minutes=1)
    assert every.anchor_date is not None
    assert RRule("FREQ=DAILY").rrule == "FREQ=DAILY"
    assert construct_schedule(interval=60).interval == timedelta(minutes=1)
    with pytest.raises(errors.InvalidArgument, match="one of interval, cron and rrule"):
        construct_schedule()


def test_a_logger_is_silent_for_a_while(caplog: pytest.LogCaptureFixture):
    from headgate.logging.loggers import disable_logger

    logger = logging.getLogger("familiar")
    with disable_logger("familiar"):
        logger.warning("unheard")
    logger.warning("heard")
    assert caplog.messages == ["heard"]


def test_a_file_has_a_hash(tmp_path: Path):
    from headgate.utilities.hashing import file_hash

    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"y")
    assert file_hash(tmp_path / "a") == file_hash(str(tmp_path / "a")) != file_hash(tmp_path / "b")


def test_tags_of_here_are_told():
    from headgate.context import TagsContext, tags

    with tags("a", "b"):
        assert TagsContext.get().current_tags == {"a", "b"}
    assert TagsContext.get().current_tags == set()


def test_a_deployment_is_not_named_like_a_path():
    from headgate.deployments.runner import RunnerDeployment

    with pytest.raises(errors.OptionValueError, match="'a/b'"):
        RunnerDeployment(name="a/b", flow_name="f", entrypoint="x.py:f")


def test_bad_values_are_value_errors_too():
    assert issubclass(errors.InvalidArgument, ValueError)
    assert issubclass(errors.AlreadyExists, ValueError)


def test_the_schema_of_parameters_is_dumped_with_all_its_parts():
    from headgate import flow

    @flow
    def adds(a: int, b: str = "x") -> None: ...

    schema = adds.parameters
    assert (schema.required, schema.properties["b"]["default"]) == (["a"], "x")
    assert schema["properties"]["a"]["position"] == 0
    assert set(schema.model_dump()) >= {"title", "type", "properties", "required", "definitions"}
