"""What can be set from outside, read from the environment and from ``headgate.toml``.

A setting named ``logging_level`` is the variable ``HEADGATE_LOGGING_LEVEL``, or ``level`` in
the table ``[logging]`` of ``$HEADGATE_HOME/headgate.toml``; the variable wins. This module loads
nothing heavy, for everything that starts a flow passes here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import typing
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from headgate.core import errors

__all__ = [
    "SETTINGS_FILE",
    "Settings",
    "Sourced",
    "current",
    "environment",
    "get_current_settings",
    "sources",
    "temporary_settings",
]

SETTINGS_FILE = "headgate.toml"
_PREFIX = "HEADGATE_"
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
#: Settings with few legal values.
_CHOICES: Mapping[str, frozenset[str]] = {
    "logging_level": _LEVELS,
    "logging_to_api_when_missing_flow": frozenset({"warn", "error", "ignore"}),
    "flow_run_execute_sigterm_behavior": frozenset({"crash", "reschedule"}),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the SDK and the engine, with their defaults.

    Attributes:
        api_url: The server, e.g. ``http://127.0.0.1:4200`` or ``unix:///run/headgate.sock``.
            None: the embedded server.
        home: Where Headgate keeps its files.
        client_request_timeout_seconds: The deadline of one unary call.
        flows_default_retries: Retries of flows that do not say.
        flows_default_retry_delay_seconds: Their waiting time.
        flow_run_execute_sigterm_behavior: What SIGTERM without a request to cancel makes of a
            deployed run: ``crash`` ends it, ``reschedule`` sends it back to its queue.
        logging_colors: Whether lines on a terminal are coloured.
        logging_extra_loggers: Other loggers whose lines are kept with the run, by commas.
        logging_level: The level from which lines are written and sent.
        logging_log_prints: Whether ``print`` in flows and tasks that do not say is logged.
        logging_to_api_enabled: Whether lines of runs are sent to the server.
        logging_to_api_max_log_size: Where a message is cut, in characters.
        logging_to_api_when_missing_flow: What happens to a line of an extra logger outside of
            any run: ``warn``, ``error`` or ``ignore``.
        server_ephemeral_enabled: Whether the embedded server may be started.
        server_ephemeral_idle_timeout_seconds: After how long without work it ends itself.
        server_ephemeral_startup_timeout_seconds: How long its start may take.
        tasks_default_retries: Retries of tasks that do not say.
        tasks_default_retry_delay_seconds: Their waiting time.
        tasks_runner_thread_pool_max_workers: Threads of a ``ThreadPoolTaskRunner`` that does not
            say. None: as many as there are tasks.
    """

    api_url: str | None = None
    home: Path = Path("~/.headgate")
    client_request_timeout_seconds: float = 60.0
    flows_default_retries: int = 0
    flows_default_retry_delay_seconds: float = 0.0
    flow_run_execute_sigterm_behavior: str = "crash"
    logging_colors: bool = True
    logging_extra_loggers: str = ""
    logging_level: str = "INFO"
    logging_log_prints: bool = False
    logging_to_api_enabled: bool = True
    logging_to_api_max_log_size: int = 1_000_000
    logging_to_api_when_missing_flow: str = "warn"
    server_ephemeral_enabled: bool = True
    server_ephemeral_idle_timeout_seconds: float = 300.0
    server_ephemeral_startup_timeout_seconds: float = 20.0
    tasks_default_retries: int = 0
    tasks_default_retry_delay_seconds: float = 0.0
    tasks_runner_thread_pool_max_workers: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """One setting and where its value comes from: ``default``, a variable, a file, ``code``."""

    name: str
    variable: str
    value: Any
    source: str


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
_VARIABLES = {name: _PREFIX + name.upper() for name in _FIELDS}
_NAMES = {variable: name for name, variable in _VARIABLES.items()}
_DEFAULTS: Mapping[str, Any] = {name: field.default for name, field in _FIELDS.items()}
_TYPES: Mapping[str, str] = {name: str(field.type) for name, field in _FIELDS.items()}

_overrides: dict[str, Any] = {}
_cache: tuple[object, Settings] | None = None


def current() -> Settings:
    """Return the settings that hold now.

    The environment is looked at on every call, which takes some microseconds: read once per
    run, not once per task.

    Raises:
        InvalidArgument: A value does not fit its setting; the setting is named.
    """
    global _cache
    get = os.environ.get
    file = _file()
    key = (*[get(variable) for variable in _NAMES], file, _modified(file), *_overrides.items())
    if _cache is not None and _cache[0] == key:
        return _cache[1]
    made = Settings(**{item.name: item.value for item in sources()})
    _cache = (key, made)
    return made


