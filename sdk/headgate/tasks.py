"""Tasks: units of work in a flow, and the decorator that makes them of functions."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    Never,
    NoReturn,
    ParamSpec,
    SupportsIndex,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from headgate import _options, parameters, settings
from headgate import context as contexts
from headgate._explaining import explained
from headgate._result_options import NOT_SET, NotSet, TaskResults
from headgate.core import errors, retries
from headgate.core.retries import RetryDelay, exponential_backoff
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate._distributed_future import DistributedFuture
    from headgate.cache_policies import CachePolicy
    from headgate.core.runs import TaskRun
    from headgate.futures import Future, FutureList
    from headgate.serializers import Serializer

__all__ = ["Task", "TaskHook", "exponential_backoff", "task", "task_input_hash"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")
SelfT = TypeVar("SelfT")
BoundP = ParamSpec("BoundP")

#: Hears of a state of a task run; may be async.
TaskHook = Callable[["Task[..., Any]", "TaskRun", State[Any]], Any]
RetryCondition = Callable[["Task[..., Any]", "TaskRun", State[Any]], Any]
#: Hears that a transaction was committed or rolled back; may be async.
TransactionHook = Callable[..., Any]
#: Makes the key of a call; None: it is not cached.
CacheKeyFn = Callable[["contexts.TaskRunContext", dict[str, Any]], str | None]

if TYPE_CHECKING:

    class TaskOptions(TypedDict, total=False):
        """The options of ``task``, for type checkers; ``Task.__init__`` has them with defaults."""

        name: str | None
        description: str | None
        tags: Iterable[str] | None
        version: str | None
        task_run_name: str | Callable[..., Any] | None
        retries: int | None
        retry_delay_seconds: RetryDelay | None
        retry_jitter_factor: float | None
        retry_condition_fn: RetryCondition | None
        cache_policy: CachePolicy | NotSet | None
        cache_key_fn: CacheKeyFn | None
        cache_expiration: datetime.timedelta | None
        persist_result: bool | None
        result_storage: Any
        result_storage_key: str | None
        result_serializer: Serializer[Any] | str | None
        cache_result_in_memory: bool
        refresh_cache: bool | None
        timeout_seconds: float | datetime.timedelta | None
        isolate: bool
        log_prints: bool | None
        on_completion: Iterable[TaskHook] | None
        on_failure: Iterable[TaskHook] | None
        on_running: Iterable[TaskHook] | None
        on_rollback: Iterable[TransactionHook] | None
        on_commit: Iterable[TransactionHook] | None
        viz_return_value: Any


#: Options of which None says nothing in ``with_options``: those are 0 or [] where there is none.
_KEPT_IF_NONE = frozenset(
    {
        "name",
        "description",
        "tags",
        "cache_key_fn",
        "cache_expiration",
        "cache_result_in_memory",
        "timeout_seconds",
        "on_completion",
        "on_failure",
        "on_running",
        "retry_condition_fn",
        "viz_return_value",
    }
)

_RESULT_OPTIONS = tuple(field.name for field in dataclasses.fields(TaskResults))


class Task(Generic[P, R]):
    """A unit of work that a flow calls; made by ``task``.

    Calling it within a flow makes a task run that the server knows of, and runs the function right
    here. ``submit`` runs it on the flow's task runner; ``map`` does so for each of many values.
    Outside of a flow a call behaves the same, and nothing is recorded.
    """

    @explained
    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        task_run_name: str | Callable[..., Any] | None = None,
        retries: int | None = None,
        retry_delay_seconds: RetryDelay | None = None,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        cache_policy: CachePolicy | NotSet | None = NOT_SET,
        cache_key_fn: CacheKeyFn | None = None,
        cache_expiration: datetime.timedelta | None = None,
        persist_result: bool | None = None,
        result_storage: Any = None,
        result_storage_key: str | None = None,
        result_serializer: Serializer[Any] | str | None = None,
        cache_result_in_memory: bool = True,
        refresh_cache: bool | None = None,
        timeout_seconds: float | datetime.timedelta | None = None,
        isolate: bool = False,
        log_prints: bool | None = None,
        on_completion: Iterable[TaskHook] | None = None,
        on_failure: Iterable[TaskHook] | None = None,
        on_running: Iterable[TaskHook] | None = None,
        on_rollback: Iterable[TransactionHook] | None = None,
        on_commit: Iterable[TransactionHook] | None = None,
        viz_return_value: Any = None,
    ) -> None:
        """Make a task of a function; see ``task`` for the options.

        Raises:
            OptionTypeError: An option does not fit.
            ConfigurationError: There is no serializer of the type given.
            ReservedArgumentError: A parameter has a name that every call takes already.
        """
        if not callable(fn) and not isinstance(fn, (staticmethod, classmethod)):
            msg = f"A task is made of a function, not of {fn!r}; decorate a function."
            raise errors.OptionTypeError(msg)
        self._wrapper: type[Any] | None = None
        if isinstance(fn, (staticmethod, classmethod)):
            self._wrapper = type(cast("Any", fn))
            fn = cast("Callable[P, R]", cast("Any", fn).__func__)
        self.fn: Callable[P, R] = fn
        self.name: str = _options.checked_name(name) or _name_of(fn)
        description = _options.checked_text(description, "description")
        self.description = description if description is not None else inspect.getdoc(fn)
        self.tags = _options.checked_tags(tags)
        self._sorted_tags = tuple(sorted(self.tags))
        self.version = _options.checked_text(version, "version")
        self.task_run_name = task_run_name
        self._check_task_run_name()
        self._set_retries(retries, retry_delay_seconds, retry_jitter_factor)
        self.retry_condition_fn = _options.checked_condition(retry_condition_fn, "task")
        self.timeout_seconds = _options.timeout_in_seconds(timeout_seconds)
        self.isolate = isolate
        self.log_prints = _options.checked_choice(log_prints, "log_prints")
        self.on_completion_hooks = _options.checked_hooks(on_completion, "on_completion", "task")
        self.on_failure_hooks = _options.checked_hooks(on_failure, "on_failure", "task")
        self.on_running_hooks = _options.checked_hooks(on_running, "on_running", "task")
        self.on_rollback_hooks = _options.checked_hooks(on_rollback, "on_rollback", "transaction")
        self.on_commit_hooks = _options.checked_hooks(on_commit, "on_commit", "transaction")
        self._set_results(
            TaskResults(
                cache_policy=cache_policy,
                cache_key_fn=cache_key_fn,
                cache_expiration=cache_expiration,
                persist_result=persist_result,
                result_storage=result_storage,
                result_storage_key=result_storage_key,
                result_serializer=result_serializer,
                cache_result_in_memory=cache_result_in_memory,
                refresh_cache=refresh_cache,
            )
        )
        self.viz_return_value = viz_return_value
        self._task_key: str | None = None
        self._use_function()
        self._check_isolate()
        self.__name__ = _name_of(fn)
        self.__qualname__ = getattr(fn, "__qualname__", self.__name__)
        self.__module__ = getattr(fn, "__module__", __name__)
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__wrapped__ = fn

    def _use_function(self) -> None:
        """Learn what kind of function it is, and how it is called."""
        fn = self.fn
        self.isasyncgenerator = inspect.isasyncgenfunction(fn)
        self.isgenerator = inspect.isgeneratorfunction(fn)
        self.isasync = inspect.iscoroutinefunction(fn) or self.isasyncgenerator
        #: Whether a call needs another driver than the plain one.
        self.is_special = self.isasync or self.isgenerator
        self.signature = parameters.Signature(fn, kind="task")
        self._arity = _arity(self.signature.raw)

    def _set_results(self, given: TaskResults) -> None:
        given.check()
        self._results = given
        self._cache_policy = given.policy(self.name)
        self.persist_result = given.persistence()
        self.cache_key_fn = given.cache_key_fn
        self.cache_expiration = given.cache_expiration
        self.result_storage = given.result_storage
        self.result_storage_key = given.result_storage_key
        self.result_serializer = cast("Serializer[Any] | None", given.result_serializer)
        self.cache_result_in_memory = given.cache_result_in_memory
        self.refresh_cache = given.refresh_cache

    def _warn_of_exclusions(self) -> None:
        """Tell of a slip of the pen in ``INPUTS - "client"``."""
        self._results.warn_of_exclusions(self.name, self.signature.names)

    def _forget_cache_policy(self) -> None:
        """Look for no earlier results; for copies of the engine, which go to other processes."""
        self._results = dataclasses.replace(self._results, cache_policy=None, cache_key_fn=None)
        self._cache_policy = self.cache_key_fn = None

    def _set_retries(
        self, count: int | None, delay: RetryDelay | None, jitter_factor: float | None
    ) -> None:
        self._retry_options = (count, delay, jitter_factor)
        if count is None or delay is None:
            now = settings.current()
            count = now.tasks_default_retries if count is None else count
            delay = now.tasks_default_retry_delay_seconds if delay is None else delay
        self.retry_policy = retries.policy(count, delay, jitter_factor)

    def _check_task_run_name(self) -> None:
        name = self.task_run_name
        if name is not None and not isinstance(name, str) and not callable(name):
            msg = f"task_run_name is {name!r}; use a template such as 'load-{{day}}' or a function."
            raise errors.OptionTypeError(msg)

    def _check_isolate(self) -> None:
        if type(self.isolate) is not bool:
            msg = f"isolate is {self.isolate!r}; use True or False."
            raise errors.OptionTypeError(msg)
        if self.isolate and (self.isgenerator or self.isasyncgenerator):
            msg = (
                f"Task {self.name!r} is a generator and cannot be isolated, for what it yields "
                "is wanted here; return a list, or leave isolate away."
            )
            raise errors.OptionTypeError(msg)

    # --- What it is ---

    @property
    def cache_policy(self) -> CachePolicy | None:
        """Says which calls are the same call; None: no two are."""
        if isinstance(self._cache_policy, NotSet):
            from headgate import cache_policies  # only tasks that keep results pay for it

            return cache_policies.DEFAULT
        return self._cache_policy

    @property
    def retries(self) -> int:
        """Attempts after the first."""
        return self.retry_policy.max_retries

    @property
    def retry_delay_seconds(self) -> float | datetime.timedelta | list[float]:
        """Waiting time before each retry, as it was given; what a function returned is a list."""
        return _options.told_delay(self._retry_options[1], self.retry_policy)

    @property
    def retry_jitter_factor(self) -> float | None:
        """A delay d becomes a random one between d and d * (1 + factor); None: it stays."""
        return self._retry_options[2]

    @property
    def task_key(self) -> str:
        """Names the task across runs: its place in the code, and a hash of its source."""
        if self._task_key is None:
            from headgate.engine import sources

            self._task_key = f"{self.__qualname__}-{sources.digest(self.fn)[:8]}"
        return self._task_key

    def takes(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Say quickly that a call fits the signature; False means only: bind it to see."""
        arity = self._arity
        return arity is not None and not kwargs and arity[0] <= len(args) <= arity[1]

    def run_tags(self) -> tuple[str, ...]:
        """Return the tags of a run that is made here: the task's, and those around."""
        around = contexts.current_tags()
        return self._sorted_tags if not around else tuple(sorted(self.tags | around))

    def run_name(self, context: contexts.TaskRunContext) -> Any:
        """Return the name of a run by ``task_run_name``; a coroutine where that is async.

        Raises:
            OptionValueError: The template names a parameter that the task does not have.
            OptionTypeError: The function did not return a name.
        """
        template = self.task_run_name
        if template is None:
            return context.name
        if isinstance(template, str):
            return _options.run_name(template, context.parameters, "task", self.name)
        if "parameters" in inspect.signature(template).parameters:
            name = template(parameters=context.parameters)
        else:
            name = template()
        return name if inspect.iscoroutine(name) else self.checked_run_name(name)

    def checked_run_name(self, name: Any) -> str:
        """Return what ``task_run_name`` returned.

        Raises:
            OptionTypeError: It is no name.
        """
        if not isinstance(name, str):
            msg = f"task_run_name of task {self.name!r} returned {name!r}; return a text."
            raise errors.OptionTypeError(msg)
        return name

    def hooks_for(self, state: State[Any]) -> list[TaskHook]:
        """Return the hooks that hear of a final state."""
        if state.type is StateType.COMPLETED:
            return self.on_completion_hooks
        if state.type is StateType.FAILED:
            return self.on_failure_hooks
        return []

    # --- Calling it ---

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    # Without it a function that only raises would match the next one.
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]  # it must come first
        self: Task[..., NoReturn],
        *args: Any,
        return_state: Literal[True],
        wait_for: Any = None,
        **kwargs: Any,
    ) -> State[Never]: ...

    @overload
    def __call__(
        self: Task[..., Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[True],
        wait_for: Any = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State[T]]: ...

    @overload
    def __call__(
        self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any
    ) -> State[R]: ...

    @overload
    def __call__(self, *args: Any, wait_for: Any, **kwargs: Any) -> R: ...

    def __call__(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Run the task here and now.

        Args:
            *args: What the function is called with; futures become their results.
            return_state: Return the final state, and raise nothing that the function raised.
            wait_for: Futures that must be completed first; their results are not used.
            **kwargs: What the function is called with, by name.

        Raises:
            UpstreamTaskError: A future that was passed did not complete.
            Exception: What the function raised, when no retry is left.
        """
        try:
            return _engine().call(self, args, kwargs, wait_for, return_state=return_state)
        except BaseException as error:
            _trim(error)
            raise

    @overload
    def submit(
        self: Task[..., Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[True],
        wait_for: Any = None,
        **kwargs: Any,
    ) -> State[T]: ...

    @overload
    def submit(
        self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any
    ) -> State[R]: ...

    @overload
    def submit(
        self: Task[P, Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[False] = False,
        wait_for: Any = None,
        **kwargs: Any,
    ) -> Future[T]: ...

    @overload
    def submit(
        self,
        *args: Any,
        return_state: Literal[False] = False,
        wait_for: Any = None,
        **kwargs: Any,
    ) -> Future[R]: ...

    def submit(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Run the task on the task runner of the flow.

        Args:
            *args: What the function is called with; futures are waited for by the task.
            return_state: Wait for the end, and return the final state.
            wait_for: Futures that must be completed first; their results are not used.
            **kwargs: What the function is called with, by name.

        Returns:
            A future of the result.

        Raises:
            MissingContextError: There is no flow run here.
        """
        runner = _task_runner(self)
        future = runner.submit(self, self.signature.bind(args, kwargs), wait_for)
        if not return_state:
            return future
        future.wait()
        return future.state

    @overload
    def map(
        self: Task[..., Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[True],
        wait_for: Any = None,
        **kwargs: Any,
    ) -> list[State[T]]: ...

    @overload
    def map(
        self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any
    ) -> list[State[R]]: ...

    @overload
    def map(
        self: Task[P, Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[False] = False,
        wait_for: Any = None,
        **kwargs: Any,
    ) -> FutureList[T]: ...

    @overload
    def map(
        self,
        *args: Any,
        return_state: Literal[False] = False,
        wait_for: Any = None,
        **kwargs: Any,
    ) -> FutureList[R]: ...

    def map(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Submit the task once for each of many values.

        Every argument that can be iterated over is; the others, and those in ``unmapped``, are
        passed whole to each call.

        Args:
            *args: Iterables of one length, or what is passed whole.
            return_state: Wait for all to end, and return their final states.
            wait_for: Futures that must be completed first; their results are not used.
            **kwargs: The same by name; and, unless the task has parameters of these names,
                ``max_concurrency``: how many calls are under way at once (default: as many as
                the runner executes; 1,000 if it has no limit), and ``batch_size``: how many of
                them one thread executes one after the other, where each takes very little time;
                and ``deferred``: leave the calls to task workers, as ``delay`` does.

        Returns:
            The futures, in order.

        Raises:
            MappingMissingIterable: There is nothing to iterate over.
            MappingLengthMismatch: The iterables differ in length.
            MissingContextError: There is no flow run here.
        """
        from headgate.engine import mapping, progress

        options, kwargs = mapping.options(self.signature, kwargs)
        if options.deferred:
            calls = mapping.arguments(self.signature, args, kwargs)
            return _defer_all(self, calls, wait_for)
        runner = _task_runner(self)
        calls = mapping.arguments(self.signature, args, kwargs)
        futures = runner.map(self, calls, wait_for, **options.given)
        progress.show(self.name, futures)
        if not return_state:
            return futures
        futures.wait()
        return [future.state for future in futures]

    # --- In the background ---

    @overload
    def delay(
        self: Task[BoundP, Coroutine[Any, Any, T]], *args: BoundP.args, **kwargs: BoundP.kwargs
    ) -> DistributedFuture[T]: ...

    @overload
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> DistributedFuture[R]: ...

    def delay(self, *args: Any, **kwargs: Any) -> DistributedFuture[Any]:
        """Have the task run by whoever serves it, in another process; does not wait.

        Args:
            *args: What the function is called with; futures are waited for first.
            **kwargs: The same by name.

        Returns:
            A future of the result.

        Raises:
            ParameterBindError: The arguments do not fit the task.
            SerializationError: An argument cannot be sent.
        """
        return self.apply_async(args, kwargs)

    @overload
    def apply_async(
        self: Task[..., Coroutine[Any, Any, T]],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        wait_for: Any = None,
        dependencies: Any = None,
    ) -> DistributedFuture[T]: ...

    @overload
    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        wait_for: Any = None,
        dependencies: Any = None,
    ) -> DistributedFuture[R]: ...

    @explained
    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        wait_for: Any = None,
        dependencies: Any = None,
    ) -> DistributedFuture[Any]:
        """Do what ``delay`` does.

        Args:
            args: What the function is called with; futures are waited for first.
            kwargs: The same by name.
            wait_for: Futures that must be completed first; their results are not used.
            dependencies: Taken for code that gives it: what the arguments build on is known.

        Raises:
            ParameterBindError: The arguments do not fit the task.
            SerializationError: An argument cannot be sent.
        """
        from headgate import _distributed_future
        from headgate.engine import background, effects, resolve, visualizing

        if args is not None and (isinstance(args, str) or not isinstance(args, Iterable)):
            msg = f"args is {args!r}; use a list or tuple of arguments."
            raise errors.OptionTypeError(msg)
        given, named = tuple(args or ()), _options.checked_mapping(kwargs, "kwargs")
        parameters = self.signature.bind(given, named)
        drawing = visualizing.current()
        if drawing is not None:
            return drawing.submit(self, parameters, wait_for)
        upstream = resolve.find((*given, *named.values()), wait_for, lineage=None)
        effects.drive(upstream.wait())
        if upstream.replace:
            given = tuple(resolve.values_of(value) for value in given)
            named = {name: resolve.values_of(value) for name, value in named.items()}
        try:
            run, task_run_id = background.submit(self, given, named)
        except errors.HeadgateError as error:
            _trim(error)
            raise
        return _distributed_future.DistributedFuture(run, task_run_id, self.name)

    @explained
    def serve(self, **options: Any) -> None:
        """Execute the runs of the task that were asked for by ``delay``.

        Args:
            **options: As for ``headgate.task_worker.serve``.
        """
        from headgate import task_worker

        task_worker.serve(self, **options)

    # --- Variants of it ---

    # Of a class method: the first argument is the class.
    @overload
    def __get__(
        self: Task[Concatenate[type[SelfT], BoundP], T], instance: SelfT | None, owner: type[SelfT]
    ) -> Task[BoundP, T]: ...

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Task[P, R]: ...

    @overload
    def __get__(
        self: Task[Concatenate[SelfT, BoundP], T], instance: SelfT, owner: type[Any] | None = None
    ) -> Task[BoundP, T]: ...

    # Of a static method.
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Task[P, R]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Bind a task that is a method to its instance or class."""
        if self._wrapper is staticmethod:
            return self
        to = owner if self._wrapper is classmethod else instance
        if to is None:
            return self
        bound = copy.copy(self)
        bound.fn = cast("Any", self.fn).__get__(to, owner)
        bound._task_key = self.task_key
        bound._use_function()
        return bound

    @explained
    def with_options(self, **options: Unpack[TaskOptions]) -> Task[P, R]:
        """Return a copy of the task with other options.

        Args:
            **options: Those of ``task``; the ones that are not given stay as they are, and so do a
                name, description, timeout, list of hooks and the like that are given as None.

        Raises:
            OptionTypeError: There is no such option.
        """
        _options.refuse_unknown(options, _OPTIONS, f"Task {self.name!r}")
        given = _options.without_none(options, _KEPT_IF_NONE)
        count, delay, jitter_factor = self._retry_options
        merged: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "tags": self.tags,
            "version": self.version,
            "task_run_name": self.task_run_name,
            "retries": count,
            "retry_delay_seconds": delay,
            "retry_jitter_factor": jitter_factor,
            "retry_condition_fn": self.retry_condition_fn,
            "timeout_seconds": self.timeout_seconds,
            "isolate": self.isolate,
            "log_prints": self.log_prints,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_running": self.on_running_hooks,
            "on_rollback": self.on_rollback_hooks,
            "on_commit": self.on_commit_hooks,
            "viz_return_value": self.viz_return_value,
            **{field: getattr(self._results, field) for field in _RESULT_OPTIONS},
            **given,
        }
        made = Task(self.fn, **merged)
        made._wrapper = self._wrapper
        if "cache_policy" in given:
            made._warn_of_exclusions()
        return made

    def on_completion(self, fn: TaskHook) -> TaskHook:
        """Decorate a function that hears of completed runs: ``fn(task, task_run, state)``."""
        self.on_completion_hooks.append(fn)
        return fn

    def on_failure(self, fn: TaskHook) -> TaskHook:
        """Decorate a function that hears of failed runs: ``fn(task, task_run, state)``."""
        self.on_failure_hooks.append(fn)
        return fn

    def on_running(self, fn: TaskHook) -> TaskHook:
        """Decorate a function that hears of runs that begin, retries included."""
        self.on_running_hooks.append(fn)
        return fn

    def on_rollback(self, fn: TransactionHook) -> TransactionHook:
        """Decorate a function that hears that a run was rolled back: ``fn(transaction)``."""
        self.on_rollback_hooks.append(fn)
        return fn

    def on_commit(self, fn: TransactionHook) -> TransactionHook:
        """Decorate a function that hears that a run was committed: ``fn(transaction)``."""
        self.on_commit_hooks.append(fn)
        return fn

    def __copy__(self) -> Task[P, R]:
        """Return a copy that shares the options; pickling by name would return the original."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Pickle by name where the task is found by it; else by what it is made of."""
        from headgate.engine import sources

        if sources.is_found_by_name(self):
            return self.__qualname__
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        """``<Task 'load'>``."""
        return f"<Task {self.name!r}>"


def _trim(error: BaseException) -> None:
    from headgate.logging import tracebacks  # only who fails pays

    tracebacks.trim(error)


#: The names of what ``task`` may be told.
_OPTIONS = _options.options_of(cast("Any", Task).__init__)


def _arity(signature: inspect.Signature) -> tuple[int, int] | None:
    """Return how many arguments by position fit; None where a call has to be bound to see."""
    least = most = 0
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            return None
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += parameter.default is parameter.empty
        elif parameter.kind is parameter.VAR_POSITIONAL:
            most = 1_000_000
    return least, most


def _name_of(fn: Any) -> str:
    name: str = getattr(fn, "__name__", None) or type(fn).__name__
    return "unknown-lambda" if name == "<lambda>" else name


def _defer_all(task: Any, calls: Iterable[Mapping[str, Any]], wait_for: Any) -> Any:
    from headgate.futures import FutureList

    made = (task.signature.call_arguments(call) for call in calls)
    return FutureList[Any](task.apply_async(args, kwargs, wait_for) for args, kwargs in made)


def _task_runner(task: Task[..., Any]) -> Any:
    context = contexts.current_flow()
    if context is None or context.task_runner is None:
        from headgate.engine import visualizing

        drawing = visualizing.current()
        if drawing is not None:
            return drawing
        msg = (
            f"Task {task.name!r} can be submitted within a flow only, for the task runner is the "
            "flow's; call the task, submit it in a flow, or leave it to a task worker by delay()."
        )
        raise errors.MissingContextError(msg)
    return context.task_runner


_task_engine: Any = None


def _engine() -> Any:
    """Load the engine with the first call: it loads grpc, which the decorators need not."""
    global _task_engine
    if _task_engine is None:
        from headgate.engine import task_engine

        _task_engine = task_engine
    return _task_engine


@overload
def task(fn: Callable[P, R], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...


@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...


@explained
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a task of a function: ``@task`` or ``@task(retries=3)``.

    Args:
        fn: The function, sync or async, or a generator of either kind.
        **options: As follows.

    The options are:

    - ``name``: default: that of the function.
    - ``description``: default: its docstring.
    - ``tags``: tags of its runs, beside those of surrounding ``tags`` blocks.
    - ``version``: any text.
    - ``task_run_name``: the names of its runs: a template of its parameters such as
      ``"load-{day}"``, or a function that returns a name; it may take ``parameters``.
    - ``retries``: attempts after the first. Default: 0.
    - ``retry_delay_seconds``: waiting time before each: a number, a list, or a function of the
      number of retries that returns a list, such as ``exponential_backoff(10)``.
    - ``retry_jitter_factor``: a delay d becomes a random one between d and d * (1 + factor).
    - ``retry_condition_fn``: called with (task, task run, state) after a failure; False: do not
      try again.
    - ``timeout_seconds``: how long an attempt may take. Default: for ever. Code on the main thread
      is interrupted wherever it is. Code on another thread is interrupted between two
      instructions of Python: a call that blocks in C, such as ``time.sleep`` or a query, ends
      first. With ``isolate``, or a ``ProcessPoolTaskRunner``, nothing outlives its timeout by
      more than a second.
    - ``isolate``: execute the function in a process of its own, which is killed where it does
      not end in time, and which may crash without harm to the flow run. Arguments and result
      must be fit to be pickled. Default: False.
    - ``persist_result``: keep the result where other processes find it. Default: True where an
      option here is about caching or keeping results; else as the flow has it.
    - ``cache_policy``: which calls are the same call, so that a kept result is used in the place
      of calling the function again; see ``headgate.cache_policies``. Default: the same arguments
      and source in the same flow run. None: no two calls are.
    - ``cache_key_fn``: makes the key of a call of (task run context, parameters), in the place of
      a policy.
    - ``cache_expiration``: for how long a kept result is used: a ``timedelta``. Default: for ever.
    - ``refresh_cache``: True calls the function all the same, and replaces the kept result.
    - ``result_storage``: where results are kept: a saved block, its name as ``type/name``, or a
      Path. Default: as the flow has it.
    - ``result_storage_key``: a template of the key there, e.g. ``"sums/{parameters[day]}"``; it
      may use ``flow_run``, ``task_run`` and ``deployment`` of ``headgate.runtime``, too. It is in
      the place of a cache policy: calls with the same key are the same call.
    - ``result_serializer``: how results are written: ``pickle``, ``json``, ``compressed/json``, or
      a ``Serializer``. Default: as the flow has it.
    - ``cache_result_in_memory``: False lets the result go from this process once it is kept.
      Default: True.
    - ``on_rollback``, ``on_commit``: lists of functions that are called with the transaction of
      the run; see ``headgate.transactions``.
    - ``log_prints``: whether prints become log lines. Default: as the flow has it.
    - ``on_completion``, ``on_failure``, ``on_running``: lists of functions that are called with
      (task, task run, state).
    - ``viz_return_value``: what it returns while a flow is drawn by ``Flow.visualize``, where
      the flow looks at what it returns.

    Raises:
        OptionTypeError: An option does not fit.
        ReservedArgumentError: A parameter has a name that every call takes already.
    """
    _options.refuse_unknown(options, _OPTIONS, "@task")

    def decorate(fn: Callable[..., Any]) -> Task[..., Any]:
        try:
            made = Task(fn, **options)
            made._warn_of_exclusions()  # pyright: ignore[reportPrivateUsage]  # of this module
            return made
        except Exception as error:
            _trim(error)
            raise

    return decorate if fn is None else decorate(fn)


def task_input_hash(context: contexts.TaskRunContext, arguments: dict[str, Any]) -> str | None:
    """Make the cache key of a call of its task and arguments: a ``cache_key_fn``.

    Raises:
        HashError: No hash can be made of an argument; it is named.
    """
    from headgate.utilities.hashing import hash_objects, stable_hash

    return stable_hash(context.task.task_key, hash_objects(**arguments))
