"""Where settings are written down, beside the environment: files of a project, profiles, the home.

From the strongest to the weakest:

1. variables of the environment (whoever reads a setting looks there first);
2. ``.env`` in the working folder: lines ``HEADGATE_LOGGING_LEVEL=DEBUG``;
3. ``headgate.toml`` in the working folder: ``level`` in the table ``[logging]``;
4. ``pyproject.toml`` in the working folder: the same below ``[tool.headgate]``;
5. the profile in use, in ``profiles.toml`` in the home folder;
6. ``headgate.toml`` in the home folder, which holds for all profiles.

Names here are those of fields, ``logging_level``. Client and server read by this module, each
knowing its own settings only.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from headgate.core import errors, profiles

__all__ = [
    "PREFIX",
    "SETTINGS_FILE",
    "Layer",
    "active_profile",
    "fingerprint",
    "home",
    "layers",
    "misspelled",
    "nearest",
    "profiles_path",
    "unknown_names",
]

PREFIX = "HEADGATE_"
SETTINGS_FILE = "headgate.toml"
_DOTENV_FILE = ".env"
_PROJECT_FILE = "pyproject.toml"
_HOME_DEFAULT = "~/.headgate"
#: How alike two names are of which one is taken for a slip of the pen, of 1.
_ALIKE = 0.8
#: What says which profile is in use, and where they are.
_PROFILE, _PROFILES_PATH, _HOME = "profile", "profiles_path", "home"
_EARLY = (_PROFILE, _PROFILES_PATH, _HOME)

_Document = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place.

    Attributes:
        source: The place, for people: a path, or ``profile 'local'``.
        document: The settings, in nested tables or by their full names.
        strict: Whether a name in it that nobody knows is a mistake; files that others write in,
            too, are not.
    """

    source: str
    document: _Document
    strict: bool

    def has(self, name: str) -> bool:
        """Whether it sets this."""
        return _find(self.document, name) is not None

    def get(self, name: str) -> Any:
        """Return what it sets a name to; None if it does not."""
        return _find(self.document, name)

    def names(self, is_setting: Callable[[str], bool]) -> Iterator[str]:
        """Name what it sets; a table that is itself a setting counts as one."""
        return _names(self.document, "", is_setting)


def layers(profile: str | None = None, home: str | None = None) -> list[Layer]:
    """Return what the files say, the strongest first.

    Args:
        profile: The profile to use. Default: the active one.
        home: The home folder. Default: the configured one.

    Raises:
        InvalidArgument: A file cannot be read, or there is no such profile; it is named.
    """
    folder = _home(home)
    found = _project_layers()
    name = profile or active_profile(home)
    found.append(_profile_layer(name, profiles_path(home)))
    file = str(folder / SETTINGS_FILE)
    if (document := _document(file, _modified(file))) is not None:
        found.append(Layer(file, document, True))
    return found


def fingerprint(home: str | None = None) -> tuple[object, ...]:
    """Return what changes when any of the files does, at the price of looking at each."""
    get = os.environ.get
    names = _project_file_names()
    project = (names, *map(_modified, names))
    said = (get("HEADGATE_HOME"), get("HEADGATE_PROFILES_PATH"), get("HEADGATE_PROFILE"))
    others = _files_beyond(home, said, project)
    return (said, project, others, *map(_modified, others))


@functools.lru_cache(maxsize=16)
def _files_beyond(home: str | None, *_changes: object) -> tuple[str, str]:
    """Name the files that are found by what the project says; again when that may have changed."""
    return str(profiles_path(home)), str(_home(home) / SETTINGS_FILE)


def home() -> Path:
    """Return the home folder: where Headgate keeps its files."""
    return _home(None).absolute()


def active_profile(home: str | None = None) -> str:
    """Return the name of the profile in use: ``HEADGATE_PROFILE``, else the one made active."""
    chosen = _early(_PROFILE)
    return chosen or profiles.load(profiles_path(home)).active


def profiles_path(home: str | None = None) -> Path:
    """Return the file with the profiles; ``HEADGATE_PROFILES_PATH`` moves it."""
    given = _early(_PROFILES_PATH)
    return Path(given).expanduser() if given else _home(home) / profiles.PROFILES_FILE


def unknown_names(found: list[Layer], is_setting: Callable[[str], bool]) -> list[tuple[str, Layer]]:
    """Return the names in layers that are no settings, with the layer that has them."""
    return [
        (name, layer)
        for layer in found
        for name in layer.names(is_setting)
        if not is_setting(name) and name not in _EARLY
    ]


