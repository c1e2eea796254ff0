"""Settings: files of the project, profiles, and what wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headgate import settings
from headgate.core import configuration, errors, profiles


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [item.variable for item in settings.sources()]:
        monkeypatch.delenv(variable, raising=False)
    for variable in ("HEADGATE_PROFILE", "HEADGATE_PROFILES_PATH"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("HEADGATE_HOME", str(folder))
    monkeypatch.chdir(tmp_path / "project")
    return folder


def write(file: str | Path, text: str) -> None:
    """Write a version of a file that differs in time from the one before."""
    path = Path(file)
    seen = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    if path.stat().st_mtime_ns <= seen:
        os.utime(path, ns=(seen + 1, seen + 1))


def source_of(name: str) -> str:
    return next(item.source for item in settings.sources() if item.name == name)


SOURCES = [
    ("environment", "HEADGATE_LOGGING_LEVEL"),
    (".env", ".env"),
    ("headgate.toml", "headgate.toml"),
    ("pyproject.toml", "pyproject.toml"),
    ("profile", "profile 'mine'"),
    ("home", "home/headgate.toml"),
    ("default", "default"),
]


def set_everywhere_below(strongest: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the level in this place and in all that are weaker; each to something else."""
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "DEBUG"]
    places = {name: levels[n] for n, (name, _) in enumerate(SOURCES[:-1]) if n >= strongest}
    if (level := places.get("environment")) is not None:
        monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", level)
    if (level := places.get(".env")) is not None:
        write(".env", f"# comment\nexport HEADGATE_LOGGING_LEVEL='{level}' # so\nOTHER=1\n")
    if (level := places.get("headgate.toml")) is not None:
        write("headgate.toml", f'[logging]\nlevel = "{level}"\n')
    if (level := places.get("pyproject.toml")) is not None:
        write("pyproject.toml", f'[tool.headgate.logging]\nlevel = "{level}"\n')
    if (level := places.get("profile")) is not None:
        known = profiles.Profiles().with_profile("mine", {"HEADGATE_LOGGING_LEVEL": level})
        profiles.save(home / profiles.PROFILES_FILE, known.using("mine"))
    if (level := places.get("home")) is not None:
        write(home / "headgate.toml", f'logging_level = "{level}"\n')


@pytest.mark.parametrize("strongest", range(len(SOURCES)), ids=[name for name, _ in SOURCES])
def test_the_stronger_place_wins(strongest: int, home: Path, monkeypatch: pytest.MonkeyPatch):
    set_everywhere_below(strongest, home, monkeypatch)
    assert source_of("logging_level").endswith(SOURCES[strongest][1])
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "DEBUG", "INFO"]
    assert settings.current().logging_level == levels[strongest]


def test_a_project_of_somebody_else_is_no_matter():
    write("pyproject.toml", "[tool.other]\nx = 1\n")
    write(".env", "SECRET=1\nHEADGATE__RUNTIME__X=1\n")
    assert settings.current().logging_level == "INFO"


def test_a_name_that_is_none_is_a_mistake_in_a_file_of_ours():
    write("pyproject.toml", "[tool.headgate]\ncolour = 1\n")
    with pytest.raises(errors.InvalidArgument, match=r"colour.*pyproject\.toml"):
        settings.current()


def test_a_file_that_cannot_be_read_is_named():
    write("headgate.toml", "[[")
    with pytest.raises(errors.InvalidArgument, match=r"headgate\.toml"):
        settings.current()


def test_lists_and_tables_become_what_the_setting_wants():
    write(
        "headgate.toml",
        '[logging]\nextra_loggers = ["a", "b"]\n[client.custom_headers]\nx-team = "data"\n',
    )
    now = settings.current()
    assert now.logging_extra_loggers == "a,b"
    assert now.client_custom_headers == (("x-team", "data"),)
    assert settings.environment()["HEADGATE_CLIENT_CUSTOM_HEADERS"] == '{"x-team": "data"}'


def test_headers_that_are_no_object_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_CLIENT_CUSTOM_HEADERS", "[1]")
    with pytest.raises(errors.InvalidArgument, match="a JSON object"):
        settings.current()


def test_the_home_may_be_said_by_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HEADGATE_HOME")
    other = tmp_path / "other"
    other.mkdir()
    write(other / "headgate.toml", '[logging]\nlevel = "ERROR"\n')
    write(".env", f"HEADGATE_HOME={other}\n")
    assert settings.current().home == other
    assert settings.current().logging_level == "ERROR"
    assert configuration.home() == other


def test_a_profile_can_be_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_PROFILE", "local")
    assert settings.current().api_url == "http://127.0.0.1:4200"
    monkeypatch.setenv("HEADGATE_PROFILE", "nope")
    with pytest.raises(errors.NotFound, match="headgate profile ls"):
        settings.current()


