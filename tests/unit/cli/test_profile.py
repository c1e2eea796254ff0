"""``headgate profile`` and ``headgate config``: what they write, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headgate import settings
from headgate.core import errors
from tests.unit.cli.conftest import Command


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [item.variable for item in settings.sources()]:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("HEADGATE_PROFILE", raising=False)
    monkeypatch.setenv("HEADGATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_profiles_are_listed_with_a_star_at_the_one_in_use(headgate: Command):
    assert headgate("profile", "ls").split()[1:] == ["*", "ephemeral", "local", "test"]
    headgate("profile", "use", "local")
    rows = json.loads(headgate("profile", "ls", "-o", "json"))
    assert [row["name"] for row in rows if row["active"]] == ["local"]


def test_a_profile_lives_from_create_to_delete(headgate: Command):
    headgate("profile", "create", "staging", "--from", "local")
    headgate("profile", "use", "staging")
    headgate("config", "set", "HEADGATE_API_KEY=s3cret", "logging_level=debug")
    assert settings.current().logging_level == "DEBUG"
    shown = headgate("profile", "inspect")
    assert "http://127.0.0.1:4200" in shown
    assert "s3cret" not in shown
    assert "s3cret" in headgate("profile", "inspect", "staging", "--show-secrets")
    headgate("config", "unset", "api_key", "-y")
    headgate("profile", "rename", "staging", "prod")
    assert settings.chosen_profile() == "prod"
    assert "is in use" in headgate("profile", "delete", "prod", "-y", code=1)
    headgate("profile", "use", "ephemeral")
    headgate("profile", "delete", "prod", "-y")
    with pytest.raises(errors.NotFound):
        headgate("profile", "inspect", "prod")


def test_names_are_not_given_twice(headgate: Command):
    headgate("profile", "create", "mine")
    assert "already" in headgate("profile", "create", "mine", code=1)
    assert "already" in headgate("profile", "create", "local", code=1)
    assert "already" in headgate("profile", "rename", "mine", "test", code=1)
    assert "built in" in headgate("profile", "rename", "local", "other", code=1)
    assert "built in" in headgate("profile", "delete", "local", code=1)


def test_defaults_are_written_once(headgate: Command, home: Path):
    assert "Wrote" in headgate("profile", "populate-defaults", "-y")
    assert "[profiles." in (home / "profiles.toml").read_text()
    assert "has them all" in headgate("profile", "populate-defaults")


def test_a_profile_for_one_command(headgate: Command):
    view = headgate("-p", "local", "config", "view", "--hide-defaults", "--hide-sources")
    assert "http://127.0.0.1:4200" in view
    assert "profile 'local'" not in view
    assert settings.current().api_url is None


def test_a_setting_that_is_overruled_is_told_so(headgate: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "ERROR")
    headgate("config", "set", "HEADGATE_LOGGING_LEVEL=DEBUG")
    assert "ERROR all the same" in headgate.remarks


@pytest.mark.parametrize(
    ("assignment", "says"),
    [("api_url", "NAME=VALUE"), ("HEADGATE_HOME=/x", "in the environment")],
)
def test_what_is_no_assignment_is_a_usage_error(headgate: Command, assignment: str, says: str):
    assert says in headgate("config", "set", assignment, code=2)


@pytest.mark.parametrize("assignment", ["colour=red", "logging_level=LOUD"])
def test_what_does_not_fit_is_refused_and_not_written(
    headgate: Command, assignment: str, home: Path
):
    with pytest.raises(errors.InvalidArgument):
        headgate("config", "set", assignment)
    assert not (home / "profiles.toml").exists()


def test_what_is_not_set_cannot_be_unset(headgate: Command):
    assert "is not set" in headgate("config", "unset", "api_key", "-y", code=1)


def test_settings_of_the_server_may_be_in_a_profile(headgate: Command):
    headgate("config", "set", "HEADGATE_SERVER_PORT=4300")
    from headgate_server.settings import Settings

    assert Settings.read().port == 4300


def test_validate_names_every_mistake(headgate: Command, home: Path):
    assert "valid" in headgate("config", "validate")
    (home / "headgate.toml").write_text('[logging]\nlevel = "LOUD"\ncolour = 1\n')
    said = headgate("config", "validate", code=1)
    assert "logging_colour" in said
    assert "HEADGATE_LOGGING_LEVEL" in said


def test_secrets_are_masked_in_the_view(headgate: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_API_KEY", "s3cret")
    assert "s3cret" not in headgate("config", "view")
    assert "s3cret" not in headgate("config", "view", "-o", "json")
    assert "s3cret" in headgate("config", "view", "--show-secrets")
