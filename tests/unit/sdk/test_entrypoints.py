"""Entrypoints: where a flow is, and loading it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate import entrypoints
from headgate.core import errors


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith(("headgate", "grpc", "google")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "file", "module", "qualname"),
    [
        ("flows/etl.py:run", "flows/etl.py", None, "run"),
        ("etl.py:Pipeline.run", "etl.py", None, "Pipeline.run"),
        ("/a/b.py:run", "/a/b.py", None, "run"),
        ("package.etl:run", None, "package.etl", "run"),
        ("package.etl.run", None, "package.etl", "run"),
    ],
)
def test_the_forms_of_an_entrypoint(text: str, file: str, module: str, qualname: str):
    assert entrypoints.parse(text) == entrypoints.Entrypoint(
        file=file, module=module, qualname=qualname
    )


@pytest.mark.parametrize("text", ["", "etl", "etl.py", "etl.py:", "etl.py:1+1", ":run", "a b.c"])
def test_what_is_no_entrypoint_is_refused_with_the_form(text: str):
    with pytest.raises(errors.MissingFlowError, match=r"path/to/file\.py:function"):
        entrypoints.parse(text)


def test_a_file_is_found_from_its_folder_and_imports_its_neighbours(tmp_path: Path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "shared_thing.py").write_text("ONE = 1\n")
    (tmp_path / "flows" / "beside_it.py").write_text("TWO = 2\n")
    (tmp_path / "flows" / "etl_x.py").write_text(
        "import beside_it, shared_thing\ndef run(): return shared_thing.ONE + beside_it.TWO\n"
    )
    assert entrypoints.load("flows/etl_x.py:run", tmp_path)() == 3


def test_a_file_is_loaded_once_and_its_classes_can_be_imported_by_name(tmp_path: Path):
    (tmp_path / "etl_once.py").write_text("class Pipeline:\n  @staticmethod\n  def run(): ...\n")
    first = entrypoints.load("etl_once.py:Pipeline.run", tmp_path)
    assert first.__module__ == "etl_once"
    assert entrypoints.load("etl_once.py:Pipeline", tmp_path).run is first


def test_a_file_may_have_the_name_of_a_module_of_the_library(tmp_path: Path):
    (tmp_path / "json.py").write_text("def run(): return 'mine'\n")
    import json

    assert entrypoints.load("json.py:run", tmp_path)() == "mine"
    assert sys.modules["json"] is json


def test_a_module_is_found_in_the_folder(tmp_path: Path):
    (tmp_path / "package_x").mkdir()
    (tmp_path / "package_x" / "__init__.py").write_text("")
    (tmp_path / "package_x" / "etl.py").write_text("def run(): return 1\n")
    assert entrypoints.load("package_x.etl.run", tmp_path)() == 1


@pytest.mark.parametrize(
    ("entrypoint", "says"),
    [
        ("nowhere.py:run", "no file .*nowhere.py"),
        ("no_such_package_x.etl.run", "no module 'no_such_package_x"),
        ("here_x.py:walk", "no 'walk' in here_x.py"),
    ],
)
def test_what_is_not_there_is_named(entrypoint: str, says: str, tmp_path: Path):
    (tmp_path / "here_x.py").write_text("def run(): ...\n")
    with pytest.raises(errors.MissingFlowError, match=says):
        entrypoints.load(entrypoint, tmp_path)


@pytest.mark.parametrize("code", ["1 / 0", "import no_such_module_x", "def ("])
def test_code_that_raises_is_told_with_its_own_error(code: str, tmp_path: Path):
    (tmp_path / "broken_x.py").write_text(code)
    for entrypoint in ("broken_x.py:run", "broken_x.run"):
        with pytest.raises(errors.ScriptError, match="while it was imported") as caught:
            entrypoints.load(entrypoint, tmp_path)
        assert isinstance(
            caught.value.__cause__, ZeroDivisionError | ModuleNotFoundError | SyntaxError
        )


def test_a_function_knows_its_entrypoint():
    base = Path(__file__).parent
    here = test_a_function_knows_its_entrypoint
    assert entrypoints.of_function(here, base=base) == f"test_entrypoints.py:{here.__name__}"
    assert entrypoints.of_function(here, base=base / "elsewhere").startswith("/")
    assert entrypoints.of_function(here, module=True) == f"{__name__}.{here.__name__}"


def test_what_another_process_cannot_load_is_refused():
    def inner(): ...

    with pytest.raises(errors.MissingFlowError, match="within a function"):
        entrypoints.of_function(inner)
    with pytest.raises(errors.MissingFlowError, match="'unknown-lambda' is a lambda, which"):
        entrypoints.of_function(lambda: None)
    scope: dict[str, object] = {"__name__": "repl"}
    exec(compile("def typed_in(): ...", "<stdin>", "exec"), scope)
    with pytest.raises(errors.MissingFlowError, match="put it into a file"):
        entrypoints.of_function(scope["typed_in"])  # pyright: ignore[reportArgumentType]  # it is one
