"""What the tests in other languages share."""

from __future__ import annotations

import os
import pathlib
import subprocess


def run(command: list[str], *, cwd: pathlib.Path, **env: str) -> str:
    """Run a command; return its output."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
