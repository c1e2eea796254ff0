"""What gRPC is told before it is loaded."""

import os
import subprocess
import sys

import pytest

from headgate.core import grpc_environment

_PROGRAM = """
import os, sys
assert "grpc" not in sys.modules
import headgate.client.channel
import grpc
grpc.insecure_channel("unix:/nowhere").close()
print(os.environ["GRPC_EXPERIMENTS"])
"""


@pytest.mark.slow
def test_the_installed_version_knows_what_it_is_told():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    program = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "-event_engine_client" in done.stdout


@pytest.mark.parametrize(
    ("version", "told"), [((1, 79), False), ((1, 80), True), ((1, 85), True), ((2, 0), False)]
)
def test_only_versions_that_have_the_choice_are_told(
    version: tuple[int, int], told: bool, monkeypatch: pytest.MonkeyPatch
):
    # Set first, so that what was there before comes back.
    monkeypatch.setenv("GRPC_EXPERIMENTS", "")
    monkeypatch.delenv("GRPC_EXPERIMENTS")
    monkeypatch.setattr(grpc_environment, "_version", lambda: version)
    grpc_environment.prepare()
    assert ("GRPC_EXPERIMENTS" in os.environ) is told


def test_what_users_have_set_stands(monkeypatch: pytest.MonkeyPatch):
    for name in ("GRPC_EXPERIMENTS", "GRPC_VERBOSITY", "GRPC_ENABLE_FORK_SUPPORT"):
        monkeypatch.setenv(name, "mine")
    grpc_environment.prepare()
    assert os.environ["GRPC_EXPERIMENTS"] == os.environ["GRPC_VERBOSITY"] == "mine"
    assert os.environ["GRPC_ENABLE_FORK_SUPPORT"] == "mine"
