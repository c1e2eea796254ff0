"""What the options of a task say together about its result."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from headgate import _options, settings
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.cache_policies import CachePolicy
    from headgate.serializers import Serializer

__all__ = ["NOT_SET", "NotSet", "TaskResults"]


class NotSet:
    """In the place of an option that was not given, where None means something."""

    def __repr__(self) -> str:
        return "<not set>"

    def __reduce__(self) -> str:
        """Stay the same one when it is pickled with a task."""
        return "NOT_SET"


NOT_SET: Final = NotSet()


@dataclasses.dataclass(slots=True, kw_only=True)
class TaskResults:
    """The options of a task that are about its result, as they were given.

    Attributes:
        persist_result: Whether it is kept.
        cache_policy: Which calls are the same call.
        cache_key_fn: Makes the keys in the place of a policy.
        cache_expiration: For how long it may be used.
        result_storage: Where it is kept.
        result_storage_key: A template of its key there.
        result_serializer: How it is written.
        cache_result_in_memory: Whether it stays in this process.
        refresh_cache: Whether a cached one counts for nothing.
    """

    persist_result: bool | None = None
    cache_policy: CachePolicy | NotSet | None = NOT_SET
    cache_key_fn: Callable[..., str | None] | None = None
    cache_expiration: datetime.timedelta | None = None
    result_storage: Any = None
    result_storage_key: str | None = None
    result_serializer: Serializer[Any] | str | None = None
    cache_result_in_memory: bool = True
    refresh_cache: bool | None = None

    def check(self) -> None:
        """Check what was given.

        Raises:
            OptionTypeError: An option does not fit.
            OptionValueError: The expiration is no time to come.
            ConfigurationError: There is no such serializer.
        """
        _options.checked_choice(self.persist_result, "persist_result")
        _options.checked_choice(self.refresh_cache, "refresh_cache")
        _options.checked_flag(self.cache_result_in_memory, "cache_result_in_memory")
        self.result_storage = _options.result_storage(self.result_storage)
        self.result_serializer = _options.result_serializer(self.result_serializer)
        self._check_cache_policy()
        self._check_expiration()
        key: object = self.result_storage_key
        if key is not None and (not isinstance(key, str) or not key):
            msg = f"result_storage_key is {key!r}; use a template such as 'sums-{{parameters[x]}}'."
            raise errors.OptionTypeError(msg)

    def _check_cache_policy(self) -> None:
        policy: object = self.cache_policy
        if self.cache_key_fn is not None and not callable(self.cache_key_fn):
            msg = f"cache_key_fn is {self.cache_key_fn!r}; use a function of (context, parameters)."
            raise errors.OptionTypeError(msg)
        if policy is None or isinstance(policy, NotSet):
            return
        from headgate.cache_policies import CachePolicy

        if not isinstance(policy, CachePolicy):
            msg = f"cache_policy is {policy!r}; use one of headgate.cache_policies, e.g. INPUTS."
            raise errors.OptionTypeError(msg)

    def _check_expiration(self) -> None:
        given: object = self.cache_expiration
        if given is None:
            return
        if not isinstance(given, datetime.timedelta):
            msg = f"cache_expiration is {given!r}; use a timedelta, e.g. timedelta(hours=1)."
            raise errors.OptionTypeError(msg)
        if given <= datetime.timedelta(0):
            msg = f"cache_expiration is {given!r}; use one above 0, or refresh_cache=True."
            raise errors.OptionValueError(msg)

    def persistence(self) -> bool | None:
        """Say whether results are kept; None: as the flow, or else the settings, have it."""
        if self.persist_result is not None:
            return self.persist_result
        given = (self.cache_key_fn, self.result_storage_key, self.result_storage)
        if (
            self._names_policy
            or self.result_serializer is not None
            or any(option is not None for option in given)
        ):
            return True
        return settings.current().tasks_default_persist_result

    @property
    def _names_policy(self) -> bool:
        """Whether a policy was given that makes keys."""
        policy = self.cache_policy
        if policy is None or isinstance(policy, NotSet):
            return False
        from headgate.cache_policies import NoCache

        return not isinstance(policy, NoCache)

    def warn_of_exclusions(self, task_name: str, names: Sequence[str]) -> None:
        """Tell of arguments that the policy leaves away, and that the task does not have.

        No error: one policy may be that of many tasks.
        """
        if not self._names_policy:
            return
        from headgate.cache_policies import excluded

        wrong = [
            name for name in excluded(cast("CachePolicy", self.cache_policy)) if name not in names
        ]
        if wrong:
            _warn(
                "Task %r has no argument %s, which its cache policy leaves away; it has %s",
                task_name,
                ", ".join(map(repr, wrong)),
                ", ".join(names) or "none",
            )

    def policy(self, task_name: str) -> CachePolicy | NotSet | None:
        """Return the cache policy; the default one is not loaded before it is needed."""
        if self.persist_result is False:
            if self._names_policy or self.cache_key_fn is not None:
                _warn("Ignoring the cache policy of task %r, as persist_result is False", task_name)
            return None
        if self.result_storage_key is not None:
            return self._policy_beside_key(task_name)
        if self.cache_key_fn is not None:
            if not isinstance(self.cache_policy, NotSet):
                _warn(
                    "Both cache_policy and cache_key_fn are set on task %r; cache_key_fn is used",
                    task_name,
                )
            from headgate.cache_policies import CachePolicy

            return CachePolicy.from_cache_key_fn(self.cache_key_fn)
        if not isinstance(self.cache_policy, NotSet):
            return self.cache_policy
        return None if settings.current().tasks_default_no_cache else NOT_SET

    def _policy_beside_key(self, task_name: str) -> CachePolicy | None:
        """Return the policy of a task that names where its result is: a result has one key."""
        if self._names_policy or self.cache_key_fn is not None:
            _warn(
                "Both %s and result_storage_key are set on task %r; result_storage_key is used",
                "cache_policy" if self.cache_key_fn is None else "cache_key_fn",
                task_name,
            )
            return None
        policy = self.cache_policy
        return None if isinstance(policy, NotSet) else policy


def _warn(text: str, *args: object) -> None:
    from headgate.logging import get_logger

    get_logger("headgate.tasks").warning(text, *args)
