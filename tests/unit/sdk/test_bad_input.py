"""Bad input, one table: what is called, the error that it gets, and the words that must be in it.

All of these are found out before anything is sent; ``tests/integration/sdk/test_bad_input.py`` has
those that need a server or a process.
"""

import asyncio
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

import headgate
from headgate import (
    artifacts,
    cache_policies,
    context,
    flow,
    flow_runs,
    futures,
    results,
    schedules,
    serializers,
    settings,
    states,
    task,
    task_worker,
    transactions,
    unmapped,
)
from headgate._explaining import explained
from headgate.blocks.core import Block
from headgate.blocks.notifications import SlackWebhook
from headgate.blocks.system import Secret
from headgate.client.orchestration import get_client
from headgate.concurrency import asyncio as async_limits
from headgate.concurrency import sync as limits
from headgate.core import errors
from headgate.core.deployments import PullStep
from headgate.deployments import arun_deployment, deploy, run_deployment, serve, steps
from headgate.events import emit_event
from headgate.filesystems import LocalFileSystem, RemoteFileSystem
from headgate.input import receive_input, run_input, send_input
from headgate.runner import storage
from headgate.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from headgate.variables import Variable

#: To say what type checkers refuse.
WRONG: Any = object()
LOCK: Any = threading.Lock()
IN: dict[str, str] = {"headgate.resource.id": "r"}


def work(x: int = 1) -> int:
    return x


etl: Any = flow(work, name="etl")
load: Any = task(work)


class Depot(Block):
    url: str
    port: int = 5432


class Nested(pydantic.BaseModel):
    warehouse: Depot


OPTION, VALUE, BLOCK = errors.OptionTypeError, errors.OptionValueError, errors.BlockError
INVALID = errors.InvalidArgument


def untyped(called: Any) -> Any:
    """Say to type checkers that anything may be given."""
    return called


