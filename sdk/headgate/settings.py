"""What can be set from outside, and where it is read from.

A setting named ``logging_level`` is the variable ``HEADGATE_LOGGING_LEVEL``. What the environment
does not say is looked for in ``.env``, ``headgate.toml`` and ``pyproject.toml`` of the working
folder, then in the profile in use, then in ``headgate.toml`` of the home folder; see
``headgate.core.configuration``. This module loads nothing heavy, for everything that starts a flow
passes here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from headgate._explaining import explained
from headgate._setting_values import Pairs, invalid, parse, to_text
from headgate.core import configuration, errors, profiles
from headgate.core.configuration import SETTINGS_FILE

__all__ = [
    "SECRETS",
    "SETTINGS_FILE",
    "Profile",
    "Setting",
    "Settings",
    "Sourced",
    "current",
    "environment",
    "get_current_settings",
    "load_profiles",
    "sources",
    "temporary_settings",
    "use_profile",
]

_PREFIX = configuration.PREFIX
#: Settings that commands show only when they are asked to.
SECRETS = frozenset({"api_key", "api_auth_string", "client_custom_headers"})
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
#: Settings with few legal values.
_CHOICES: Mapping[str, frozenset[str]] = {
    "logging_level": _LEVELS,
    "logging_to_api_when_missing_flow": frozenset({"warn", "error", "ignore"}),
    "progress": frozenset({"auto", "always", "never"}),
    "flow_run_execute_sigterm_behavior": frozenset({"crash", "reschedule"}),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of the SDK and the engine, with their defaults.

    Attributes:
        api_url: The server, e.g. ``http://127.0.0.1:4200`` or ``unix:///run/headgate.sock``.
            None: the embedded server.
        home: Where Headgate keeps its files.
        api_auth_string: ``user:password``, sent with every call; for a proxy that wants it.
        api_key: The token that is sent with every call and stream.
        api_tls_ca_file: Certificates (PEM) that the server's must be signed by. None: those that
            gRPC knows.
        api_tls_cert_file: Our own certificate (PEM), for a server that wants one.
        api_tls_key_file: The key of that certificate (PEM).
        api_tls_server_name: The name that the server's certificate must have, where it is not the
            one in the address.
        client_custom_headers: Metadata that is sent with every call and stream.
        client_max_retries: How often a unary call is tried again that the server could not take.
        client_request_timeout_seconds: The deadline of one unary call.
        client_retry_extra_codes: Further codes of gRPC for which a call is tried again, by commas:
            ``DEADLINE_EXCEEDED,ABORTED``.
        client_retry_jitter_factor: How much the waiting between them varies, as a part of it.
        client_server_version_check_enabled: Whether a server that is older than this client, or of
            another contract, is warned of.
        events_worker_max_queue_size: How many events may wait to be sent; when there are more, the
            oldest are dropped. 0: any number.
        flows_default_retries: Retries of flows that do not say.
        flows_default_retry_delay_seconds: Their waiting time.
        flow_run_execute_sigterm_behavior: What SIGTERM without a request to cancel makes of a
            deployed run: ``crash`` ends it, ``reschedule`` sends it back to its queue. None:
            ``reschedule`` where the flow is durable, else ``crash``.
        logging_colors: Whether lines on a terminal are coloured.
        logging_config_path: A file for ``logging.config.dictConfig`` that replaces the set-up of
            the loggers. None: ``logging.yml`` in the home folder, if there is one.
        logging_extra_loggers: Other loggers whose lines are kept with the run, by commas.
        logging_level: The level from which lines are written and sent.
        logging_log_prints: Whether ``print`` in flows and tasks that do not say is logged.
        logging_to_api_enabled: Whether lines of runs are sent to the server.
        logging_to_api_max_log_size: Where a message is cut, in characters.
        logging_to_api_when_missing_flow: What happens to a line of an extra logger outside of
            any run: ``warn``, ``error`` or ``ignore``.
        progress: Whether a long ``map`` shows how far it is: ``auto``, if the standard error is a
            terminal; ``always``; ``never``.
        results_default_serializer: How results are written: ``pickle``, ``json``, ...
        results_default_storage_block: Where results are kept, as ``type/name`` of a saved block.
        results_local_storage_path: The folder for results where there is no such block, nor one
            that the server names (``headgate result-storage set``). None: ``storage`` in the home
            folder.
        results_payload_codec: What goes over parameters and results before they leave the process,
            as ``my_module:MyCodec``; see ``headgate.payloads``.
        results_persist_by_default: Whether results of flows and tasks that do not say are kept.
        server_ephemeral_enabled: Whether the embedded server may be started.
        server_ephemeral_idle_timeout_seconds: After how long without work it ends itself.
        server_ephemeral_startup_timeout_seconds: How long its start may take.
        tasks_default_no_cache: Whether tasks that do not say have no cache policy.
        tasks_default_persist_result: Whether results of tasks that do not say are kept. None: as
            their flow has it.
        tasks_default_retries: Retries of tasks that do not say.
        tasks_default_retry_delay_seconds: Their waiting time.
        tasks_disable_caching: Whether no task looks for a cached result.
        tasks_refresh_cache: Whether tasks that do not say run again, and replace cached results.
        tasks_runner_process_pool_max_workers: Processes of a ``ProcessPoolTaskRunner`` that does
            not say. None: as many as the machine has processors.
        tasks_runner_thread_pool_max_workers: Threads of a ``ThreadPoolTaskRunner`` that does not
            say. None: as many as there are tasks.
    """

    api_url: str | None = None
    api_auth_string: str | None = None
    api_key: str | None = None
    api_tls_ca_file: Path | None = None
    api_tls_cert_file: Path | None = None
    api_tls_key_file: Path | None = None
    api_tls_server_name: str | None = None
    home: Path = Path("~/.headgate")
    client_custom_headers: Pairs = ()
    client_max_retries: int = 5
    client_request_timeout_seconds: float = 60.0
    client_retry_extra_codes: str = ""
    client_retry_jitter_factor: float = 0.2
    client_server_version_check_enabled: bool = True
    events_worker_max_queue_size: int = 10_000
    flows_default_retries: int = 0
    flows_default_retry_delay_seconds: float = 0.0
    flow_run_execute_sigterm_behavior: str | None = None
    logging_colors: bool = True
    logging_config_path: Path | None = None
    logging_extra_loggers: str = ""
    logging_level: str = "INFO"
    logging_log_prints: bool = False
    logging_to_api_enabled: bool = True
    logging_to_api_max_log_size: int = 1_000_000
    logging_to_api_when_missing_flow: str = "warn"
    progress: str = "auto"
    results_default_serializer: str = "pickle"
    results_default_storage_block: str | None = None
    results_local_storage_path: Path | None = None
    results_payload_codec: str | None = None
    results_persist_by_default: bool = False
    server_ephemeral_enabled: bool = True
    server_ephemeral_idle_timeout_seconds: float = 300.0
    server_ephemeral_startup_timeout_seconds: float = 20.0
    tasks_default_no_cache: bool = False
    tasks_default_persist_result: bool | None = None
    tasks_default_retries: int = 0
    tasks_default_retry_delay_seconds: float = 0.0
    tasks_disable_caching: bool = False
    tasks_refresh_cache: bool = False
    tasks_runner_process_pool_max_workers: int | None = None
    tasks_runner_thread_pool_max_workers: int | None = None

    def __getattr__(self, group: str) -> Any:
        """Return the settings of a group, so that ``settings.logging.level`` works, too."""
        return _Group(self, group)


