"""Another set-up of the loggers: ``logging.yml``, and variables for single values of it.

The file is what ``logging.config.dictConfig`` takes. ``$HEADGATE_LOGGING_LEVEL`` and other settings
in it are replaced by their values. Each value has a variable, named by the way to it, that takes
its place: ``HEADGATE_LOGGING_HANDLERS_CONSOLE_FORMATTER=json`` is enough to have lines of JSON, for
what the file does not say is as in ``DEFAULT``.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, cast

from headgate import settings
from headgate.core import errors

__all__ = ["DEFAULT", "load_if_wanted", "setup_logging"]

CONFIG_FILE = "logging.yml"
_PREFIX = "HEADGATE_LOGGING_"
_SECTIONS = ("FILTERS", "FORMATTERS", "HANDLERS", "LOGGERS", "ROOT")
_SETTING = re.compile(r"\$\{?(HEADGATE_[A-Z_]+)\}?")

_Table = MutableMapping[str, Any]

#: What holds where there is no file.
DEFAULT: Mapping[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "standard": {"()": "headgate.logging.formatting.ConsoleFormatter"},
        "json": {"()": "headgate.logging.formatting.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "level": "NOTSET",
            "class": "headgate.logging.handlers.ConsoleHandler",
            "formatter": "standard",
        },
        "api": {"level": "NOTSET", "class": "headgate.logging.handlers.APILogHandler"},
    },
    "loggers": {
        "headgate": {
            "level": "${HEADGATE_LOGGING_LEVEL}",
            "handlers": ["console"],
            "propagate": False,
        },
        "headgate.flow_runs": {"level": "NOTSET", "handlers": ["api"]},
        "headgate.task_runs": {"level": "NOTSET", "handlers": ["api"]},
    },
}


def setup_logging(incremental: bool | None = None) -> None:
    """Give the loggers their levels and handlers, by the settings that hold now.

    Args:
        incremental: Whether those that are set up already stay so.
    """
    from headgate.logging import handlers  # it needs this module

    handlers.set_up(force=not incremental)


def load_if_wanted(now: settings.Settings) -> dict[str, Any] | None:
    """Return the set-up for ``dictConfig``; None where nobody asks for another than the usual.

    Raises:
        InvalidArgument: The file cannot be read.
    """
    file = now.logging_config_path or now.home / CONFIG_FILE
    exists = file.is_file()
    if now.logging_config_path is not None and not exists:
        raise errors.InvalidArgument.of(
            "HEADGATE_LOGGING_CONFIG_PATH", f"There is no file {file}; correct or unset it."
        )
    starts = tuple(f"{_PREFIX}{section}_" for section in _SECTIONS)
    if not exists and not any(name.startswith(starts) for name in os.environ):
        return None
    config = _read(file) if exists else copy.deepcopy(dict(DEFAULT))
    _substitute(config, now)
    _override(config, os.environ)
    return config


def _read(file: Path) -> dict[str, Any]:
    import yaml  # only where there is a file to read

    try:
        found: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as problem:
        raise errors.InvalidArgument.of(str(file), f"cannot be read: {problem}") from problem
    if not isinstance(found, dict):
        raise errors.InvalidArgument.of(str(file), "has no mapping for logging.config.dictConfig.")
    return {"version": 1, "disable_existing_loggers": False, **cast("dict[str, Any]", found)}


def _leaves(table: _Table, way: tuple[str, ...] = ()) -> Iterator[tuple[_Table, str, str]]:
    """Yield each value's table, its key there, and the variable that replaces it."""
    for key, value in list(table.items()):
        here = (*way, key)
        if isinstance(value, dict):
            yield from _leaves(cast("_Table", value), here)
        else:
            yield table, key, _PREFIX + re.sub(r"[^A-Z0-9]", "_", "_".join(here).upper())


def _substitute(config: _Table, now: settings.Settings) -> None:
    def value_of(match: re.Match[str]) -> str:
        name = settings.name_of(match[1])
        return str(getattr(now, name))

    for table, key, _ in _leaves(config):
        if isinstance(table[key], str):
            table[key] = _SETTING.sub(value_of, table[key])


def _override(config: _Table, environ: Mapping[str, str]) -> None:
    for table, key, variable in _leaves(config):
        given = environ.get(variable)
        if given:
            before = table[key]
            table[key] = _like(before, given)


def _like(before: Any, text: str) -> Any:
    """Read a variable as the value that it replaces: lists by commas, numbers, true or false."""
    if isinstance(before, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(before, bool):
        return text.strip().lower() in ("1", "true", "yes", "on")
    if isinstance(before, int) and text.strip().isdigit():
        return int(text)
    return text
