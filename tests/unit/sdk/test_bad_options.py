"""A wrong option is refused where it is given: by an error of ours that names it and the remedy."""

import datetime
import functools
import inspect
import math
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headgate
from headgate import (
    cache_policies,
    context,
    flow,
    flows,
    futures,
    get_run_logger,
    results,
    schedules,
    serializers,
    settings,
    states,
    task,
    tasks,
    transactions,
)
from headgate.client import orchestration
from headgate.concurrency import sync as limits
from headgate.core import errors
from headgate.deployments import RunnerDeployment, steps
from headgate.events import emit_event
from headgate.filesystems import LocalFileSystem
from headgate.input import receive_input
from headgate.locking.filesystem import FileSystemLockManager
from headgate.runner import storage
from headgate.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from headgate.testing import AdvancingClock, headgate_test_harness

SDK = Path(headgate.__file__).parent
#: What hardly any option takes.
STRANGE: list[Any] = [
    object(),
    -1,
    10**30,
    1.5,
    math.nan,
    b"bytes",
    "\ud800",
    [3],
    {1: 2},
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
]

Make = Callable[..., Any]


def work(x: int = 1) -> int:
    return x


etl = flow(work, name="etl")
loaded = task(work)


def given(make: Make, option: str, value: Any) -> Exception | None:
    """Give an option; return what is raised."""
    try:
        made = make(**{option: value})
        if hasattr(made, "gen"):  # a context manager that is a generator, and looks when entered
            with made:
                pass
    except Exception as problem:
        return problem
    return None


def options() -> list[tuple[str, Make, str]]:
    """Every option of what users call with options, and how it is called."""
    makers: dict[str, tuple[Make, tuple[str, ...]]] = {
        "flow": (lambda **o: flow(**o)(work), flows._OPTIONS),
        "task": (lambda **o: task(**o)(work), tasks._OPTIONS),
    }
    plain: dict[str, Make] = {
        "to_deployment": functools.partial(RunnerDeployment.from_flow, etl, "x"),
        "ThreadPoolTaskRunner": ThreadPoolTaskRunner,
        "ProcessPoolTaskRunner": ProcessPoolTaskRunner,
        "transaction": transactions.transaction,
        "ResultStore.create_result_record": functools.partial(
            results.ResultStore().create_result_record, 1
        ),
        "INPUTS.configure": cache_policies.INPUTS.configure,
        "emit_event": functools.partial(emit_event, "e", {"headgate.resource.id": "r"}),
        "JSONSerializer": serializers.JSONSerializer,
        "PickleSerializer": serializers.PickleSerializer,
        "construct": schedules.construct,
        "Paused": states.Paused,
        "temporary_settings": settings.temporary_settings,
        "get_client": orchestration.get_client,
        "futures.wait": futures.wait,
        "read_path": LocalFileSystem().read_path,
        "FileSystemLockManager": FileSystemLockManager,
        "from_source": flow.from_source,
        "Cron": schedules.Cron,
        "Interval": schedules.Interval,
        "RRule": schedules.RRule,
        "GitRepository": storage.GitRepository,
        "RemoteStorage": storage.RemoteStorage,
        "LocalStorage": storage.LocalStorage,
        "set_working_directory": steps.set_working_directory,
        "run_shell_script": functools.partial(steps.run_shell_script, "", stream_output=False),
        "receive_input": functools.partial(receive_input, flow_run_id="x"),
        "exponential_backoff": tasks.exponential_backoff,
        "get_run_logger": get_run_logger,
    }
    needed: dict[str, Any] = {
        "futures": [],
        "entrypoint": "nowhere.py:etl",
        "source": "/nowhere",
        "cron": "* * * * *",
        "interval": 60,
        "rrule": "FREQ=DAILY",
        "url": "s3://nowhere/x",
        "input_type": int,
    }
    for name, make in plain.items():
        parameters = inspect.signature(make).parameters
        names = tuple(n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD)
        wanted = {n: needed[n] for n in names if n in needed}
        makers[name] = (lambda make=make, wanted=wanted, **o: make(**{**wanted, **o}), names)
    return [(name, make, option) for name, (make, names) in makers.items() for option in names]


