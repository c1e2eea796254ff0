"""The README is true: what it shows is there, and what it says to type does what it says."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from headgate.cli import demo as demo_package

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PIPELINE = pathlib.Path(demo_package.__file__).with_name("pipeline.py").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Return the shell commands of the README, as words."""
    text = "".join(blocks("sh")).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def test_the_two_commands_stand_as_they_were_promised():
    assert (
        "    python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' "
        "&& .venv/bin/headgate demo\n    .venv/bin/pytest\n"
    ) in README


def test_the_pipeline_it_shows_is_the_one_that_the_demo_runs():
    for part in blocks("python")[0].split("\n...\n"):
        assert part.strip("\n") in PIPELINE


def test_every_link_and_every_folder_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    named = [link for link in re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)]
    assert [path for path in [*links, *named] if not (ROOT / path).exists()] == []
    for folder, text in re.findall(r"^\| `([^`]+/)` \| (.*) \|$", README, re.MULTILINE):
        parts = [part for part in re.findall(r"`([^`\s]+(?:/|\.py))`", text)]
        assert [part for part in parts if not (ROOT / folder / part).exists()] == []
    for command in re.findall(r"`(\.ci/\w+)`", README):
        assert os.access(ROOT / command, os.X_OK), command


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """Give a user's empty home, and end what a test leaves running for that user."""
    home = tmp_path_factory.mktemp("h")
    yield home
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                process.kill()
        except psutil.Error:
            continue


class Terminal:
    """Types the lines of the README into a shell of a user of this machine."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        self.env = {
            "HOME": str(home),
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            # Any free port: 4200 may be taken on this machine.
            "HEADGATE_SERVER_PORT": "0",
        }
        self.address = ""

    def run(self, words: list[str]) -> str:
        done = subprocess.run(
            [word.replace("127.0.0.1:4200", self.address) for word in words],
            cwd=self.home,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words, cwd=self.home, env=self.env, stdout=subprocess.PIPE, text=True
        )


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what a line of the process's output has for the pattern."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(f"It ended: {said}")


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    return process.returncode


@pytest.mark.slow
def test_every_line_does_what_it_says(home: pathlib.Path) -> None:
    (home / "hello.py").write_text(blocks("python")[1])
    terminal = Terminal(home)
    lines = iter(commands())

    assert "Hello, world!" in terminal.run(next(lines))
    listed = terminal.run(next(lines))
    assert "hello" in listed
    assert "Completed" in listed
    assert (home / ".headgate" / "headgate.db").exists()

    server = terminal.start(next(lines))
    terminal.address = wait_for(server, r"127\.0\.0\.1:\d+")
    assert "Headgate server" in terminal.run(["headgate", "server", "status"])
    runner = terminal.start(next(lines))
    wait_for(runner, "onnected")

    assert "hello/first" in terminal.run(next(lines))
    watched = terminal.run(next(lines))
    assert "Completed" in watched
    assert watched.count("greet") >= 1
    assert "Scheduled" in terminal.run(next(lines))  # what the cron schedule has made

    for words in lines:
        assert words[0] == "grpcurl"
        if shutil.which("grpcurl"):
            said = terminal.run(words)
            assert ("hello/first" if "-d" in words else "headgate.api.v1") in said
        elif "-d" in words:
            json.loads(words[words.index("-d") + 1])

    assert stop(runner) == 0
    assert "stopped" in terminal.run(["headgate", "server", "stop"])
    server.communicate(timeout=30)
    assert server.returncode == 0


def test_every_headgate_command_it_shows_exists():
    names = {" ".join(words[:2]) for words in commands() if words[0] == "headgate"}
    assert len(names) >= 4
    for name in names | set(re.findall(r"`(headgate [a-z-]+)[ `]", README)):
        words = name.split()
        if words[1] == "--help":
            continue
        done = subprocess.run(
            [sys.executable, "-m", "headgate.cli", *words[1:], "--help"],
            capture_output=True,
            text=True,
            env={**os.environ},
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
