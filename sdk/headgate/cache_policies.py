"""Cache policies: what makes two calls of a task the same call.

A task whose results are kept looks under a key before it runs; a policy makes that key::

    @task(cache_policy=INPUTS)  # the same arguments, in any run
    @task(cache_policy=INPUTS + TASK_SOURCE)  # and the same code
    @task(cache_policy=INPUTS - "client")  # whatever the client

"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from headgate import _options
from headgate._explaining import explained
from headgate.core import errors
from headgate.utilities.hashing import hash_objects, stable_hash

if TYPE_CHECKING:
    from headgate.context import TaskRunContext
    from headgate.locking.protocol import LockManager
    from headgate.transactions import IsolationLevel

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NONE",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CacheKeyFnPolicy",
    "CachePolicy",
    "CompoundCachePolicy",
    "FlowParameters",
    "Inputs",
    "NoCache",
    "RunId",
    "TaskSource",
]

#: What a cache key is cut to, by hashing it.
KEY_CHARACTERS_MAX = 2_000


@dataclasses.dataclass
class CachePolicy:
    """Makes the key under which the result of a call is found again.

    A policy of one's own is a subclass with ``compute_key``.

    Attributes:
        key_storage: Where keys are kept apart from results: a Path, a block, or its name.
        isolation_level: How far runs with one key are kept apart.
        lock_manager: Locks keys; wanted by ``IsolationLevel.SERIALIZABLE``.
    """

    key_storage: Any = dataclasses.field(default=None, kw_only=True)
    isolation_level: IsolationLevel | None = dataclasses.field(default=None, kw_only=True)
    lock_manager: LockManager | None = dataclasses.field(default=None, kw_only=True)

    @classmethod
    def from_cache_key_fn(
        cls, cache_key_fn: Callable[[TaskRunContext, dict[str, Any]], str | None]
    ) -> CacheKeyFnPolicy:
        """Make a policy of a function of (task run context, arguments) that returns a key."""
        return CacheKeyFnPolicy(cache_key_fn=cache_key_fn)

    @explained
    def configure(
        self,
        key_storage: Any = None,
        lock_manager: LockManager | None = None,
        isolation_level: IsolationLevel | None = None,
    ) -> Self:
        """Return a copy that keeps its keys elsewhere, or isolates runs with one key.

        Args:
            key_storage: Where keys are kept apart from results: a Path, a block, or its name as
                ``type/name``. A text without ``/`` or that begins with it is a folder.
            lock_manager: What locks keys.
            isolation_level: ``READ_COMMITTED`` or ``SERIALIZABLE``.
        """
        made = copy.copy(self)
        if key_storage is not None:
            made.key_storage = _checked_key_storage(key_storage)
        if lock_manager is not None:
            made.lock_manager = lock_manager
        if isolation_level is not None:
            from headgate.transactions import IsolationLevel

            made.isolation_level = _options.one_of(
                isolation_level, IsolationLevel, "isolation_level"
            )
        return made

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Make the key of a call.

        Args:
            task_ctx: The task run.
            inputs: What the task is called with, by name.
            flow_parameters: What its flow is called with.
            **kwargs: For later.

        Returns:
            The key; None: the result is not cached.
        """
        raise NotImplementedError

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Return a policy by which calls are the same when they are by both."""
        if isinstance(_checked_policy(other), NoCache):
            return self
        return _compound([self, other])

    def __sub__(self, other: str | Iterable[str]) -> CachePolicy:
        """Return a policy that does not look at some arguments.

        Raises:
            OptionTypeError: They are no names.
        """
        return _compound([self, Inputs(exclude=_names(other))])


@dataclasses.dataclass
class CacheKeyFnPolicy(CachePolicy):
    """Has a function make the keys.

    Attributes:
        cache_key_fn: Called with the task run context and the arguments; returns a key or None.
    """

    cache_key_fn: Callable[[TaskRunContext, dict[str, Any]], str | None] | None = None

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Call the function."""
        if self.cache_key_fn is None:
            return None
        key: object = self.cache_key_fn(task_ctx, inputs)
        if key is not None and not isinstance(key, str):
            msg = f"cache_key_fn returned {key!r}; return a text, or None for no caching."
            raise errors.OptionTypeError(msg)
        return key


@dataclasses.dataclass
class CompoundCachePolicy(CachePolicy):
    """Calls are the same when they are by all of some policies.

    Attributes:
        policies: The policies.
    """

    policies: list[CachePolicy] = dataclasses.field(default_factory=list[CachePolicy])

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Hash the keys of all policies that have one."""
        keys = [
            policy.compute_key(task_ctx, inputs, flow_parameters, **kwargs)
            for policy in self.policies
        ]
        found = [key for key in keys if key is not None]
        return stable_hash(*found) if found else None

    def __sub__(self, other: str | Iterable[str]) -> CachePolicy:
        """Leave arguments away from what is looked at."""
        if not any(isinstance(policy, Inputs) for policy in self.policies):
            return super().__sub__(other)
        made = copy.copy(self)
        made.policies = [p - other if isinstance(p, Inputs) else p for p in self.policies]
        return made


@dataclasses.dataclass
class NoCache(CachePolicy):
    """No call is the same as another."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Make no key."""
        return None

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """Return the other policy."""
        return _checked_policy(other)

    def __sub__(self, other: str | Iterable[str]) -> CachePolicy:
        """Look at no arguments, as before."""
        _names(other)
        return self