@pytest.mark.parametrize(
    ("name", "make", "option"),
    [pytest.param(*case, id=f"{case[0]}-{case[2]}") for case in options()],
)
def test_whatever_an_option_is_given_only_errors_of_ours_are_raised(
    name: str, make: Make, option: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("headgate.events.emitting.send", lambda event: event.record())
    for value in STRANGE:
        problem = given(make, option, value)
        assert problem is None or isinstance(problem, errors.HeadgateError), (value, problem)
        assert problem is None or len(str(problem)) > 20, problem


@pytest.mark.parametrize(
    ("call", "wrong", "meant"),
    [
        pytest.param(lambda **o: task(**o), "retrys", "retries", id="task"),
        pytest.param(lambda **o: flow(**o), "retrys", "retries", id="flow"),
        pytest.param(loaded.with_options, "tag", "tags", id="task.with_options"),
        pytest.param(etl.with_options, "durabel", "durable", id="flow.with_options"),
        pytest.param(etl.to_deployment, "corn", "cron", id="to_deployment"),
        pytest.param(etl.deploy, "corn", "cron", id="deploy"),
        pytest.param(etl.serve, "globallimit", "global_limit", id="serve"),
    ],
)
def test_an_option_that_is_not_there_is_named_with_the_one_that_was_meant(
    call: Make, wrong: str, meant: str
):
    arguments = () if call.__name__ in ("<lambda>", "with_options") else ("x",)
    with pytest.raises(
        errors.OptionTypeError, match=f"has no option '{wrong}'; did you mean {meant}"
    ):
        call(*arguments, **{wrong: 1})


def test_where_nothing_was_nearly_meant_all_options_are_listed():
    strange: Any = {"zzz": 1}
    with pytest.raises(TypeError, match="it has name, description, tags"):
        task(**strange)


def test_the_options_that_are_known_are_those_of_the_constructor():
    for known, kind in ((flows._OPTIONS, flows.Flow), (tasks._OPTIONS, tasks.Task)):
        parameters = inspect.signature(kind).parameters.values()
        assert list(known) == [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


@pytest.mark.parametrize(
    ("make", "template"),
    [
        (lambda t: flow(flow_run_name=t)(work).run_name({"x": 1}), "{y}"),
        (lambda t: flow(flow_run_name=t)(work).run_name({"x": 1}), "{x.nope}"),
        (lambda t: flow(flow_run_name=t)(work).run_name({"x": 1}), "{x"),
        (lambda t: flow(flow_run_name=t)(work).run_name({"x": 1}), "{}"),
    ],
)
def test_a_template_that_cannot_be_filled_in_says_what_there_is(make: Make, template: str):
    with pytest.raises(errors.OptionValueError, match=r"cannot be filled in .*the flow has x"):
        make(template)


@pytest.mark.parametrize("kind", [errors.OptionTypeError, errors.OptionValueError])
def test_wrong_options_are_also_the_errors_that_python_has_for_them(kind: type[Exception]):
    assert issubclass(kind, TypeError if kind is errors.OptionTypeError else ValueError)
    assert issubclass(kind, errors.HeadgateError)
    assert str(pickle.loads(pickle.dumps(kind("x is 1; use 2.")))) == "x is 1; use 2."


#: To say what type checkers refuse.
WRONG: Any = object()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: limits.rate_limit(WRONG), "names"),
        (lambda: limits.concurrency("a", holder=WRONG).__enter__(), "holder"),
        (lambda: context.tags(WRONG).__enter__(), "tags"),
        (lambda: settings.use_profile(WRONG).__enter__(), "profile"),
        (lambda: cache_policies.INPUTS - WRONG, "A policy has no argument"),
        (lambda: cache_policies.INPUTS + WRONG, "is no cache policy, and cannot"),
        (lambda: cache_policies.NO_CACHE + WRONG, "is no cache policy, and cannot be added"),
        (lambda: context.with_context(WRONG), "with_context takes a function, not <object"),
        (lambda: flow(name="")(work), "name is ''; use a text with something in it"),
        (lambda: loaded.with_options(name=""), "name is ''; use a text with something"),
        (lambda: headgate_test_harness(clock=WRONG).__enter__(), "use an AdvancingClock"),
        (lambda: headgate_test_harness(**{"clok": WRONG}), "no option 'clok'; did you mean clock"),
        (lambda: AdvancingClock().advance(WRONG), "use seconds, or e.g. timedelta"),
        (lambda: LocalFileSystem().write_path("a", WRONG), "content is a object"),
        (lambda: loaded.apply_async("ab"), "args is 'ab'"),
        (lambda: loaded.apply_async(kwargs=WRONG), "kwargs is"),
    ],
)
def test_arguments_of_other_calls_are_named(call: Callable[[], Any], said: str):
    with pytest.raises(errors.HeadgateError, match=said):
        call()


def test_a_wrong_option_is_shown_where_it_was_written():
    with pytest.raises(errors.OptionTypeError) as caught:

        @task(retries=WRONG)
        def late() -> None: ...

    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files == [__file__]


def raises() -> list[str]:
    """Where the SDK raises a plain TypeError or ValueError, less what is no option."""
    inner = {
        "_setting_values.py",  # caught where the setting is known
        "_remote_storage.py",  # within validators, for pydantic
        "_values.py",  # the same
        "schedules.py",  # in core: caught where the field is known
        "serializers.py",  # while reading: caught there
        "events/schemas/__init__.py",  # the default of json.dumps, which asks for it
        "lazy.py",  # a fault of ours
    }
    found: list[str] = []
    for path in sorted(SDK.rglob("*.py")):
        place = path.relative_to(SDK)
        if path.name in inner or place.as_posix() in inner or "api" in place.parts:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if line.strip().startswith(
                ("raise TypeError", "raise ValueError", "raise RuntimeError")
            ):
                found.append(f"{place}:{number}")
    return found


def test_nothing_else_raises_pythons_own_errors_for_wrong_input():
    assert raises() == [], "raise OptionTypeError, OptionValueError or UsageError"