#: Calls with an option, or an argument, that there is not.
UNKNOWN: dict[str, tuple[Callable[[], Any], str]] = {
    "Task": (lambda: untyped(headgate.Task)(work, retrys=3), "Task has no .* retries"),
    "Flow": (lambda: untyped(headgate.Flow)(work, nam="x"), "Flow has no .* name"),
    "task": (lambda: untyped(task)(retrys=3), "@task has no .* retries"),
    "flow": (lambda: untyped(flow)(nam="x"), "@flow has no .* name"),
    "Task.with_options": (lambda: load.with_options(retrys=3), "Task 'work' has no .* retries"),
    "Flow.with_options": (lambda: etl.with_options(retrys=3), "Flow 'etl' has no .* retries"),
    "apply_async": (lambda: load.apply_async(arg=(1,)), "apply_async has no .* args"),
    "to_deployment": (lambda: etl.to_deployment("x", corn="x"), "to_deployment has .* cron"),
    "from_source": (lambda: untyped(flow.from_source)(sorce="x"), "from_source has no .* source"),
    "run_deployment": (lambda: untyped(run_deployment)("a/b", tag="x"), "has no .* tags"),
    "arun_deployment": (
        lambda: asyncio.run(untyped(arun_deployment)("a/b", tag="x")),
        "arun_deployment has no .* tags",
    ),
    "Flow.serve": (lambda: etl.serve(nmae="x"), "serve has no option 'nmae'; did you mean name?"),
    "serve": (lambda: untyped(serve)(limt=3), "serve has no .* limit"),
    "deploy": (lambda: untyped(deploy)(work_pool="x"), "deploy has no .* work_pool_name"),
    "task_worker.serve": (lambda: untyped(task_worker.serve)(load, limt=3), "no .* limit"),
    "JSONSerializer": (
        lambda: untyped(serializers.JSONSerializer)(object_encode="x"),
        "JSONSerializer has no .* object_encoder",
    ),
    "PickleSerializer": (
        lambda: untyped(serializers.PickleSerializer)(pickle_lib="x"),
        "PickleSerializer has no .* picklelib",
    ),
    "CompressedSerializer": (
        lambda: untyped(serializers.CompressedSerializer)(serialiser="x"),
        "CompressedSerializer has no .* serializer",
    ),
    "ThreadPoolTaskRunner": (
        lambda: untyped(ThreadPoolTaskRunner)(max_worker=3),
        "ThreadPoolTaskRunner has no .* max_workers",
    ),
    "ProcessPoolTaskRunner": (
        lambda: untyped(ProcessPoolTaskRunner)(max_worker=3),
        "ProcessPoolTaskRunner has no .* max_workers",
    ),
    "ResultStore": (lambda: untyped(results.ResultStore)(serialzer=1), "no .* serializer"),
    "configure": (
        lambda: untyped(cache_policies.INPUTS.configure)(key_store="x"),
        "configure has no .* key_storage",
    ),
    "create_table_artifact": (
        lambda: untyped(artifacts.create_table_artifact)(tabel=[]),
        "create_table_artifact has no .* table",
    ),
    "MarkdownArtifact": (lambda: untyped(artifacts.MarkdownArtifact)(markdwn=""), "markdown"),
    "Variable.set": (lambda: untyped(Variable.set)("x", 1, overwite=1), "set has no .* overwrite"),
    "Variable.get": (lambda: untyped(Variable.get)("x", defalt=1), "get has no .* default"),
    "emit_event": (lambda: untyped(emit_event)("e", IN, payloads={}), "no .* payload"),
    "send_input": (lambda: untyped(send_input)(1, "x", sendr=""), "send_input has no .* sender"),
    "receive_input": (lambda: untyped(receive_input)(int, timout=1), "has no .* timeout"),
    "Block.load": (lambda: untyped(Depot.load)("x", validat=1), "load has no .* validate"),
    "Block.save": (
        lambda: untyped(Depot(url="x").save)("x", overwite=True),
        "save has no .* overwrite",
    ),
    "concurrency": (lambda: untyped(limits.concurrency)("x", ocupy=1), "has no .* occupy"),
    "rate_limit": (lambda: untyped(limits.rate_limit)("x", ocupy=1), "has no .* occupy"),
    "async concurrency": (
        lambda: untyped(async_limits.concurrency)("x", ocupy=1),
        "has no .* occupy",
    ),
    "transaction": (lambda: untyped(transactions.transaction)(ky="x"), "has no .* key"),
    "Cron": (lambda: untyped(schedules.Cron)("* * * * *", timezon="x"), "has no .* timezone"),
    "Schedule": (lambda: untyped(schedules.Schedule)(slugg="x"), "Schedule has no .* slug"),
    "pause_flow_run": (lambda: untyped(flow_runs.pause_flow_run)(timout=1), "no .* timeout"),
    "wait": (lambda: untyped(futures.wait)([], timout=1), "wait has no .* timeout"),
    "get_client": (lambda: untyped(get_client)(sync_cliet=True), "no .* sync_client"),
    "temporary_settings": (lambda: untyped(settings.temporary_settings)(update={}), "updates"),
    "git_clone": (lambda: untyped(steps.git_clone)(repositry="x"), "no .* repository"),
    "GitRepository": (lambda: untyped(storage.GitRepository)("x", brnch="y"), "no .* branch"),
}

