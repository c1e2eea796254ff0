"""The command as a process: what it loads, how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from headgate.cli import lazy, main
from headgate.core import errors

HEAVY = ["anyio", "asyncio", "google.protobuf", "grpc", "pydantic", "rich", "sqlalchemy"]


def test_help_loads_nothing_heavy():
    program = (
        "import json, sys; from headgate.cli import main; main.main(['--help']); "
        f"print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_help_lists_every_command_and_each_can_be_loaded(capsys: pytest.CaptureFixture[str]):
    assert main.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in main.COMMANDS:
        assert f"  {name} " in listed


@pytest.mark.parametrize("name", [n for n, command in main.COMMANDS.items() if command.place])
def test_a_listed_command_can_be_loaded(name: str):
    assert lazy.load(name, main.COMMANDS[name]).name == name


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    assert main.main(["fly"]) == 2
    assert "fly" in capsys.readouterr().err


def test_an_error_of_headgate_is_told_in_one_line(capsys: pytest.CaptureFixture[str]):
    @click.command()
    def failing() -> None:
        raise errors.NotFound("work pool", "gpu")

    assert main.run(failing, [], "headgate") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("Error: There is no work pool 'gpu'; check the name, or list what there is.\n")


def test_an_interrupt_is_told_by_the_exit_code(capsys: pytest.CaptureFixture[str]):
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert main.run(interrupted, [], "headgate") == 130


def test_the_exit_code_of_a_command_is_passed_on():
    @click.command()
    def leaving() -> None:
        click.get_current_context().exit(3)

    assert main.run(leaving, [], "headgate") == 3


def test_a_fault_is_not_hidden():
    @click.command()
    def faulty() -> None:
        raise KeyError("oops")

    with pytest.raises(KeyError):
        main.run(faulty, [], "headgate")


def test_a_command_whose_extra_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "headgate_missing_part", None)
    command = lazy.Lazy("", "headgate_missing_part:command", extra="server")
    with pytest.raises(click.ClickException, match=r"headgate\[server\]"):
        lazy.load("server", command)


def test_the_version_can_be_asked_in_three_ways(capsys: pytest.CaptureFixture[str]):
    assert main.main(["--version"]) == 0
    short = capsys.readouterr().out.split()[1]
    assert main.main(["version"]) == 0
    assert short in capsys.readouterr().out
    assert main.main(["version", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["headgate"] == short


def test_config_view_says_where_a_value_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "debug")
    assert main.main(["config", "view", "-o", "json"]) == 0
    shown = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    level = shown["HEADGATE_LOGGING_LEVEL"]
    assert (level["value"], level["source"]) == ("DEBUG", "HEADGATE_LOGGING_LEVEL")
    assert main.main(["config", "view", "--hide-defaults"]) == 0
    assert "HEADGATE_TASKS" not in capsys.readouterr().out


def test_a_variable_with_a_typo_is_told_of_beside_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path))
    monkeypatch.setenv("HEADGATE_API_URI", "http://127.0.0.1:1")
    assert main.main(["profile", "ls"]) == 0
    printed = capsys.readouterr()
    assert "Warning: The variable HEADGATE_API_URI is no setting" in printed.err
    assert "did you mean HEADGATE_API_URL?" in printed.err
    assert "API_URI" not in printed.out
