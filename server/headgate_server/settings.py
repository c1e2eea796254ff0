"""The server's settings: arguments, ``HEADGATE_SERVER_*`` in the environment, files.

The files are those in which clients find theirs: see ``headgate.core.configuration``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pydantic
import pydantic_settings

from headgate.core import configuration, homes
from headgate_server.services import encryption
from headgate_server.storage import holding

PREFIX = "HEADGATE_SERVER_"


class Settings(pydantic_settings.BaseSettings):
    """How the server runs. Times are in seconds.

    Attributes:
        host: The address to listen on.
        port: The TCP port; 0 lets the system choose one.
        unix_socket: A path to listen on. Where it is given, host and port count only if at
            least one of them is given, too.
        database_url: ``sqlite:///path`` (default: ``headgate.db`` in the home folder),
            ``postgresql://...``, or ``memory://`` for a server that forgets.
        embedded: Whether a run started the server for want of another. ``headgate server
            start`` takes over from such a one.
        migrate_on_start: Whether the schema is brought up to date.
        sqlite_full_sync: Whether each commit to SQLite waits for the disk, so that it survives a
            power cut and not only the death of any process. PostgreSQL has settings of its own.
        log_level: DEBUG, INFO, WARNING or ERROR.
        idle_timeout_seconds: End the server when nobody has used it for this long.
        lease_ttl_seconds: How long leases live without a heartbeat.
        lease_margin_seconds: How much later than a runner the server lets a lease end.
        beat_interval_seconds: How often runners and engines are asked to beat.
        offer_ttl_seconds: How long an offer waits to be accepted.
        cancel_grace_seconds: How long a run may take to stop when it is cancelled.
        late_after_seconds: When a run that nobody took is called Late.
        late_interval_seconds: How often late runs are looked for.
        pause_interval_seconds: How often expired pauses are looked for.
        cancel_interval_seconds: How often overdue cancellations are looked for.
        scheduler_interval_seconds: How often schedules are topped up.
        heartbeat_events_interval_seconds: How often an event tells of each flow run that is still
            executed, ``headgate.flow-run.heartbeat``. 0: never. No run needs them to be found
            lost: leases see to that.
        encryption_key: What blocks are encrypted with: 32 random bytes in URL-safe base64. Several
            by commas: the first encrypts, all decrypt. Default: a file beside an SQLite
            database, for this user alone; with PostgreSQL, in the database.
        shutdown_grace_seconds: How long calls may take to finish when the server stops.
    """

    model_config = pydantic_settings.SettingsConfigDict(env_prefix=PREFIX, extra="forbid")

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=4200, ge=0, le=65535)
    unix_socket: Path | None = None
    database_url: str = ""
    embedded: bool = False
    migrate_on_start: bool = True
    sqlite_full_sync: bool = False
    log_level: str = pydantic.Field(default="INFO", pattern="(?i)^(debug|info|warning|error)$")
    idle_timeout_seconds: float | None = pydantic.Field(default=None, gt=0)
    lease_ttl_seconds: float = pydantic.Field(default=30, gt=0)
    lease_margin_seconds: float = pydantic.Field(default=1, ge=0)
    beat_interval_seconds: float = pydantic.Field(default=5, gt=0)
    offer_ttl_seconds: float = pydantic.Field(default=10, gt=0)
    cancel_grace_seconds: float = pydantic.Field(default=30, ge=0)
    late_after_seconds: float = pydantic.Field(default=15, ge=0)
    late_interval_seconds: float = pydantic.Field(default=5, gt=0)
    pause_interval_seconds: float = pydantic.Field(default=5, gt=0)
    cancel_interval_seconds: float = pydantic.Field(default=1, gt=0)
    scheduler_interval_seconds: float = pydantic.Field(default=60, gt=0)
    heartbeat_events_interval_seconds: float = pydantic.Field(default=0, ge=0)
    encryption_key: pydantic.SecretStr = pydantic.SecretStr("")
    shutdown_grace_seconds: float = pydantic.Field(default=2, ge=0)

    @pydantic.field_validator("encryption_key")
    @classmethod
    def _keys(cls, key: pydantic.SecretStr) -> pydantic.SecretStr:
        encryption.parse_keys(key.get_secret_value())
        return key

    @pydantic.field_validator("unix_socket")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path is not None else None

    @classmethod
    def read(cls, **given: Any) -> Settings:
        """Make the settings of what was given, of the environment, and of files."""
        values = _written_down()
        if given.get("embedded"):
            # It listens where those look who know of no server, and nowhere else.
            values = {name: values[name] for name in values.keys() - _PLACES}
        return cls(**{**values, **given})

    @property
    def database(self) -> str:
        """The URL of the database, with the default filled in."""
        return self.database_url or _default_database()

    @property
    def database_file(self) -> Path | None:
        """The file of the database; None where it is none."""
        return holding.database_file(self.database)

    @property
    def key_file(self) -> Path | None:
        """Where an SQLite database has the key that encrypts blocks; None for others."""
        file = self.database_file
        return file.with_name(f"{file.name}.key") if file is not None else None

    @property
    def home_socket(self) -> Path | None:
        """Where processes of this user look for the server of their default database.

        None for a server of another database.
        """
        default = holding.database_file(_default_database())
        if self.database_file is None or default is None:
            return None
        if self.database_file.resolve() != default.resolve():
            return None
        return homes.socket_path(homes.default_home())

    @property
    def listens_on_tcp(self) -> bool:
        """Whether the server listens on host and port."""
        chosen = {"host", "port"} & self.model_fields_set
        return self.unix_socket is None or bool(chosen)

    def public(self) -> list[tuple[str, str, bool]]:
        """Return name, value as text, and whether it was changed, of every setting.

        The password of the database is masked.
        """
        return [
            (PREFIX + name.upper(), _public_value(name, self), value != field.default)
            for name, field in type(self).model_fields.items()
            for value in [getattr(self, name)]
        ]


def misspelled() -> list[str]:
    """Say which names in the environment and in files are meant for the server, and are none."""
    known = [f"server_{name}" for name in Settings.model_fields]

    def is_known(name: str) -> bool:
        # Clients have settings about the server that they start themselves.
        return name in known or name.startswith("server_ephemeral_")

    found = list(configuration.misspelled(known, is_known))
    for name, layer in configuration.unknown_names(configuration.layers(), is_known):
        if name.startswith("server_"):
            near = configuration.nearest(name, known)
            remedy = f"did you mean {near}?" if near else "take it out."
            found.append(f"{layer.source}: {name} is no setting of the server; {remedy}")
    return found


_PLACES = frozenset({"host", "port", "unix_socket"})


def _written_down() -> dict[str, Any]:
    """Return what files say of settings that the environment leaves open."""
    layers = configuration.layers()
    found: dict[str, Any] = {}
    for name in Settings.model_fields:
        value = next(
            (v for layer in layers if (v := layer.get(f"server_{name}")) is not None), None
        )
        if value is not None and not os.environ.get(PREFIX + name.upper()):
            found[name] = value
    return found


def _default_database() -> str:
    """Return the database that an embedded server in this environment has."""
    given = os.environ.get(f"{PREFIX}DATABASE_URL") or _written_down().get("database_url")
    return given or f"sqlite:///{homes.default_home() / homes.DATABASE_FILE}"


def _public_value(name: str, settings: Settings) -> str:
    value: Any = settings.database if name == "database_url" else getattr(settings, name)
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return mask_password(str(value)) if name == "database_url" else str(value)


def mask_password(url: str) -> str:
    """Replace the password in a URL by asterisks."""
    scheme, separator, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    if not (separator and at and colon):
        return url
    return f"{scheme}://{user}:********@{place}"
