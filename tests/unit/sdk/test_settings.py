"""Settings: where they come from, and which wins."""

from pathlib import Path

import pytest

from headgate import settings
from headgate.core import errors


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [item.variable for item in settings.sources()]:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path))
    return tmp_path


def test_without_anything_the_defaults_hold(empty_home: Path):
    assert settings.current() == settings.Settings(home=empty_home)


def test_a_variable_is_read_at_once(monkeypatch: pytest.MonkeyPatch):
    assert settings.current().logging_level == "INFO"
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "debug")
    assert settings.current().logging_level == "DEBUG"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_API_URL", "")
    assert settings.current().api_url is None


def test_the_file_gives_what_no_variable_does(empty_home: Path, monkeypatch: pytest.MonkeyPatch):
    (empty_home / settings.SETTINGS_FILE).write_text(
        '[api]\nurl = "http://a:1"\n[logging]\nlevel = "DEBUG"\n[server]\nport = 1\n'
    )
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "ERROR")
    now = settings.current()
    assert (now.api_url, now.logging_level) == ("http://a:1", "ERROR")


def test_a_changed_file_is_read_anew(empty_home: Path):
    file = empty_home / settings.SETTINGS_FILE
    file.write_text("[tasks]\ndefault_retries = 1\n")
    assert settings.current().tasks_default_retries == 1
    file.unlink()
    assert settings.current().tasks_default_retries == 0


def test_every_value_names_its_source(empty_home: Path, monkeypatch: pytest.MonkeyPatch):
    (empty_home / settings.SETTINGS_FILE).write_text("[tasks]\ndefault_retries = 1\n")
    monkeypatch.setenv("HEADGATE_API_URL", "http://a:1")
    with settings.temporary_settings({"logging_log_prints": True}):
        found = {item.name: item.source for item in settings.sources()}
    assert found["tasks_default_retries"] == str(empty_home / settings.SETTINGS_FILE)
    assert found["api_url"] == "HEADGATE_API_URL"
    assert found["logging_log_prints"] == "code"
    assert found["logging_level"] == "default"


def test_temporary_settings_nest_and_end():
    with settings.temporary_settings({"HEADGATE_LOGGING_LEVEL": "DEBUG"}):
        with settings.temporary_settings({"tasks_default_retries": 2}) as now:
            assert (now.logging_level, now.tasks_default_retries) == ("DEBUG", 2)
        assert settings.current().tasks_default_retries == 0
    assert settings.current().logging_level == "INFO"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HEADGATE_TASKS_DEFAULT_RETRIES", "many", "a whole number"),
        ("HEADGATE_CLIENT_REQUEST_TIMEOUT_SECONDS", "soon", "a number"),
        ("HEADGATE_LOGGING_LOG_PRINTS", "perhaps", "true or false"),
        ("HEADGATE_LOGGING_LEVEL", "LOUD", "one of"),
    ],
)
def test_a_wrong_value_names_the_variable_and_what_it_must_be(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(errors.InvalidArgument, match=says) as caught:
        settings.current()
    assert caught.value.violations[0].field == variable


def test_an_unknown_name_is_refused(empty_home: Path):
    with (
        pytest.raises(errors.InvalidArgument, match="is not a setting"),
        settings.temporary_settings({"colour": "red"}),
    ):
        pass
    (empty_home / settings.SETTINGS_FILE).write_text('[logging]\ncolour = "red"\n')
    with pytest.raises(errors.InvalidArgument, match="logging_colour"):
        settings.current()


def test_a_broken_file_is_named(empty_home: Path):
    (empty_home / settings.SETTINGS_FILE).write_text("[")
    with pytest.raises(errors.InvalidArgument, match=settings.SETTINGS_FILE):
        settings.current()


def test_another_process_gets_what_differs_from_the_defaults(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HEADGATE_API_URL", "http://a:1")
    with settings.temporary_settings({"logging_log_prints": True}):
        assert settings.environment() == {
            "HEADGATE_API_URL": "http://a:1",
            "HEADGATE_HOME": str(empty_home),
            "HEADGATE_LOGGING_LOG_PRINTS": "True",
        }
