"""What is loaded when; import-linter sees what is written, this sees what happens.

`import headgate.core` runs `headgate/__init__.py` first, so one eager import there would cost every
user of the pure core the whole wire. Each case runs in a process of its own.
"""

import json
import subprocess
import sys

import pytest

WIRE_AND_STORAGE = ["google.protobuf", "grpc", "pydantic", "sqlalchemy"]
LOOPS = ["anyio", "asyncio"]
OTHER_SIDES = ["headgate_runner", "headgate_server"]

PROBE = """
import importlib, json, pkgutil, sys

package = importlib.import_module({package!r})
if {with_submodules!r}:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted(set({unwanted!r}) & set(sys.modules))))
"""


def loaded_by(package: str, unwanted: list[str], *, with_submodules: bool) -> list[str]:
    program = PROBE.format(package=package, unwanted=unwanted, with_submodules=with_submodules)
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_importing_the_sdk_loads_nothing_heavy_and_no_other_side():
    unwanted = WIRE_AND_STORAGE + LOOPS + OTHER_SIDES
    assert loaded_by("headgate", unwanted, with_submodules=False) == []


@pytest.mark.parametrize("package", ["headgate.core", "headgate_server.domain"])
def test_a_pure_package_loads_neither_wire_nor_storage_nor_event_loop(package: str):
    unwanted = WIRE_AND_STORAGE + LOOPS + [side for side in OTHER_SIDES if side not in package]
    assert loaded_by(package, unwanted, with_submodules=True) == []