get_current_settings = current


def sources() -> list[Sourced]:
    """Return every setting with its value and where that comes from, by name."""
    file = _file()
    from_file = _read_file(file)
    found: list[Sourced] = []
    for name in sorted(_FIELDS):
        variable = _VARIABLES[name]
        raw = os.environ.get(variable)
        if name in _overrides:
            value, source = _overrides[name], "code"
        elif raw is not None and raw != "":
            value, source = _parse(name, raw), variable
        elif name in from_file:
            value, source = _parse(name, from_file[name]), str(file)
        else:
            value, source = _DEFAULTS[name], "default"
        if name == "home":
            value = Path(value).expanduser().absolute()
        found.append(Sourced(name=name, variable=variable, value=value, source=source))
    return found


@contextlib.contextmanager
def temporary_settings(updates: Mapping[str, Any]) -> Generator[Settings]:
    """Change settings of this process for the length of a ``with`` block.

    Args:
        updates: New values by name, ``logging_level`` or ``HEADGATE_LOGGING_LEVEL``.

    Yields:
        The settings that hold within.

    Raises:
        InvalidArgument: There is no such setting, or the value does not fit it.
    """
    global _overrides
    parsed: dict[str, Any] = {}
    for key, value in updates.items():
        name = _NAMES.get(key, key)
        if name not in _FIELDS:
            raise _invalid(key, "is not a setting; `headgate config view` lists them")
        parsed[name] = _parse(name, value)
    before = _overrides
    _overrides = {**before, **parsed}
    try:
        yield current()
    finally:
        _overrides = before


def environment() -> dict[str, str]:
    """Return the variables that give another process the settings that hold here.

    Only those that differ from the defaults; ``HEADGATE_HOME`` always.
    """
    variables: dict[str, str] = {}
    for item in sources():
        if item.value is not None and (item.source != "default" or item.name == "home"):
            variables[item.variable] = str(item.value)
    return variables


def _file() -> Path:
    home = _overrides.get("home") or os.environ.get("HEADGATE_HOME") or _DEFAULTS["home"]
    return _settings_file(str(home))


@functools.lru_cache(maxsize=16)
def _settings_file(home: str) -> Path:
    return Path(home).expanduser() / SETTINGS_FILE


def _modified(file: Path) -> int | None:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return None


def _read_file(file: Path) -> dict[str, Any]:
    if _modified(file) is None:
        return {}
    import tomllib  # only where there is a file to read

    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise _invalid(str(file), f"cannot be read: {problem}") from problem
    values: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            _flatten(key, typing.cast("dict[str, Any]", value), values)
        else:
            values[key] = value
    unknown = sorted(
        name for name in values if name not in _FIELDS and not name.startswith("server_")
    )
    if unknown:
        raise _invalid(unknown[0], f"in {file} is not a setting; `headgate config view` lists them")
    return values


def _flatten(prefix: str, table: Mapping[str, Any], into: dict[str, Any]) -> None:
    for key, value in table.items():
        name = f"{prefix}_{key}"
        if isinstance(value, dict):
            _flatten(name, typing.cast("dict[str, Any]", value), into)
        else:
            into[name] = value


def _parse(name: str, raw: Any) -> Any:
    """Turn text into the type of a setting; a value of that type stays as it is."""
    kind, _, optional = _TYPES[name].partition(" | ")
    if raw is None:
        if optional:
            return None
        raise _invalid(_VARIABLES[name], "needs a value")
    try:
        value = _convert(kind, raw)
    except (TypeError, ValueError):
        raise _invalid(_VARIABLES[name], f"must be {_EXPECTED[kind]}, not {raw!r}") from None
    choices = _CHOICES.get(name)
    if choices is None:
        return value
    for choice in choices:
        if choice.lower() == str(value).lower():
            return choice
    raise _invalid(_VARIABLES[name], f"must be one of {', '.join(sorted(choices))}, not {raw!r}")


_EXPECTED: Mapping[str, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "Path": "a path",
}


def _convert(kind: str, raw: Any) -> Any:
    match kind:
        case "bool":
            text = str(raw).lower()
            if text not in _TRUE | _FALSE:
                raise ValueError(text)
            return text in _TRUE
        case "int":
            return int(raw)
        case "float":
            return float(raw)
        case "Path":
            return Path(raw).expanduser()
        case _:
            return str(raw)


def _invalid(field: str, description: str) -> errors.InvalidArgument:
    return errors.InvalidArgument.of(field, description)
