"""What a flow author says about a deployment, and how it becomes the server's record."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from headgate import _options, entrypoints, parameters
from headgate._explaining import explained
from headgate.core import deployments, errors
from headgate.schedules import Schedule, construct
from headgate.utilities.annotations import freeze

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["EntrypointType", "RunnerDeployment"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What applying a deployment always sets; schedules and paused only where they were given, so
#: that what was changed on the server since stays.
_ALWAYS: tuple[str, ...] = (
    "entrypoint",
    "path",
    "pull_steps",
    "description",
    "version",
    "tags",
    "labels",
    "parameters",
    "parameter_schema",
    "enforce_parameter_schema",
    "concurrency_limit",
    "collision_strategy",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
    "on_infrastructure_loss",
)


#: What no name may have, for it means something in paths.
_BANNED = "/%&><"
_TEXTS = (
    "name",
    "flow_name",
    "entrypoint",
    "path",
    "description",
    "version",
    "work_pool_name",
    "work_queue_name",
)


class EntrypointType(enum.Enum):
    """How a deployment says where its flow is."""

    FILE_PATH = "file_path"
    MODULE_PATH = "module_path"


@dataclasses.dataclass(slots=True, kw_only=True)
class RunnerDeployment:
    """A deployment as its author describes it; ``apply`` stores it on the server.

    Attributes:
        name: Unique among those of the flow.
        flow_name: The flow.
        entrypoint: Where it is; see ``headgate.entrypoints``.
        path: The folder that the entrypoint is relative to, on the machine of the runner.
        pull_steps: How a runner gets the code: ``{name: inputs}`` each; see ``steps``.
        description: Text for people, Markdown.
        version: Free text.
        tags: Each run has them.
        labels: Free pairs.
        parameters: Default parameters of its runs.
        parameter_schema: JSON Schema of the parameters.
        enforce_parameter_schema: Whether runs whose parameters do not fit are refused.
        schedules: When it runs by itself. None: what is on the server stays.
        paused: Whether its schedules rest. None: what is on the server stays.
        concurrency_limit: How many of its runs may be under way at once.
        collision_strategy: What happens to a run above that.
        work_pool_name: The pool that its runs wait in. Default: ``default``.
        work_queue_name: The queue in that pool. Default: ``default``.
        job_variables: Values for the job template of the pool.
        on_infrastructure_loss: What happens to a run whose runner, or process, is lost.
    """

    name: str
    flow_name: str
    entrypoint: str = ""
    path: str = ""
    pull_steps: list[Mapping[str, Any]] = dataclasses.field(default_factory=list[Mapping[str, Any]])
    description: str = ""
    version: str = ""
    tags: list[str] = dataclasses.field(default_factory=list[str])
    labels: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    parameter_schema: dict[str, Any] | None = None
    enforce_parameter_schema: bool = True
    schedules: list[Schedule] | None = None
    paused: bool | None = None
    concurrency_limit: int | None = None
    collision_strategy: deployments.CollisionStrategy = deployments.CollisionStrategy.ENQUEUE
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    on_infrastructure_loss: deployments.InfrastructureLossPolicy = deployments.CRASH_ON_LOSS

    def __post_init__(self) -> None:
        """Check what is no matter of the server's.

        Raises:
            OptionTypeError: An option does not fit.
        """
        for option in _TEXTS:
            _options.checked_text(getattr(self, option), option)
        if any(character in self.name for character in _BANNED):
            msg = (
                f"The name of the deployment is {self.name!r}; choose one without any of "
                f"{' '.join(_BANNED)}."
            )
            raise errors.OptionValueError(msg)
        _options.checked_choice(self.paused, "paused")
        _options.checked_flag(self.enforce_parameter_schema, "enforce_parameter_schema")
        limit: object = self.concurrency_limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
            msg = f"concurrency_limit is {limit!r}; use a whole number, or None for no limit."
            raise errors.OptionTypeError(msg)

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return f"{self.flow_name}/{self.name}"

    @classmethod
    @explained
    def from_flow(
        cls,
        flow: Flow[..., Any],
        name: str,
        *,
        interval: Any = None,
        cron: str | Iterable[str] | None = None,
        rrule: str | Iterable[str] | None = None,
        schedule: Any = None,
        schedules: Iterable[Any] | None = None,
        paused: bool | None = None,
        concurrency_limit: int | None = None,
        collision_strategy: deployments.CollisionStrategy | str | None = None,
        parameters: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        enforce_parameter_schema: bool = True,
        work_pool_name: str | None = None,
        work_queue_name: str | None = None,
        job_variables: Mapping[str, Any] | None = None,
        entrypoint_type: EntrypointType = EntrypointType.FILE_PATH,
        on_infrastructure_loss: deployments.InfrastructureLossPolicy | str | None = None,
    ) -> RunnerDeployment:
        """Describe a deployment of a flow.

        Args:
            flow: The flow; at the top of a file that its runners can read.
            name: The deployment's name, unique among those of the flow.
            interval: A ``timedelta``, seconds or ISO 8601 text, or several.
            cron: A cron expression, or several.
            rrule: A recurrence rule, or several.
            schedule: A schedule of ``headgate.schedules``, or a dictionary.
            schedules: Several of these. None: those on the server stay.
            paused: Whether the schedules rest. None: as it is on the server.
            concurrency_limit: How many of its runs may be under way at once.
            collision_strategy: ``ENQUEUE`` or ``CANCEL_NEW``.
            parameters: Default parameters of its runs; one in ``freeze(...)`` cannot be changed.
            description: Default: that of the flow.
            tags: Each run has them.
            version: Default: that of the flow.
            enforce_parameter_schema: Whether runs whose parameters do not fit are refused.
            work_pool_name: The pool that its runs wait in.
            work_queue_name: The queue in that pool.
            job_variables: Values for the job template of the pool.
            entrypoint_type: Whether the flow is named by file or by module.
            on_infrastructure_loss: ``crash`` or ``reschedule``, or a policy with its limit.
                Default: ``reschedule``, three times, where the flow is durable; else ``crash``.

        Raises:
            InvalidArgument: A schedule, or an option, is wrong.
            MissingFlowError: The flow is where no other process can load it.
            SignatureMismatchError: The flow has no such parameter.
        """
        signature = _signature(flow)
        origin = flow.origin
        schema = signature.schema()
        given = _options.checked_mapping(parameters, "parameters")
        signature.check_names(given)
        given = _unfrozen(given, schema)
        return cls(
            name=name,
            flow_name=flow.name,
            entrypoint=_entrypoint(flow, entrypoint_type),
            path=os.getcwd() if origin is None else "",
            pull_steps=[] if origin is None else [origin.storage.to_pull_step()],
            description=description if description is not None else (flow.description or ""),
            version=version if version is not None else (flow.version or ""),
            tags=sorted(_options.checked_tags(tags)),
            parameters=given,
            parameter_schema=schema,
            enforce_parameter_schema=enforce_parameter_schema,
            schedules=construct(
                interval=interval, cron=cron, rrule=rrule, schedule=schedule, schedules=schedules
            ),
            paused=paused,
            concurrency_limit=concurrency_limit,
            collision_strategy=_collision(collision_strategy),
            work_pool_name=work_pool_name,
            work_queue_name=work_queue_name,
            job_variables=_options.checked_mapping(job_variables, "job_variables"),
            on_infrastructure_loss=_loss_policy(on_infrastructure_loss, durable=bool(flow.durable)),
        )

    @classmethod
    @explained
    def from_entrypoint(
        cls, entrypoint: str, name: str, *, path: str | None = None, **options: Any
    ) -> RunnerDeployment:
        """Describe a deployment of the flow that an entrypoint names.

        Args:
            entrypoint: ``path/to/file.py:function`` or ``package.module.function``.
            name: The deployment's name.
            path: The folder that it is relative to. Default: the working folder.
            **options: As for ``from_flow``.

        Raises:
            MissingFlowError: There is no such flow.
            ScriptError: Its file could not be loaded.
        """
        _options.checked_path(path, "path")
        flow = entrypoints.load_flow(entrypoint, path)
        made = cls.from_flow(flow, name, **options)
        made.entrypoint = entrypoint
        made.path = os.path.abspath(path or os.getcwd())
        return made

    @classmethod
    @explained
    def from_storage(
        cls, storage: Any, entrypoint: str, name: str, **options: Any
    ) -> RunnerDeployment:
        """Describe a deployment of a flow whose code is elsewhere; the code is got here, too.

        Args:
            storage: Where it is; see ``headgate.runner.storage``.
            entrypoint: Where the flow is in that code.
            name: The deployment's name.
            **options: As for ``from_flow``.

        Raises:
            StorageError: The code could not be got.
            MissingFlowError: There is no such flow in it.
        """
        from headgate.deployments import remote

        return cls.from_flow(remote.load_flow(storage, entrypoint), name, **options)

    def record(self) -> deployments.Deployment:
        """Return what the server stores, less what it adds itself.

        Raises:
            ParameterTypeError: A parameter or a job variable has no JSON form.
        """
        return deployments.Deployment(
            id="",
            name=self.name,
            flow_id="",
            flow_name=self.flow_name,
            entrypoint=self.entrypoint,
            path=self.path,
            pull_steps=tuple(_pull_step(step) for step in self.pull_steps),
            description=self.description,
            version=self.version,
            tags=tuple(self.tags),
            labels=dict(self.labels),
            parameters=parameters.encode(self.parameters),
            parameter_schema=json.dumps(self.parameter_schema) if self.parameter_schema else "",
            enforce_parameter_schema=self.enforce_parameter_schema,
            schedules=tuple(_schedule(item) for item in self.schedules or ()),
            paused=bool(self.paused),
            concurrency_limit=self.concurrency_limit,
            collision_strategy=self.collision_strategy,
            work_pool_name=self.work_pool_name or "default",
            work_queue_name=self.work_queue_name or "default",
            job_variables=parameters.encode(self.job_variables, plain=True),
            on_infrastructure_loss=self.on_infrastructure_loss,
            create_time=_EPOCH,
            update_time=_EPOCH,
            etag="",
        )

    def update_mask(self) -> list[str]:
        """Return the fields that applying it sets on a deployment that exists."""
        fields = list(_ALWAYS)
        if self.schedules is not None:
            fields.append("schedules")
        if self.paused is not None:
            fields.append("paused")
        return fields

    def apply(self) -> str:
        """Make the deployment on the server, or change it there.

        Returns:
            Its id.

        Raises:
            NotFound: There is no such work pool.
            InvalidArgument: The server refuses a field; it is named.
        """
        from headgate.client import orchestration  # the channel, and grpc with it

        with orchestration.get_client(sync_client=True) as client:
            stored = client.apply_deployment(self.record(), update_mask=self.update_mask())
        return stored.id

    async def aapply(self) -> str:
        """Do what ``apply`` does, in a coroutine."""
        from headgate.client import orchestration  # the channel, and grpc with it

        async with orchestration.get_client() as client:
            stored = await client.apply_deployment(self.record(), update_mask=self.update_mask())
        return stored.id


def _signature(flow: Flow[..., Any]) -> parameters.Signature:
    return parameters.Signature(flow.fn, kind="flow")


def _unfrozen(given: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return default parameters, and note in the schema which of them are frozen."""
    plain: dict[str, Any] = {}
    for name, value in given.items():
        plain[name] = value
        if isinstance(value, freeze):
            plain[name] = cast("freeze[Any]", value).unfreeze()
            fixed = [parameters.jsonable(plain[name])]
            schema["properties"][name] |= {"readOnly": True, "enum": fixed}
    return plain