@dataclasses.dataclass
class TaskSource(CachePolicy):
    """Calls are the same while the source of the task is."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Hash the source; the code where there is no source."""
        from headgate.engine import sources

        return sources.digest(task_ctx.task.fn)


@dataclasses.dataclass
class RunId(CachePolicy):
    """Calls are the same within one flow run, its retries included."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return the id of the flow run; that of the task run outside of flows."""
        run = task_ctx.flow_run
        return run.id if run is not None else task_ctx.id


@dataclasses.dataclass
class FlowParameters(CachePolicy):
    """Calls are the same in flow runs with the same parameters."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Hash the parameters of the flow run."""
        return hash_objects(**flow_parameters) if flow_parameters else None


@dataclasses.dataclass
class Inputs(CachePolicy):
    """Calls are the same with the same arguments.

    Attributes:
        exclude: Arguments that are not looked at.
    """

    exclude: list[str] = dataclasses.field(default_factory=list[str])

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Hash the arguments.

        Raises:
            HashError: No hash can be made of one; it is named.
        """
        looked_at = {name: value for name, value in inputs.items() if name not in self.exclude}
        return hash_objects(**looked_at) if inputs else None

    def __sub__(self, other: str | Iterable[str]) -> CachePolicy:
        """Leave more arguments away."""
        made = copy.copy(self)
        made.exclude = [*self.exclude, *_names(other)]
        return made


def _checked_policy(given: Any) -> CachePolicy:
    if not isinstance(given, CachePolicy):
        msg = (
            f"{given!r} is no cache policy, and cannot be added to one; add policies, as in INPUTS "
            "+ TASK_SOURCE, and leave arguments away by their names, as in INPUTS - 'client'."
        )
        raise errors.OptionTypeError(msg)
    return given


def _compound(policies: list[CachePolicy]) -> CompoundCachePolicy:
    """Join policies, and how they keep and lock keys.

    Raises:
        ConfigurationError: Two of them do so differently.
    """
    flat: list[CachePolicy] = []
    for policy in policies:
        flat += policy.policies if isinstance(policy, CompoundCachePolicy) else [policy]
    made = CompoundCachePolicy(policies=flat)
    for option in ("key_storage", "isolation_level", "lock_manager"):
        given = [value for policy in policies if (value := getattr(policy, option)) is not None]
        if any(value != given[0] for value in given):
            msg = (
                f"Policies with two values of {option}, {given[0]!r} and {given[-1]!r}, cannot be "
                "joined; configure the outcome instead."
            )
            raise errors.ConfigurationError(msg)
        if given:
            setattr(made, option, given[0])
    return made


def _names(given: str | Iterable[str]) -> list[str]:
    several: Any = given
    if isinstance(several, str) or not isinstance(several, Iterable):
        several = [several]
    names: list[Any] = list(cast("Iterable[Any]", several))
    for name in names:
        if not isinstance(name, str):
            msg = f"A policy has no argument {name!r} to leave away; use the names of arguments."
            raise errors.OptionTypeError(msg)
    return names


def excluded(policy: CachePolicy) -> list[str]:
    """Return the names of the arguments that a policy does not look at. For the engine."""
    if isinstance(policy, CompoundCachePolicy):
        return [name for part in policy.policies for name in excluded(part)]
    return list(policy.exclude) if isinstance(policy, Inputs) else []


def _checked_key_storage(storage: Any) -> Any:
    from headgate import _result_storage as storages

    if isinstance(storage, str) and (storage.count("/") != 1 or storage.startswith(("/", "."))):
        storage = Path(storage)
    return storages.checked_storage(storage, saved=False)


def key_of(
    policy: CachePolicy, task_ctx: TaskRunContext, flow_parameters: Mapping[str, Any]
) -> str | None:
    """Make the key of a call by a policy. For the engine.

    Raises:
        Exception: A policy is code of the user's.
    """
    key = policy.compute_key(task_ctx, task_ctx.parameters, dict(flow_parameters))
    if key is not None and len(key) > KEY_CHARACTERS_MAX:
        return stable_hash(key)
    return key or None


INPUTS = Inputs()
TASK_SOURCE = TaskSource()
RUN_ID = RunId()
FLOW_PARAMETERS = FlowParameters()
NO_CACHE = NoCache()
#: The older name of ``NO_CACHE``.
NONE = NO_CACHE
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