#: Calls that lack something, or are given what does not fit.
WRONG_CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "run_deployment()": (untyped(run_deployment), OPTION, "missing .* 'name'; it is run_deploy"),
    "deploy()": (untyped(etl.deploy), OPTION, "missing .* 'name'; it is Flow.deploy\\(name"),
    "Task()": (untyped(headgate.Task), OPTION, "does not fit Task: missing .* 'fn'"),
    "unmapped()": (untyped(unmapped), OPTION, "does not fit unmapped: missing"),
    "Variable.set": (lambda: untyped(Variable.set)("x"), OPTION, "missing .* 'value'"),
    "too many": (lambda: untyped(Variable.get)(1, 2, 3), OPTION, "too many .*get\\(name, def"),
    "a task that is none": (lambda: untyped(headgate.Task)(3), OPTION, "made of a function"),
    "serve(1)": (lambda: untyped(serve)(1), OPTION, "serve was given 1; use what to_deployment"),
    "deploy(1)": (lambda: untyped(deploy)(1), OPTION, "deploy was given 1; use what to_deploy"),
    "tags": (lambda: untyped(task)(tags=3)(work), OPTION, "tags is 3; use a list of texts"),
    "retries": (lambda: untyped(task)(retries="x")(work), OPTION, "retries"),
    "timeout": (lambda: untyped(flow)(timeout_seconds="x")(work), OPTION, "timeout_seconds is"),
    "negative": (lambda: flow(timeout_seconds=-1)(work), VALUE, "timeout_seconds is -1"),
    "no serializer": (
        lambda: serializers.CompressedSerializer(serializer="nope"),
        errors.ConfigurationError,
        "no serializer 'nope'; use one of",
    ),
    "parameters": (
        lambda: untyped(run_deployment)("a/b", parameters=[1]),
        OPTION,
        "parameters is .1.; use a dictionary",
    ),
    "an unknown parameter": (
        lambda: etl.to_deployment("x", parameters={"y": 1}),
        errors.SignatureMismatchError,
        "no parameter 'y'; it has x",
    ),
    "name of a variable": (lambda: untyped(Variable.get)(3), OPTION, "name is 3; use a text"),
    "tags of a variable": (
        lambda: untyped(Variable.set)("x", 1, tags=3),
        OPTION,
        "tags is 3; use a list",
    ),
    "a payload": (
        lambda: emit_event("e", IN, payload={"a": LOCK}),
        INVALID,
        "payload: .*lock is no JSON type",
    ),
    "no resource": (lambda: emit_event("e", {"a": "r"}), INVALID, "lacks the label .* e.g."),
    "a schedule": (lambda: schedules.Cron("x"), INVALID, "'x' has 1 field; use 5"),
    "two schedules": (
        lambda: etl.to_deployment("x", cron="* * * * *", interval=3),
        INVALID,
        "cron: does not go together with interval",
    ),
    "no flow run": (flow_runs.pause_flow_run, errors.MissingContextError, "no flow run here"),
    "no run": (context.get_run_context, errors.MissingContextError, "within a flow or task"),
    "no logger": (headgate.get_run_logger, errors.MissingContextError, "no run here to log for"),
    "futures": (lambda: futures.wait([WRONG]), OPTION, "futures has .* what submit returned"),
    "a repository": (lambda: storage.GitRepository(untyped(3)), OPTION, "url is 3; use a text"),
    "a remote folder": (lambda: storage.RemoteStorage(untyped(3)), OPTION, "url is 3; use a"),
    "a folder": (lambda: storage.LocalStorage(untyped(3)), OPTION, "path is 3; use a text or"),
}

#: The same for what is called by what users call, or is a context manager of ``contextlib``.
INNER: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a state": (lambda: states.Completed(mesage="x"), OPTION, "COMPLETED has no .* message"),
    "an argument": (lambda: etl.signature.bind((1, 2), {}), errors.ParameterBindError, "work"),
    "a table": (
        lambda: artifacts.TableArtifact(table=untyped(3)).format(),
        INVALID,
        "A table is a dictionary .* not int",
    ),
    "Markdown": (
        lambda: artifacts.MarkdownArtifact(markdown=untyped(3)).format(),
        INVALID,
        "markdown: is 3; use a text",
    ),
    "a link": (
        lambda: artifacts.LinkArtifact(link=untyped(3)).format(),
        INVALID,
        "link: is 3; use a text",
    ),
    "a picture": (
        lambda: artifacts.ImageArtifact(image_url=untyped(3)).format(),
        INVALID,
        "image_url: is 3; use a text",
    ),
    "a type of input": (
        lambda: run_input.input_type(3),
        INVALID,
        r"use a model, or a type such as str\.$",
    ),
    "an input": (
        lambda: run_input.as_input(LOCK),
        errors.ParameterTypeError,
        "cannot be sent as an input: it has no JSON form",
    ),
    "a schedule's option": (
        lambda: schedules.construct(schedule={"cron": "* * * * *", "timezon": "UTC"}),
        OPTION,
        "Cron has no option 'timezon'; did you mean timezone",
    ),
    "a setting": (
        lambda: settings.temporary_settings({"HEADGATE_LOGING_LEVEL": "x"}).__enter__(),
        INVALID,
        "LOGING_LEVEL: is not a setting; did you mean logging_level?",
    ),
}

#: Blocks: ours, and still a ``ValueError``.
BLOCKS: dict[str, tuple[Callable[[], Any], str]] = {
    "a type": (
        lambda: Depot(url="x", port=untyped("y")),
        "A Depot cannot be made of this: port: Input should be a valid integer",
    ),
    "a missing field": (untyped(Depot), "url: Field required"),
    "a misspelled field": (
        lambda: untyped(Secret)(valeu="hunter2"),
        "value: Field required .was valeu meant to be it",
    ),
    "a validator": (
        lambda: RemoteFileSystem(basepath="bucket"),
        "basepath: Base path must start with a scheme",
    ),
    "a webhook": (untyped(SlackWebhook), "A SlackWebhook cannot be made of this: url"),
    "a path": (lambda: LocalFileSystem(basepath=untyped(3)), "basepath: Input should be a valid"),
    "no name": (lambda: Depot(url="x").save(), "without a name; call save"),
    "no type": (lambda: Block.load("nope"), "does not say which type .* write type/name"),
}