def test_a_changed_profile_is_read_anew(home: Path):
    path = home / profiles.PROFILES_FILE
    known = profiles.Profiles().with_profile("mine", {"HEADGATE_LOGGING_LEVEL": "DEBUG"})
    profiles.save(path, known.using("mine"))
    assert settings.current().logging_level == "DEBUG"
    write(path, path.read_text().replace("DEBUG", "ERROR"))
    assert settings.current().logging_level == "ERROR"


def test_what_is_saved_is_read_back_whatever_it_holds(home: Path):
    path = home / profiles.PROFILES_FILE
    odd = 'a "quoted" \\ text\nwith\x7f lines = [x] ä'
    profiles.save(path, profiles.Profiles().with_profile("my.odd-one", {"HEADGATE_API_KEY": odd}))
    assert profiles.load(path).get("my.odd-one") == {"HEADGATE_API_KEY": odd}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in home.iterdir()] == [profiles.PROFILES_FILE]


def test_a_profile_needs_a_name():
    with pytest.raises(errors.InvalidArgument, match="is no name for a profile"):
        profiles.Profiles().with_profile("a b", {})


def test_use_profile_holds_within_its_block(monkeypatch: pytest.MonkeyPatch):
    with settings.use_profile("local") as now:
        assert now.api_url == "http://127.0.0.1:4200"
        assert source_of("api_url") == "profile 'local'"
    assert settings.current().api_url is None
    with pytest.raises(errors.NotFound), settings.use_profile("nope"):
        pass
    assert settings.current().api_url is None


def test_another_process_gets_the_profile_that_is_in_use(home: Path):
    with settings.use_profile("local"):
        assert settings.environment() == {
            "HEADGATE_API_URL": "http://127.0.0.1:4200",
            "HEADGATE_HOME": str(home),
            "HEADGATE_PROFILE": "local",
        }


def test_use_profile_wins_against_the_environment_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "ERROR")
    mine = settings.Profile(name="mine", settings={"HEADGATE_LOGGING_LEVEL": "DEBUG"})
    with settings.use_profile(mine) as now:
        assert now.logging_level == "ERROR"
    with settings.use_profile(mine, override_environment_variables=True) as now:
        assert now.logging_level == "DEBUG"


def test_use_profile_keeps_temporary_settings_unless_told_otherwise():
    with settings.temporary_settings({"logging_level": "ERROR"}):
        with settings.use_profile("test") as now:
            assert now.logging_level == "ERROR"
        with settings.use_profile("test", include_current_context=False) as now:
            assert now.logging_level == "DEBUG"


def test_temporary_defaults_give_way_to_what_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "ERROR")
    defaults = {"logging_level": "DEBUG", "tasks_default_retries": 3}
    with settings.temporary_settings(set_defaults=defaults) as now:
        assert (now.logging_level, now.tasks_default_retries) == ("ERROR", 3)


def test_defaults_can_be_restored(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "ERROR")
    with settings.temporary_settings(restore_defaults=["HEADGATE_LOGGING_LEVEL"]) as now:
        assert now.logging_level == "INFO"


def test_settings_have_names_that_can_be_imported():
    from headgate.settings import HEADGATE_LOGGING_LEVEL

    with settings.temporary_settings({HEADGATE_LOGGING_LEVEL: "DEBUG"}):
        assert HEADGATE_LOGGING_LEVEL.value() == "DEBUG"
    assert not hasattr(settings, "HEADGATE_COLOUR")


def test_settings_can_be_read_by_groups():
    now = settings.get_current_settings()
    assert now.logging.level == now.logging_level
    assert (
        now.tasks.runner.thread_pool_max_workers is None if hasattr(now.tasks, "runner") else True
    )
    with pytest.raises(AttributeError, match="'colours'"):
        _ = now.colours


def test_problems_are_all_named_at_once(monkeypatch: pytest.MonkeyPatch, home: Path):
    assert settings.problems() == []
    monkeypatch.setenv("HEADGATE_LOGGING_LEVEL", "LOUD")
    write("headgate.toml", "[tasks]\ndefault_retries = 'many'\ncolour = 1\n")
    found = "\n".join(settings.problems())
    assert "HEADGATE_LOGGING_LEVEL" in found
    assert "tasks_colour" in found
    assert "HEADGATE_TASKS_DEFAULT_RETRIES" in found


def test_the_server_reads_the_same_files(home: Path, monkeypatch: pytest.MonkeyPatch):
    from headgate_server.settings import Settings

    monkeypatch.delenv("HEADGATE_SERVER_PORT", raising=False)
    write("headgate.toml", '[server]\nport = 4300\nlog_level = "DEBUG"\n')
    found = Settings.read(log_level="ERROR")
    assert (found.port, found.log_level) == (4300, "ERROR")
    monkeypatch.setenv("HEADGATE_SERVER_PORT", "4400")
    assert Settings.read().port == 4400
    monkeypatch.delenv("HEADGATE_SERVER_PORT")
    assert not Settings.read(embedded=True, unix_socket=home / "s").listens_on_tcp


def test_a_removed_working_folder_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert settings.current().logging_level == "INFO"
