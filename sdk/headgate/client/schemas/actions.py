"""What is made and changed, as users of the incumbent describe it to clients.

::

    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="database", limit=5))

Each says which arguments of ours it stands for; those may be given by themselves just as well. In
what changes something, None stays as it is.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from headgate._explaining import explained_class
from headgate.core import errors
from headgate.core.clock import process_clock
from headgate.core.runs import LogRecord

Id = str | UUID


class Action:
    """Something that is to be made or changed."""

    #: The names of our arguments, where they differ.
    _NAMES: ClassVar[Mapping[str, str]] = {}

    def options(self) -> dict[str, Any]:
        """Return the arguments that it stands for."""
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]  # each of them is a dataclass
        values = {field.name: getattr(self, field.name) for field in fields}
        return {
            self._NAMES.get(name, name): value
            for name, value in values.items()
            if value is not None
        }


def given(kind: type[Action], *arguments: object) -> dict[str, Any] | None:
    """Return our arguments for the action that is one of these; None: there is none.

    Args:
        kind: What it has to be.
        *arguments: What may be it, or a name, or an id.

    Raises:
        OptionTypeError: One is something else, such as a dictionary, or another action.
    """
    for argument in arguments:
        if isinstance(argument, kind):
            return argument.options()
        if argument is not None and not isinstance(argument, Id):
            msg = (
                f"{argument!r} is neither a name nor a description; use a {kind.__name__} of "
                f"{__name__}."
            )
            raise errors.OptionTypeError(msg)
    return None


@explained_class
@dataclasses.dataclass(kw_only=True)
class GlobalConcurrencyLimitCreate(Action):
    """A concurrency limit that is to be made."""

    name: str
    limit: int
    active: bool | None = True
    slot_decay_per_second: float | None = 0.0


@explained_class
@dataclasses.dataclass(kw_only=True)
class GlobalConcurrencyLimitUpdate(Action):
    """How a concurrency limit is to change."""

    name: str | None = None
    limit: int | None = None
    active: bool | None = None
    slot_decay_per_second: float | None = None


@explained_class
@dataclasses.dataclass(kw_only=True)
class VariableCreate(Action):
    """A variable that is to be made."""

    name: str
    value: Any
    tags: Sequence[str] | None = None

    def options(self) -> dict[str, Any]:
        """Return the arguments that it stands for; None is a value as any other."""
        return {**super().options(), "value": self.value}


@explained_class
@dataclasses.dataclass(kw_only=True)
class VariableUpdate(Action):
    """How a variable is to change."""

    name: str
    value: Any = None
    tags: Sequence[str] | None = None


@explained_class
@dataclasses.dataclass(kw_only=True)
class ArtifactCreate(Action):
    """An artifact that is to be made."""

    _NAMES = {"metadata_": "metadata"}  # noqa: RUF012  # a ClassVar of the base

    type: str = ""
    key: str | None = None
    data: Any = None
    description: str | None = None
    metadata_: Mapping[str, str] | None = None
    flow_run_id: Id | None = None
    task_run_id: Id | None = None


@explained_class
@dataclasses.dataclass(kw_only=True)
class ArtifactUpdate(Action):
    """How an artifact is to change."""

    _NAMES = {"metadata_": "metadata"}  # noqa: RUF012  # a ClassVar of the base

    data: Any = None
    description: str | None = None
    metadata_: Mapping[str, str] | None = None


@dataclasses.dataclass(kw_only=True)
class _WorkPool(Action):
    _NAMES = {"is_paused": "paused"}  # noqa: RUF012  # a ClassVar of the base

    description: str | None = None
    is_paused: bool | None = None
    base_job_template: Mapping[str, Any] | str | None = None
    concurrency_limit: int | None = None

    def options(self) -> dict[str, Any]:
        """Return the arguments that it stands for: the template is a JSON text there."""
        options = super().options()
        if isinstance(self.base_job_template, Mapping):
            template = self.base_job_template
            options["base_job_template"] = json.dumps(dict(template)) if template else ""
        return options


@explained_class
@dataclasses.dataclass(kw_only=True)
class WorkPoolCreate(_WorkPool):
    """A work pool that is to be made."""

    name: str
    type: str | None = None


@explained_class
@dataclasses.dataclass(kw_only=True)
class WorkPoolUpdate(_WorkPool):
    """How a work pool is to change."""


@explained_class
@dataclasses.dataclass(kw_only=True)
class DeploymentUpdate(Action):
    """How a deployment is to change; parameters and job variables are values by name."""

    version: str | None = None
    description: str | None = None
    tags: Sequence[str] | None = None
    parameters: Mapping[str, Any] | None = None
    paused: bool | None = None
    concurrency_limit: int | None = None
    work_queue_name: str | None = None
    job_variables: Mapping[str, Any] | None = None
    path: str | None = None
    entrypoint: str | None = None
    enforce_parameter_schema: bool | None = None

    def options(self) -> dict[str, Any]:
        """Return the fields of the deployment that it changes.

        Raises:
            ParameterTypeError: A value has no JSON form.
        """
        from headgate import parameters  # only who sends values needs it

        options = super().options()
        if self.parameters is not None:
            options["parameters"] = parameters.encode(self.parameters)
        if self.job_variables is not None:
            options["job_variables"] = parameters.encode(self.job_variables, plain=True)
        if self.tags is not None:
            options["tags"] = tuple(self.tags)
        return options


@explained_class
@dataclasses.dataclass(kw_only=True)
class LogCreate(Action):
    """A log line that is to be written."""

    name: str
    level: int = logging.INFO
    message: str
    timestamp: datetime | str | None = None
    flow_run_id: Id | None = None
    task_run_id: Id | None = None

    def record(self) -> LogRecord:
        """Return the line as it is stored.

        Raises:
            OptionValueError: It belongs to no flow run, or its timestamp is none.
        """
        if self.flow_run_id is None:
            msg = f"The log line {self.message[:50]!r} belongs to no flow run; give flow_run_id."
            raise errors.OptionValueError(msg)
        return LogRecord(
            flow_run_id=str(self.flow_run_id),
            task_run_id=None if self.task_run_id is None else str(self.task_run_id),
            timestamp=_time(self.timestamp),
            level=self.level,
            logger=self.name,
            message=self.message,
        )


def _time(given: datetime | str | None) -> datetime:
    if given is None:
        return process_clock.now()
    try:
        time = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        msg = f"timestamp is {given!r}; use a datetime, or a text as 2026-01-31T08:00:00Z."
        raise errors.OptionValueError(msg) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


__all__ = [
    "Action",
    "ArtifactCreate",
    "ArtifactUpdate",
    "DeploymentUpdate",
    "GlobalConcurrencyLimitCreate",
    "GlobalConcurrencyLimitUpdate",
    "LogCreate",
    "VariableCreate",
    "VariableUpdate",
    "WorkPoolCreate",
    "WorkPoolUpdate",
    "given",
]