def misspelled(known: Collection[str], is_setting: Callable[[str], bool]) -> Iterator[str]:
    """Say which variables of the environment are probably meant for a setting, and are none.

    Variables that are near to none are left alone: other tools may have the prefix, too.

    Args:
        known: The names of settings.
        is_setting: Whether a name is one of somebody's.
    """
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable.startswith(f"{PREFIX}_"):
            continue
        name = _field(variable)
        if name in _EARLY or is_setting(name):
            continue
        meant = nearest(name, (*known, *_EARLY))
        if meant is not None:
            yield (
                f"The variable {variable} is no setting and has no effect; "
                f"did you mean {PREFIX}{meant.upper()}?"
            )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the setting that a name was probably meant to be; None if it is like none."""
    import difflib  # only who errs pays

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=_ALIKE)
    return near[0] if near else None


# --- Places ---------------------------------------------------------------------------------


def _early(name: str) -> str:
    """Return a setting that says where others are: from the environment or the project only."""
    given = os.environ.get(PREFIX + name.upper())
    if given:
        return given
    for layer in _project_layers():
        value = layer.get(name)
        if value:
            return str(value)
    return ""


def _home(given: str | None) -> Path:
    return _expanded(given or _early(_HOME) or _HOME_DEFAULT)


@functools.lru_cache(maxsize=16)
def _expanded(path: str) -> Path:
    return Path(path).expanduser()


def _project_layers() -> list[Layer]:
    found: list[Layer] = []
    for name in _project_file_names():
        document = _document(name, _modified(name))
        if document:
            found.append(Layer(name, document, not name.endswith(_DOTENV_FILE)))
    return found


def _project_file_names() -> tuple[str, ...]:
    try:
        folder = os.getcwd()
    except FileNotFoundError:  # the working folder was removed
        return ()
    return _files_in(folder)


@functools.lru_cache(maxsize=16)
def _files_in(folder: str) -> tuple[str, ...]:
    return tuple(os.path.join(folder, n) for n in (_DOTENV_FILE, SETTINGS_FILE, _PROJECT_FILE))


def _profile_layer(name: str, path: Path) -> Layer:
    known = profiles.load(path)
    values = known.get(name)
    document = {_field(variable): value for variable, value in values.items()}
    return Layer(f"profile {name!r}", document, False)


def _field(variable: str) -> str:
    return variable.upper().removeprefix(PREFIX).lower()


# --- Files ----------------------------------------------------------------------------------


def _modified(file: str) -> int | None:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return None


@functools.lru_cache(maxsize=64)
def _document(path: str, modified: int | None) -> _Document | None:
    """Read a file; once per version of it. None if there is none."""
    if modified is None:
        return None
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        match file.name:
            case ".env":
                return _dotenv(text)
            case "pyproject.toml":
                return _project_table(text)
            case _:
                return _toml(text)
    except (OSError, ValueError) as problem:
        raise errors.InvalidArgument.of(
            path, f"cannot be read: {problem}; mend it, or move it away."
        ) from problem


def _toml(text: str) -> _Document:
    import tomllib  # only where there is a file to read

    return tomllib.loads(text)


def _project_table(text: str) -> _Document:
    if "tool.headgate" not in text:
        return {}  # as in nearly all projects; they do not pay for a parser
    return _toml(text).get("tool", {}).get("headgate", {})


def _dotenv(text: str) -> _Document:
    """Read lines ``NAME=value``; only those of Headgate."""
    found: dict[str, Any] = {}
    for raw in text.splitlines():
        line = raw.strip().removeprefix("export ").lstrip()
        name, equals, value = line.partition("=")
        name = name.strip()
        if equals and name.startswith(PREFIX) and not name.startswith(f"{PREFIX}_"):
            text_of_value = _unquoted(value.strip())
            # An empty variable is one that is not set, as in the environment.
            if text_of_value:
                found[_field(name)] = text_of_value
    return found


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in ("'", '"') and quote in value[1:]:
        return value[1 : value.index(quote, 1)]
    return value.split(" #", 1)[0].rstrip()


# --- Names ----------------------------------------------------------------------------------


def _find(document: _Document, name: str) -> Any:
    """Find ``logging_level`` under that name, or as ``level`` in ``logging``, and so on."""
    if name in document:
        return document[name]
    for key, value in document.items():
        if isinstance(value, dict) and name.startswith(f"{key}_"):
            found = _find(typing.cast("_Document", value), name[len(key) + 1 :])
            if found is not None:
                return found
    return None


def _names(document: _Document, prefix: str, is_setting: Callable[[str], bool]) -> Iterator[str]:
    for key, value in document.items():
        name = prefix + key
        if isinstance(value, dict) and not is_setting(name):
            yield from _names(typing.cast("_Document", value), f"{name}_", is_setting)
        else:
            yield name
