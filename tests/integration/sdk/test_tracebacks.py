"""Logged tracebacks show the user's code."""

import asyncio
import pathlib
import re
import traceback

import pytest

import headgate
from headgate import task
from headgate.core import errors
from headgate.logging import handlers, tracebacks

HEADGATE = pathlib.Path(headgate.__file__).parent
FRAMES = {
    "user": "/home/me/flows.py",
    "engine": str(HEADGATE / "engine" / "effects.py"),
    "demo": str(HEADGATE / "cli" / "demo" / "pipeline.py"),
    "library": asyncio.__file__,
    "installed": str(pathlib.Path(asyncio.__file__).parents[1] / "site-packages" / "x.py"),
}


def shown(frames: str, *, is_ours: bool = False) -> str:
    made = [traceback.FrameSummary(FRAMES[name], 1, name, line="") for name in frames.split()]
    kept = tracebacks._of_interest(made, is_ours=is_ours)
    return " ".join(frame.name for frame in kept)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("engine engine user user", "user user"),
        ("engine library engine user library", "user library"),
        ("user engine engine user", "user user"),
        ("user engine library user", "user user"),
        ("engine installed", "installed"),
        ("engine demo", "demo"),
        ("user engine engine", "user engine engine"),
        ("engine library", "engine library"),
        ("user", "user"),
        ("", ""),
    ],
)
def test_frames_that_only_lead_to_the_users_code_are_left_out(frames: str, expected: str):
    assert shown(frames) == expected


def test_an_error_of_ours_needs_no_frames_of_ours():
    assert shown("engine user engine engine", is_ours=True) == "user"
    assert shown("engine engine", is_ours=True) == ""


@task
def outer() -> None:
    inner()


@task
def inner() -> None:
    try:
        raise KeyError("first")
    except KeyError as error:
        raise ValueError("second") from error


def functions_in(text: str) -> list[str]:
    return re.findall(r'^  File ".*", line \d+, in (\w+)$', text, re.MULTILINE)


@pytest.mark.usefixtures("server")
def test_a_failed_task_is_logged_with_the_users_code_first(capsys: pytest.CaptureFixture[str]):
    handlers.set_up(force=True)
    outer(return_state=True)
    of_inner, of_outer = capsys.readouterr().err.split("| ERROR ")[1:]
    assert functions_in(of_inner) == ["inner", "inner"]
    assert functions_in(of_outer) == ["inner", "outer", "inner"]
    assert "KeyError: 'first'" in of_outer
    assert "ValueError: second" in of_outer


@pytest.mark.usefixtures("server")
def test_each_exception_of_a_group_is_shown_without_our_frames():
    caught: list[Exception] = []
    for _ in range(2):
        with pytest.raises(ValueError, match="second") as failure:
            inner()
        caught.append(failure.value)
    group = ExceptionGroup("both", caught)
    text = tracebacks.format_exception(ExceptionGroup, group, None)
    assert text.count("in inner") == 4
    assert "task_engine.py" not in text


def test_without_an_exception_there_is_none_to_format(capsys: pytest.CaptureFixture[str]):
    handlers.set_up(force=True)
    headgate.logging.get_logger("x").exception("nothing is handled here")
    assert "NoneType: None" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("server")
async def test_a_timeout_shows_where_the_time_was_over_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
):
    @task(timeout_seconds=0.01)
    async def waits() -> None:
        await asyncio.Event().wait()

    @task(timeout_seconds=0.01)
    def works() -> None:
        while True:
            pass

    handlers.set_up(force=True)
    await waits(return_state=True)
    await asyncio.to_thread(works, return_state=True)
    of_waits, of_works = capsys.readouterr().err.split("| ERROR ")[1:]
    assert functions_in(of_waits) == ["waits", "wait"]
    assert functions_in(of_works) == ["works"]
    assert (of_waits + of_works).count("Traceback") == 2
    assert errors.TaskRunTimeoutError.__name__ in of_works