class _Group:
    """Settings whose names begin alike: ``settings.tasks`` and ``settings.tasks.runner``."""

    def __init__(self, settings: Settings, group: str) -> None:
        if group.startswith("_") or not any(name.startswith(f"{group}_") for name in _FIELDS):
            msg = f"There is no setting {group!r}, nor a group of that name."
            raise AttributeError(msg)
        self._settings, self._group = settings, group

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, f"{self._group}_{name}")


class Setting(str):
    """The name of a setting, ``HEADGATE_LOGGING_LEVEL``, as ``temporary_settings`` takes it."""

    __slots__ = ()

    def value(self) -> Any:
        """Return what it is set to now."""
        return getattr(current(), _NAMES[self])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """One setting and where its value comes from.

    Attributes:
        name: ``logging_level``.
        variable: ``HEADGATE_LOGGING_LEVEL``.
        value: What it is set to.
        source: ``default``, the variable, the path of a file, ``profile 'local'`` or ``code``.
    """

    name: str
    variable: str
    value: Any
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A set of settings with a name.

    Attributes:
        name: Its name.
        settings: Variables and their values, as text.
    """

    name: str
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
_VARIABLES = {name: _PREFIX + name.upper() for name in _FIELDS}
_NAMES = {variable: name for name, variable in _VARIABLES.items()}
_DEFAULTS: Mapping[str, Any] = {name: field.default for name, field in _FIELDS.items()}
_TYPES: Mapping[str, str] = {name: str(field.type) for name, field in _FIELDS.items()}
#: The names of the variables as Python keeps them: bytes, on POSIX.
_KEYS: tuple[Any, ...] = tuple(map(os.fsencode, _NAMES) if hasattr(os.environ, "_data") else _NAMES)
#: Settings of the other parts of Headgate, which may stand in the same files.
_OTHERS = ("server_", "runner_")

_overrides: dict[str, Any] = {}
#: The profile of `use_profile`: by name, or with its settings.
_profile: str | Profile | None = None
_cache: tuple[object, Settings] | None = None


def current() -> Settings:
    """Return the settings that hold now.

    The environment and the files are looked at on every call, which takes some microseconds: read
    once per run, not once per task.

    Raises:
        InvalidArgument: A value does not fit its setting; the setting is named.
        NotFound: There is no profile of the name that was chosen.
    """
    global _cache
    key = (
        *map(_environ().get, _KEYS),
        _profile,
        configuration.fingerprint(_home()),
        *_overrides.items(),
    )
    if _cache is not None and _cache[0] == key:
        return _cache[1]
    made = Settings(**{item.name: item.value for item in sources()})
    _cache = (key, made)
    return made


get_current_settings = current


def _environ() -> Mapping[Any, Any]:
    """Return the environment as Python keeps it: a tenth of the price of asking it by names."""
    return getattr(os.environ, "_data", os.environ)


def sources() -> list[Sourced]:
    """Return every setting with its value and where that comes from, by name.

    Raises:
        InvalidArgument: A value does not fit its setting, or a file has a name that is none.
        NotFound: There is no profile of the name that was chosen.
    """
    layers = _layers()
    for name, layer in configuration.unknown_names(layers, _is_setting):
        if layer.strict:
            raise invalid(name, f"in {layer.source} is not a setting; {_remedy(name)}")
    return [_sourced(name, layers) for name in sorted(_FIELDS)]


def _sourced(name: str, layers: list[configuration.Layer]) -> Sourced:
    variable = _VARIABLES[name]
    raw = os.environ.get(variable)
    value, source = _DEFAULTS[name], "default"
    if name in _overrides:
        value, source = _overrides[name], "code"
    elif raw:
        value, source = parse_setting(name, raw), variable
    else:
        for layer in layers:
            if layer.has(name):
                value, source = _parsed(name, layer), layer.source
                break
    if name == "home":
        value = Path(value).expanduser().absolute()
    return Sourced(name=name, variable=variable, value=value, source=source)


def _parsed(name: str, layer: configuration.Layer) -> Any:
    try:
        return parse_setting(name, layer.get(name))
    except errors.InvalidArgument as problem:
        wrong = problem.violations[0].description
        raise invalid(_VARIABLES[name], f"{wrong}, as {layer.source} has it") from None


def _remedy(name: str) -> str:
    known = (*_FIELDS, "home", "profile", "profiles_path")
    near = configuration.nearest(name.lower().removeprefix("headgate_"), known)
    listed = "`headgate config view` lists them"
    return listed if near is None else f"did you mean {near}? {listed}"


def misspelled() -> list[str]:
    """Say which variables, and names in profiles, are probably meant for a setting."""
    found = list(configuration.misspelled(_FIELDS, _is_known_variable))
    for name, layer in configuration.unknown_names(_layers(), _is_known_variable):
        near = None if layer.strict else configuration.nearest(name, _FIELDS)
        if near is not None:
            found.append(f"{layer.source}: {name} is no setting; did you mean {near}?")
    return found


def _is_known_variable(name: str) -> bool:
    # Those of single values of the set-up of the loggers: see headgate.logging.configuration.
    of_loggers = ("filters_", "formatters_", "handlers_", "loggers_", "root_")
    return _is_setting(name) or name.removeprefix("logging_").startswith(of_loggers)


def _layers() -> list[configuration.Layer]:
    chosen = _profile
    if not isinstance(chosen, Profile):
        return configuration.layers(chosen, _home())
    layers = configuration.layers(profiles.DEFAULT_PROFILE, _home())
    document = {_NAMES.get(key, key): value for key, value in chosen.settings.items()}
    given = configuration.Layer(f"profile {chosen.name!r}", document, False)
    return [given if layer.source.startswith("profile ") else layer for layer in layers]


def _home() -> str | None:
    home = _overrides.get("home")
    return str(home) if home is not None else None


def _is_setting(name: str) -> bool:
    return name in _FIELDS or (name.startswith(_OTHERS) and not name.startswith("server_ephemeral"))


def name_of(key: str) -> str:
    """Return the name of a setting that was given as ``logging_level`` or as its variable.

    Raises:
        InvalidArgument: There is no such setting.
    """
    name = _NAMES.get(str(key).upper(), str(key).lower())
    if name not in _FIELDS:
        raise invalid(key, f"is not a setting; {_remedy(name)}")
    return name


def parse_setting(name: str, raw: Any) -> Any:
    """Turn text into the value of a setting; a value stays as it is.

    Raises:
        InvalidArgument: It does not fit.
    """
    return parse(_VARIABLES[name], _TYPES[name], raw, _CHOICES.get(name))


def check(key: str, value: str) -> str:
    """Check a value for a setting, of whatever part of Headgate; return the setting's variable.

    Raises:
        InvalidArgument: There is no such setting, or the value does not fit it.
    """
    name = key.upper().removeprefix(_PREFIX).lower()
    if name in _FIELDS:
        parse_setting(name, value)
    elif not _is_setting(name):
        raise invalid(key, f"is not a setting; {_remedy(name)}")
    return _PREFIX + name.upper()


def problems() -> list[str]:
    """Say everything that is wrong with what is set, in the environment and in files."""
    found = list(configuration.misspelled(_FIELDS, _is_known_variable))
    try:
        layers = _layers()
    except errors.ControlPlaneError as problem:
        return [str(problem)]
    for name, layer in configuration.unknown_names(layers, _is_setting):
        near = configuration.nearest(name, _FIELDS)
        remedy = f"; did you mean {near}?" if near else "."
        found.append(f"{layer.source}: {name} is not a setting{remedy}")
    for name, variable in _VARIABLES.items():
        given = [(variable, os.environ.get(variable) or None)]
        given += [(layer.source, layer.get(name)) for layer in layers]
        for source, raw in given:
            if raw is not None:
                try:
                    parse_setting(name, raw)
                except errors.InvalidArgument as problem:
                    found.append(f"{source}: {problem}")
    return found


@explained
@contextlib.contextmanager
def temporary_settings(
    updates: Mapping[str, Any] | None = None,
    set_defaults: Mapping[str, Any] | None = None,
    restore_defaults: Iterable[str] | None = None,
) -> Generator[Settings]:
    """Change settings of this process for the length of a ``with`` block.

    Args:
        updates: New values by name, ``logging_level`` or ``HEADGATE_LOGGING_LEVEL``.
        set_defaults: The same, for those that nothing else sets.
        restore_defaults: Names of settings that get their default, whatever sets them.

    Yields:
        The settings that hold within.

    Raises:
        InvalidArgument: There is no such setting, or the value does not fit it.
    """
    global _overrides
    for option, given in (("updates", updates), ("set_defaults", set_defaults)):
        if given is not None and not isinstance(given, Mapping):
            msg = f"{option} is {given!r}; use a dictionary of settings by name."
            raise errors.OptionTypeError(msg)
    if restore_defaults is not None and not isinstance(restore_defaults, Iterable):
        msg = f"restore_defaults is {restore_defaults!r}; use a list of names of settings."
        raise errors.OptionTypeError(msg)
    changed: dict[str, Any] = {}
    if set_defaults:
        unset = {item.name for item in sources() if item.source == "default"}
        found = {name_of(key): value for key, value in set_defaults.items()}
        changed = {n: parse_setting(n, value) for n, value in found.items() if n in unset}
    changed.update({(n := name_of(key)): _DEFAULTS[n] for key in restore_defaults or ()})
    for key, value in (updates or {}).items():
        name = name_of(key)
        changed[name] = parse_setting(name, value)
    before = _overrides
    _overrides = {**before, **changed}
    try:
        yield current()
    finally:
        _overrides = before


@explained
@contextlib.contextmanager
def use_profile(
    profile: str | Profile,
    *,
    override_environment_variables: bool = False,
    include_current_context: bool = True,
) -> Generator[Settings]:
    """Use the settings of a profile in this process for the length of a ``with`` block.

    Args:
        profile: Its name, or a profile made here.
        override_environment_variables: Whether it also wins against the environment.
        include_current_context: Whether surrounding ``temporary_settings`` go on to hold.

    Yields:
        The settings that hold within.

    Raises:
        NotFound: There is no such profile.
        InvalidArgument: One of its values does not fit its setting.
    """
    global _overrides, _profile
    before = _overrides, _profile
    if not isinstance(profile, str | Profile):
        msg = f"profile is {profile!r}; use the name of a profile."
        raise errors.OptionTypeError(msg)
    values = profile.settings if isinstance(profile, Profile) else load_profiles().get(profile)
    held = dict(_overrides) if include_current_context else {}
    if override_environment_variables:
        known = {_NAMES[key]: value for key, value in values.items() if key in _NAMES}
        held = {name: parse_setting(name, value) for name, value in known.items()} | held
    _overrides, _profile = held, profile
    try:
        yield current()
    finally:
        _overrides, _profile = before


def chosen_profile() -> str:
    """Return the name of the profile in use here."""
    match _profile:
        case None:
            return configuration.active_profile(_home())
        case Profile():
            return _profile.name
        case _:
            return _profile


def load_profiles() -> profiles.Profiles:
    """Return all profiles, those that are built in included."""
    return profiles.load(configuration.profiles_path(_home()))


def environment() -> dict[str, str]:
    """Return the variables that give another process the settings that hold here.

    Only those that differ from the defaults; ``HEADGATE_HOME`` always.
    """
    variables: dict[str, str] = {}
    if isinstance(_profile, str):
        # For what only the other process knows: a profile may hold settings of a server, too.
        variables["HEADGATE_PROFILE"] = _profile
    for item in sources():
        if item.value is not None and (item.source != "default" or item.name == "home"):
            variables[item.variable] = to_text(item.value)
    return variables


def __getattr__(name: str) -> Any:
    """Return ``HEADGATE_LOGGING_LEVEL`` and the like, which ``temporary_settings`` takes."""
    if name in _NAMES:
        return Setting(name)
    msg = f"module 'headgate.settings' has no attribute {name!r}"
    raise AttributeError(msg)