def _entrypoint(flow: Flow[..., Any], kind: EntrypointType) -> str:
    if not isinstance(kind, EntrypointType):
        msg = f"entrypoint_type is {kind!r}; use one of headgate.deployments.EntrypointType."
        raise errors.OptionTypeError(msg)
    if flow.origin is not None:
        return flow.origin.entrypoint
    return entrypoints.of_function(flow.fn, module=kind is EntrypointType.MODULE_PATH)


def _collision(value: deployments.CollisionStrategy | str | None) -> deployments.CollisionStrategy:
    if value is None:
        return deployments.CollisionStrategy.ENQUEUE
    try:
        return deployments.CollisionStrategy(str(value).upper())
    except ValueError:
        raise errors.InvalidArgument.of(
            "collision_strategy", f"must be ENQUEUE or CANCEL_NEW, not {value!r}."
        ) from None


def _loss_policy(
    value: deployments.InfrastructureLossPolicy | str | None, *, durable: bool
) -> deployments.InfrastructureLossPolicy:
    if value is None:
        # Whatever a durable flow has completed is not done again, so it may well go on.
        return deployments.RESCHEDULE_ON_LOSS if durable else deployments.CRASH_ON_LOSS
    if isinstance(value, deployments.InfrastructureLossPolicy):
        return value
    try:
        action = deployments.InfrastructureLossAction(str(value).upper())
    except ValueError:
        raise errors.InvalidArgument.of(
            "on_infrastructure_loss", f"must be crash or reschedule, not {value!r}."
        ) from None
    return deployments.InfrastructureLossPolicy(action=action)


def _pull_step(step: Mapping[str, Any]) -> deployments.PullStep:
    if len(step) != 1:
        raise errors.InvalidArgument.of("pull_steps", f"{step!r} is not one name with inputs.")
    name, inputs = next(iter(step.items()))
    # Those of ours go by their short names, which are part of the contract.
    name = name.removeprefix("headgate.deployments.steps.")
    mapping: Mapping[str, Any] = inputs or {}
    given = {key: value for key, value in mapping.items() if value is not None}
    return deployments.PullStep(name=name, inputs=parameters.encode(given, plain=True))


def _schedule(item: Schedule) -> deployments.Schedule:
    return deployments.Schedule(
        id="",
        slug=item.slug or "",
        rule=item.rule,
        paused=not item.active,
        parameters=parameters.encode(item.parameters),
        max_scheduled_runs=item.max_scheduled_runs,
    )
