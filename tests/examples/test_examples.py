"""Each example runs as a user runs it, and does what it says."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import processes

pytestmark = pytest.mark.slow

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parents[1]
EXAMPLES = sorted(
    path.name for path in FOLDER.glob("*.py") if not path.name.startswith(("test_", "conftest"))
)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the environment of a user, with a server for all examples."""
    home = tmp_path_factory.mktemp("x")
    server = processes.Server(home)
    try:
        yield {
            "HEADGATE_API_URL": server.api_url,
            "HEADGATE_HOME": str(home),
            "PYTHONUNBUFFERED": "1",
        }
    finally:
        server.clean_up()


def start(env: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=FOLDER,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(env: dict[str, str], *words: str) -> str:
    process = start(env, *words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def test_retries(env: dict[str, str]):
    output = run(env, "retries.py")
    assert "page 1\n" in output
    assert "Page 13: Failed after 1 attempt" in output


def test_mapping(env: dict[str, str]):
    output = run(env, "mapping.py")
    assert "11 vowels in 6 words" in output
    assert "8 letters" in output
    assert "300 times the digit 5" in output


def test_caching(env: dict[str, str]):
    output = run(env, "caching.py")
    assert re.findall(r"(\d) squared is (\d) \((\w+)\)", output) == [
        ("2", "4", "Completed"),
        ("3", "9", "Completed"),
        ("2", "4", "Cached"),
        ("3", "9", "Cached"),
    ]
    assert "called for [2, 3]" in output


def test_transactions(env: dict[str, str]):
    output = run(env, "transactions.py")
    assert "Removed bad.txt" in output
    assert "What stays: ['good.txt']" in output


def test_pausing(env: dict[str, str]):
    process = start(env, "pausing.py")
    assert process.stdout is not None
    command = []
    for line in process.stdout:
        if found := re.search(r"Answer me: headgate (.*)", line):
            command = found[1].split()
            break

    def resumed() -> bool:
        # The command is printed a moment before the run is paused.
        done = subprocess.run(
            [sys.executable, "-m", "headgate.cli", *command],
            env={**os.environ, **env},
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    processes.eventually(resumed, what="the run is resumed")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "The model is released" in output


def test_artifacts(env: dict[str, str]):
    output = run(env, "artifacts.py")
    assert "The last is **9**" in output
    assert "The last is **16**" in output


def test_background_tasks(env: dict[str, str]):
    worker = start(env, "background_tasks.py", "serve")
    try:
        assert "sent to ada@example.com" in run(env, "background_tasks.py")
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=30)
        assert worker.returncode == 0, output
        assert "Welcome, ada@example.com" in output
    finally:
        worker.kill()
        worker.communicate()


def test_concurrency_limits(env: dict[str, str]):
    found = re.search(r"At most (\d) queries at once", run(env, "concurrency_limits.py"))
    assert found
    assert found[1] in ("1", "2")


def test_durable_resume(env: dict[str, str]):
    output = run(env, "durable_resume.py")
    assert output.count("downloading part") == 3


def test_payload_codec(env: dict[str, str]):
    secret = {"PAYLOAD_KEY": "00" * 32, "HEADGATE_RESULTS_PAYLOAD_CODEC": "payload_codec:Encrypted"}
    run({**env, **secret, "PYTHONPATH": str(FOLDER)}, "payload_codec.py")


def test_testing_flows(env: dict[str, str]):
    assert "Both tests passed" in run(env, "testing_flows.py")


def test_every_example_is_run_and_named_in_the_readme():
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {name.removesuffix(".py") for name in EXAMPLES} <= tests
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in EXAMPLES if f"(tests/examples/{name})" not in readme] == []