def step(name: str, **inputs: str) -> Callable[[], Any]:
    return lambda: steps.run_steps([PullStep(name=name, inputs=inputs)])


STEPS: dict[str, tuple[Callable[[], Any], str]] = {
    "a step that is not there": (step("git_clon"), "does not know it; it knows git_clone"),
    "a package": (
        step("headgate_nowhere.steps.pull"),
        "'headgate_nowhere.steps.pull' failed: it is not there .* install it where the runner",
    ),
    "an input": (step("set_working_directory", folder='"/"'), "no option 'folder'; did|it has"),
    "no input": (step("git_clone"), "missing .* 'repository'"),
    "a folder": (
        step("set_working_directory", directory='"/nowhere"'),
        "no folder /nowhere on this machine; correct the deployment",
    ),
    "a file": (
        step("pip_install_requirements", directory='"/nowhere"'),
        "no file /nowhere/requirements.txt on this machine",
    ),
    "a command": (
        step("run_shell_script", script='"headgate-nowhere -x"'),
        "'headgate-nowhere' cannot be run here .No such file .* install it where the runner is",
    ),
    "a folder for a command": (
        step("run_shell_script", script='"true"', directory='"/nowhere"'),
        "no folder /nowhere to run true in",
    ),
    "a quote": (step("run_shell_script", script='"echo \'a"'), "no command .No closing quot"),
    "a script": (step("run_shell_script", script="3"), "script is 3; use a text"),
}


def refused(call: Callable[[], Any], kind: type[Exception], said: str) -> Exception:
    """Check what a call raises, and that it is shown at the line of the call alone."""
    with pytest.raises(kind, match=said) as caught:
        call()
    error = caught.value
    assert isinstance(error, errors.HeadgateError)
    shown = "".join(traceback.format_exception(error))
    assert "sdk/headgate/" not in shown
    assert "pydantic.dev" not in shown
    return error


def cases(table: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("name", list(table))


@cases(UNKNOWN)
def test_an_option_that_is_not_there_is_named_with_the_nearest_that_is(name: str):
    call, said = UNKNOWN[name]
    error = refused(call, errors.OptionTypeError, said)
    assert isinstance(error, TypeError)
    assert "did you mean" in str(error)


@cases(WRONG_CALLS)
def test_what_does_not_fit_is_named_with_what_would(name: str):
    refused(*WRONG_CALLS[name])


@cases(INNER)
def test_what_does_not_fit_within_a_call_is_named_as_well(name: str):
    call, kind, said = INNER[name]
    assert issubclass(kind, errors.HeadgateError)
    with pytest.raises(kind, match=said):
        call()


@cases(BLOCKS)
def test_fields_of_blocks_are_told_of_in_words_of_ours_and_without_their_values(name: str):
    call, said = BLOCKS[name]
    error = refused(call, errors.BlockError, said)
    assert isinstance(error, ValueError)
    assert "hunter2" not in str(error)


def test_a_block_within_a_model_is_told_of_by_pydantic_with_its_place():
    with pytest.raises(pydantic.ValidationError) as caught:
        Nested.model_validate({"warehouse": {"port": 1}})
    assert [error["loc"] for error in caught.value.errors()] == [("warehouse", "url")]


def test_what_pydantic_found_is_at_hand_for_those_who_want_it():
    with pytest.raises(errors.BlockError) as caught:
        untyped(Depot)()
    assert isinstance(caught.value.__context__, pydantic.ValidationError)


@cases(STEPS)
def test_a_pull_step_that_cannot_be_carried_out_says_why_and_what_to_do(name: str):
    call, said = STEPS[name]
    with pytest.raises(errors.PullStepError, match=said):
        call()


def test_a_step_that_is_called_as_a_function_raises_the_same_error_which_is_a_runtime_error():
    refused(
        lambda: steps.run_shell_script("false", stream_output=False),
        errors.PullStepError,
        "false ended with exit code 1",
    )
    assert issubclass(errors.PullStepError, RuntimeError)


def test_a_name_that_is_not_there_is_an_error_of_python_with_the_nearest():
    with pytest.raises(AttributeError, match="has no attribute 'flwo'") as caught:
        _ = untyped(headgate).flwo
    assert caught.value.name == "flwo"


# --- How calls are explained --------------------------------------------------------------------


@explained
def explained_call(name: str, *, retries: int = 3) -> int:
    return len(name) + retries


@explained
async def explained_coroutine(name: str, *, retries: int = 3) -> int:
    return len(name) + retries


def test_a_call_that_fits_is_carried_out_and_looks_as_it_did():
    assert explained_call("a", retries=1) == 2
    assert asyncio.run(explained_coroutine("a")) == 4
    assert asyncio.iscoroutinefunction(explained_coroutine)
    assert explained_call.__name__ == "explained_call"


def test_a_type_error_within_the_function_stays_what_it_is():
    with pytest.raises(TypeError, match="no len"):
        explained_call(untyped(3))
    with pytest.raises(TypeError, match="no len") as caught:
        asyncio.run(explained_coroutine(untyped(3)))
    assert not isinstance(caught.value, errors.HeadgateError)


def test_a_call_is_shown_with_the_defaults_of_what_it_takes():
    with pytest.raises(errors.OptionTypeError) as caught:
        untyped(explained_call)()
    assert str(caught.value) == (
        "The call does not fit explained_call: missing a required argument: 'name'; "
        "it is explained_call(name, *, retries=3)."
    )


# --- Settings -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("HEADGATE_LOGING_LEVEL", "HEADGATE_LOGGING_LEVEL"),
        ("HEADGATE_API_URI", "HEADGATE_API_URL"),
        ("HEADGATE_PROFIL", "HEADGATE_PROFILE"),
        ("HEADGATE_TASK_DEFAULT_RETRIES", "HEADGATE_TASKS_DEFAULT_RETRIES"),
    ],
)
def test_a_variable_with_a_typo_is_told_of_with_the_setting_that_was_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
):
    monkeypatch.setenv(variable, "x")
    assert settings.misspelled() == [
        f"The variable {variable} is no setting and has no effect; did you mean {meant}?"
    ]
    assert settings.misspelled()[0] in settings.problems()


