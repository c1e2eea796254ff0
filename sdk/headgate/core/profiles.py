"""Profiles: sets of settings with a name, of which one is in use."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headgate.core import errors

__all__ = ["BUILT_IN", "DEFAULT_PROFILE", "PROFILES_FILE", "Profiles", "load", "save"]

PROFILES_FILE = "profiles.toml"
#: What is in use until another one is chosen.
DEFAULT_PROFILE = "ephemeral"
#: Profiles that are there without a file; one of the same name in the file takes its place.
BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "ephemeral": {},  # no server is configured: the embedded one
    "local": {"HEADGATE_API_URL": "http://127.0.0.1:4200"},
    "test": {
        "HEADGATE_LOGGING_LEVEL": "DEBUG",
        "HEADGATE_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    },
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """All profiles.

    Attributes:
        active: The name of the one in use where nothing else is said.
        saved: Those in the file: names of variables and their values, by the profile's name.
    """

    active: str = DEFAULT_PROFILE
    saved: Mapping[str, Mapping[str, str]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, str]]
    )

    @property
    def names(self) -> list[str]:
        """The names of all, those that are built in included."""
        return sorted({*BUILT_IN, *self.saved})

    def get(self, name: str) -> Mapping[str, str]:
        """Return the settings of one.

        Raises:
            NotFound: There is none of this name.
        """
        found = self.saved.get(name)
        if found is None:
            found = BUILT_IN.get(name)
        if found is None:
            raise errors.NotFound(
                "profile",
                name,
                f"There is no profile {name!r}; `headgate profile ls` lists those that there are, "
                f"`headgate profile create {name}` makes it.",
            )
        return found

    def with_profile(self, name: str, values: Mapping[str, str]) -> Profiles:
        """Return them with one added, or in the place of the one of its name.

        Raises:
            InvalidArgument: The name is none.
        """
        if _NAME.fullmatch(name) is None:
            raise errors.InvalidArgument.of(
                "name", f"{name!r} is no name for a profile; use letters, digits, '.', '_' and '-'."
            )
        return dataclasses.replace(self, saved={**self.saved, name: dict(values)})

    def without(self, name: str) -> Profiles:
        """Return them without one; one that is built in comes back as it was at first."""
        return dataclasses.replace(
            self, saved={other: values for other, values in self.saved.items() if other != name}
        )

    def using(self, name: str) -> Profiles:
        """Return them with another one in use.

        Raises:
            NotFound: There is none of this name.
        """
        self.get(name)
        return dataclasses.replace(self, active=name)


def load(path: Path) -> Profiles:
    """Read the profiles; those that are built in where there is no file.

    Raises:
        InvalidArgument: The file cannot be read.
    """
    try:
        modified = os.stat(path).st_mtime_ns
    except OSError:
        return Profiles()
    return _load(str(path), modified)


@functools.lru_cache(maxsize=16)
def _load(path: str, modified: int) -> Profiles:
    """Read a version of the file once."""
    import tomllib  # only where there is a file to read

    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise errors.InvalidArgument.of(
            path, f"cannot be read: {problem}; mend it, or move it away."
        ) from problem
    tables = _table(document.get("profiles", {}), "profiles", path)
    saved = {
        str(name): _texts(_table(values, f"profiles.{name}", path))
        for name, values in tables.items()
    }
    return Profiles(active=str(document.get("active") or DEFAULT_PROFILE), saved=saved)


def _table(value: Any, name: str, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        msg = f"has {name} = {value!r}, which is no table; write [profiles.a-name] above settings."
        raise errors.InvalidArgument.of(path, msg)
    return typing.cast("Mapping[str, Any]", value)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(typing.cast("Any", value))
    return str(value)


def save(path: Path, profiles: Profiles) -> None:
    """Write the profiles, all at once or not at all; for their owner alone: some hold tokens."""
    lines = [f"active = {_quoted(profiles.active)}"]
    for name, values in sorted(profiles.saved.items()):
        lines += ["", f"[profiles.{_quoted(name)}]"]
        lines += [f"{variable} = {_quoted(value)}" for variable, value in sorted(values.items())]
    import tempfile  # only who writes

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp makes files that nobody else may read.
    handle, written = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(written, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(written)
        raise


def _quoted(text: str) -> str:
    """Write a basic string of TOML, which escapes what JSON does, and DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
