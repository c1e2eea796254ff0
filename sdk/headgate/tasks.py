"""Tasks: units of work in a flow, and the decorator that makes them of functions."""

from __future__ import annotations

import copy
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
    TypeVar,
    cast,
    overload,
)

from headgate import _options, parameters, settings
from headgate import context as contexts
from headgate.core import errors, retries
from headgate.core.retries import RetryDelay, exponential_backoff
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.core.runs import TaskRun
    from headgate.futures import Future, FutureList

__all__ = ["Task", "TaskHook", "exponential_backoff", "task"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")
SelfT = TypeVar("SelfT")

#: Hears of a state of a task run; may be async.
TaskHook = Callable[["Task[..., Any]", "TaskRun", State[Any]], Any]
RetryCondition = Callable[["Task[..., Any]", "TaskRun", State[Any]], Any]


class Task(Generic[P, R]):
    """A unit of work that a flow calls; made by ``task``.

    Calling it within a flow makes a task run that the server knows of, and runs the function right
    here. ``submit`` runs it on the flow's task runner; ``map`` does so for each of many values.
    Outside of a flow a call behaves the same, and nothing is recorded.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        task_run_name: str | Callable[..., str] | None = None,
        retries: int | None = None,
        retry_delay_seconds: RetryDelay | None = None,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        timeout_seconds: float | datetime.timedelta | None = None,
        log_prints: bool | None = None,
        on_completion: Iterable[TaskHook] | None = None,
        on_failure: Iterable[TaskHook] | None = None,
        on_running: Iterable[TaskHook] | None = None,
    ) -> None:
        """Make a task of a function; see ``task`` for the options.

        Raises:
            TypeError: An option does not fit.
            ReservedArgumentError: A parameter has a name that every call takes already.
        """
        if not callable(fn) and not isinstance(fn, (staticmethod, classmethod)):
            msg = f"A task is made of a function, not of {fn!r}; decorate a function."
            raise TypeError(msg)
        self._wrapper: type[Any] | None = None
        if isinstance(fn, (staticmethod, classmethod)):
            self._wrapper = type(cast("Any", fn))
            fn = cast("Callable[P, R]", cast("Any", fn).__func__)
        self.fn: Callable[P, R] = fn
        self.name: str = _options.checked_name(name) or _name_of(fn)
        self.description = description if description is not None else inspect.getdoc(fn)
        self.tags = frozenset([tags] if isinstance(tags, str) else tags or ())
        self._sorted_tags = tuple(sorted(self.tags))
        self.version = version
        self.task_run_name = task_run_name
        self._check_task_run_name()
        self._set_retries(retries, retry_delay_seconds, retry_jitter_factor)
        self.retry_condition_fn = _options.checked_condition(retry_condition_fn, "task")
        self.timeout_seconds = _options.timeout_in_seconds(timeout_seconds)
        self.log_prints = log_prints
        self.on_completion_hooks = _hooks(on_completion, "on_completion")
        self.on_failure_hooks = _hooks(on_failure, "on_failure")
        self.on_running_hooks = _hooks(on_running, "on_running")
        self._task_key: str | None = None
        self._use_function()
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
            raise TypeError(msg)
        if inspect.iscoroutinefunction(name):
            msg = "task_run_name is an async function; use a sync one."
            raise TypeError(msg)

    # --- What it is ---

    @property
    def retries(self) -> int:
        """Attempts after the first."""
        return self.retry_policy.max_retries

    @property
    def retry_delay_seconds(self) -> tuple[float, ...]:
        """Waiting time before each retry; the last one is used for all that follow."""
        return self.retry_policy.delays_seconds

    @property
    def retry_jitter_factor(self) -> float:
        """A delay d becomes a random one between d and d * (1 + factor)."""
        return self.retry_policy.jitter_factor

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

    def run_name(self, context: contexts.TaskRunContext) -> str:
        """Return the name of a run by ``task_run_name``.

        Raises:
            KeyError: The template names a parameter that the task does not have.
            TypeError: The function did not return a name.
        """
        template = self.task_run_name
        if template is None:
            return context.name
        if isinstance(template, str):
            return template.format(**context.parameters)
        if "parameters" in inspect.signature(template).parameters:
            name = template(parameters=context.parameters)
        else:
            name = template()
        if not isinstance(name, str):
            msg = f"task_run_name of task {self.name!r} returned {name!r}; return a text."
            raise TypeError(msg)
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
        return _engine().call(self, args, kwargs, wait_for, return_state=return_state)

    @overload
    def submit(
        self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any
    ) -> State[Any]: ...

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
        self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any
    ) -> list[State[Any]]: ...

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
            **kwargs: The same by name.

        Returns:
            The futures, in order.

        Raises:
            MappingMissingIterable: There is nothing to iterate over.
            MappingLengthMismatch: The iterables differ in length.
            MissingContextError: There is no flow run here.
        """
        from headgate.engine import mapping

        runner = _task_runner(self)
        futures = runner.map(self, mapping.arguments(self.signature, args, kwargs), wait_for)
        if not return_state:
            return futures
        futures.wait()
        return [future.state for future in futures]

    # --- Variants of it ---

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Task[P, R]: ...

    @overload
    def __get__(
        self: Task[Concatenate[SelfT, P], R], instance: SelfT, owner: type[Any] | None = None
    ) -> Task[P, R]: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Task[..., Any]: ...

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

    def with_options(self, **options: Any) -> Task[P, R]:
        """Return a copy of the task with other options.

        Args:
            **options: Those of ``task``; the ones that are not given stay as they are.

        Raises:
            TypeError: There is no such option.
        """
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
            "log_prints": self.log_prints,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_running": self.on_running_hooks,
            **options,
        }
        made = Task(self.fn, **merged)
        made._wrapper = self._wrapper
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


