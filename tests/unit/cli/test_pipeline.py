"""The demo's pipeline, its tasks as the functions they are."""

from __future__ import annotations

import csv
import json
import pathlib

import pytest

import headgate.logging
from headgate.cli.demo import pipeline

SOURCE = '''"""A module."""

class A:
    def f(self):
        "It is documented."

async def g():
    pass
'''


@pytest.fixture
def library(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in (
        "alone.py",
        "package/__init__.py",
        "package/inner/module.py",
        "package/tests/test_module.py",
        "site-packages/other.py",
        "test/test_alone.py",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SOURCE)
    (tmp_path / "dynamic").mkdir()
    return tmp_path


def test_the_library_is_listed_without_its_tests_and_what_was_installed(library: pathlib.Path):
    with headgate.logging.disable_run_logger():
        packages = pipeline.extract.fn(library)
    assert packages == {
        "alone": [library / "alone.py"],
        "package": [library / "package/__init__.py", library / "package/inner/module.py"],
    }


def test_what_is_in_a_package_is_counted(library: pathlib.Path):
    files = [library / "alone.py", library / "package/__init__.py"]
    counted = pipeline.measure.fn("both", library, files)
    assert counted == pipeline.Measures(
        "both", files=2, lines=16, functions=4, classes=2, documented=4
    )
    assert counted.documented_percent == 50


def test_the_largest_are_found_and_all_added_up():
    packages = [pipeline.Measures(str(n), files=1, lines=n) for n in (2, 3, 1)]
    assert [row.lines for row in pipeline.find_largest.fn(packages, 2)] == [3, 2]
    assert pipeline.add_up.fn(packages) == pipeline.Measures("all", files=3, lines=6)


def test_the_report_is_written_as_csv_and_json(tmp_path: pathlib.Path):
    row = pipeline.Measures("ast", files=1, lines=1_000, functions=3, documented=2)
    path = pipeline.report.fn(tmp_path / "report", "CPython", row, [row])
    document = json.loads(path.read_text())
    assert document["release"] == "CPython"
    assert document["largest"][0]["documented_percent"] == 50
    with (tmp_path / "report" / "report.csv").open() as file:
        assert [read["lines"] for read in csv.DictReader(file)] == ["1000"]