@pytest.mark.parametrize(
    "variable",
    [
        "HEADGATE_TEST_POSTGRES_URL",
        "HEADGATE_ACME_REGION",
        "HEADGATE_SERVER_PORT",
        "HEADGATE_LOGGING_HANDLERS_CONSOLE_FORMATTER",
        "HEADGATE__FLOW_RUN_ID",
        "HEADGATE_HOME",
        "HEADGAT_LOGGING_LEVEL",
    ],
)
def test_variables_of_others_and_good_ones_are_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    monkeypatch.setenv(variable, str(folder / "home"))
    assert settings.misspelled() == []


def test_a_name_in_a_profile_with_a_typo_is_told_of(folder: Path):
    (folder / "home" / "profiles.toml").write_text(
        '[profiles.ephemeral]\nHEADGATE_LOGING_LEVEL = "INFO"\nHEADGATE_ACME = "x"\n'
    )
    assert settings.misspelled() == [
        "profile 'ephemeral': loging_level is no setting; did you mean logging_level?"
    ]


FILES = [
    ("headgate.toml", 'loging_level = "INFO"', "loging_level: in .*did you mean logging_level"),
    ("headgate.toml", '[logging]\nlevl = "INFO"', "logging_levl: .*did you mean logging_level"),
    ("headgate.toml", '[logging]\nlevel = "LOUD"', "must be one of .*'LOUD', as .*headgate.toml"),
    ("headgate.toml", "logging = 3", "logging: in .* is not a setting"),
    ("headgate.toml", "x =", "headgate.toml: cannot be read: .*; mend it"),
    ("home/profiles.toml", "profiles = 3", "profiles = 3, which is no table; write .profiles"),
    ("home/profiles.toml", "[profiles]\na = 3", "has profiles.a = 3, which is no table"),
    (
        "home/profiles.toml",
        '[profiles.ephemeral]\nHEADGATE_TASKS_DEFAULT_RETRIES = "x"',
        "RETRIES: must be a whole number, not 'x', as profile 'ephemeral' has it",
    ),
]


@pytest.mark.parametrize(("file", "text", "said"), FILES, ids=[text for _, text, _ in FILES])
def test_a_file_of_settings_is_named_with_what_is_wrong_in_it(
    folder: Path, file: str, text: str, said: str
):
    (folder / file).write_text(text)
    with pytest.raises(errors.InvalidArgument, match=said):
        settings.current()