def _hooks(hooks: Iterable[TaskHook] | None, option: str) -> list[TaskHook]:
    """Check hooks.

    Raises:
        TypeError: It is not a list, or has something in it that cannot be called.
    """
    if hooks is None:
        return []
    if callable(hooks):
        msg = f"{option} is {hooks!r}; use a list: {option}=[{getattr(hooks, '__name__', 'hook')}]."
        raise TypeError(msg)
    made = list(hooks)
    for hook in made:
        if not callable(hook):
            msg = f"{option} has {hook!r}; use functions of (task, task_run, state)."
            raise TypeError(msg)
    return made


def _task_runner(task: Task[..., Any]) -> Any:
    context = contexts.FlowRunContext.get()
    if context is None or context.task_runner is None:
        msg = (
            f"Task {task.name!r} can be submitted within a flow only, for the task runner is the "
            "flow's; call the task, or submit it in a flow."
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
def task(fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    version: str | None = None,
    task_run_name: str | Callable[..., str] | None = None,
    retries: int | None = None,
    retry_delay_seconds: RetryDelay | None = None,
    retry_jitter_factor: float | None = None,
    retry_condition_fn: RetryCondition | None = None,
    timeout_seconds: float | datetime.timedelta | None = None,
    log_prints: bool | None = None,
    on_completion: Iterable[TaskHook] | None = None,
    on_failure: Iterable[TaskHook] | None = None,
    on_running: Iterable[TaskHook] | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


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
    - ``timeout_seconds``: how long an attempt may take. Default: for ever.
    - ``log_prints``: whether prints become log lines. Default: as the flow has it.
    - ``on_completion``, ``on_failure``, ``on_running``: lists of functions that are called with
      (task, task run, state).

    Raises:
        TypeError: An option does not fit.
        ReservedArgumentError: A parameter has a name that every call takes already.
    """

    def decorate(fn: Callable[..., Any]) -> Task[..., Any]:
        return Task(fn, **options)

    return decorate if fn is None else decorate(fn)
