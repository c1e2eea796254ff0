"""Flows: functions that Headgate orchestrates, and the decorator that makes them."""

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

from headgate import _options, settings
from headgate import parameters as parameter_codec
from headgate.core import retries as retry_rules
from headgate.core.retries import RetryDelay
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate.core.runs import FlowRun
    from headgate.deployments import RunnerDeployment
    from headgate.task_runners import TaskRunner

__all__ = ["Flow", "FlowHook", "flow"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")
SelfT = TypeVar("SelfT")

#: Hears of a state of a flow run; may be async.
FlowHook = Callable[["Flow[..., Any]", "FlowRun", State[Any]], Any]
RetryCondition = Callable[["Flow[..., Any]", "FlowRun", State[Any]], Any]

#: They have a meaning in URLs, in queries or on the page.
_BANNED = frozenset("/%&><")


class Flow(Generic[P, R]):
    """A function that Headgate orchestrates; made by ``flow``.

    Calling it makes a flow run that the server knows of, validates the parameters, and runs the
    function. A call within another flow makes a subflow.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str | None = None,
        version: str | None = None,
        flow_run_name: str | Callable[[], str] | None = None,
        retries: int | None = None,
        retry_delay_seconds: RetryDelay | None = None,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: RetryCondition | None = None,
        task_runner: type[TaskRunner] | TaskRunner | None = None,
        description: str | None = None,
        timeout_seconds: float | datetime.timedelta | None = None,
        validate_parameters: bool = True,
        log_prints: bool | None = None,
        on_completion: Iterable[FlowHook] | None = None,
        on_failure: Iterable[FlowHook] | None = None,
        on_cancellation: Iterable[FlowHook] | None = None,
        on_crashed: Iterable[FlowHook] | None = None,
        on_running: Iterable[FlowHook] | None = None,
    ) -> None:
        """Make a flow of a function; see ``flow`` for the options.

        Raises:
            TypeError: An option does not fit.
            ValueError: The name has a character that is not allowed.
            ReservedArgumentError: A parameter has a name that every call takes already.
            SignatureMismatchError: The annotations cannot be validated.
        """
        if not callable(fn) and not isinstance(fn, (staticmethod, classmethod)):
            msg = f"A flow is made of a function, not of {fn!r}; decorate a function."
            raise TypeError(msg)
        self._wrapper: type[Any] | None = None
        if isinstance(fn, (staticmethod, classmethod)):
            self._wrapper = type(cast("Any", fn))
            fn = cast("Callable[P, R]", cast("Any", fn).__func__)
        self.fn: Callable[P, R] = fn
        self.name = _checked_name(_options.checked_name(name) or _name_of(fn))
        self._version = version
        self.flow_run_name = _checked_run_name(flow_run_name)
        self._set_retries(retries, retry_delay_seconds, retry_jitter_factor)
        self.retry_condition_fn = _options.checked_condition(retry_condition_fn, "flow")
        self._task_runner = _checked_task_runner(task_runner)
        self.description = description if description is not None else inspect.getdoc(fn)
        self.timeout_seconds = _options.timeout_in_seconds(timeout_seconds)
        self.should_validate_parameters = validate_parameters
        self.log_prints = log_prints
        self.on_completion_hooks = _hooks(on_completion, "on_completion")
        self.on_failure_hooks = _hooks(on_failure, "on_failure")
        self.on_cancellation_hooks = _hooks(on_cancellation, "on_cancellation")
        self.on_crashed_hooks = _hooks(on_crashed, "on_crashed")
        self.on_running_hooks = _hooks(on_running, "on_running")
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
        self.signature = parameter_codec.Signature(fn, kind="flow")

    def _set_retries(
        self, count: int | None, delay: RetryDelay | None, jitter_factor: float | None
    ) -> None:
        self._retry_options = (count, delay, jitter_factor)
        if count is None or delay is None:
            now = settings.current()
            count = now.flows_default_retries if count is None else count
            delay = now.flows_default_retry_delay_seconds if delay is None else delay
        self.retry_policy = retry_rules.policy(count, delay, jitter_factor)

    # --- What it is ---

    @property
    def version(self) -> str | None:
        """The version; that of the source file where none was given; None without a file."""
        if self._version is None:
            from headgate.engine import sources

            self._version = sources.file_digest(self.fn)
        return self._version

    @property
    def retries(self) -> int:
        """Attempts after the first."""
        return self.retry_policy.max_retries

    @property
    def retry_delay_seconds(self) -> tuple[float, ...]:
        """Waiting time before each retry; the last one is used for all that follow."""
        return self.retry_policy.delays_seconds

    @property
    def task_runner(self) -> TaskRunner:
        """A task runner for one run: a duplicate of the flow's."""
        from headgate.task_runners import TaskRunner, ThreadPoolTaskRunner

        runner = self._task_runner
        if runner is None:
            return ThreadPoolTaskRunner()
        return runner.duplicate() if isinstance(runner, TaskRunner) else runner()

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema of the parameters."""
        return self.signature.schema()

    def validate_parameters(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Check parameters, given by name, and coerce them to their annotations.

        Raises:
            SignatureMismatchError: There are names that the flow does not have.
            ParameterBindError: One without default is missing.
            ParameterTypeError: Values do not fit; all of them are named.
        """
        complete = self.signature.complete(parameters)
        return self.signature.validate(complete) if self.should_validate_parameters else complete

    def serialize_parameters(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Turn parameters into what JSON can say; one without JSON form becomes its ``repr``."""
        texts, _warnings = parameter_codec.encode_leniently(parameters)
        return parameter_codec.decode(texts)

    def run_name(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the name of a run by ``flow_run_name``; None where there is none.

        Raises:
            KeyError: The template names a parameter that the flow does not have.
            TypeError: The function did not return a name.
        """
        template = self.flow_run_name
        if template is None:
            return None
        if isinstance(template, str):
            return template.format(**parameters)
        name: object = template()
        if not isinstance(name, str):
            msg = f"flow_run_name of flow {self.name!r} returned {name!r}; return a text."
            raise TypeError(msg)
        return name

    def hooks_for(self, state: State[Any]) -> list[FlowHook]:
        """Return the hooks that hear of a final state."""
        match state.type:
            case StateType.COMPLETED:
                return self.on_completion_hooks
            case StateType.FAILED:
                return self.on_failure_hooks
            case StateType.CANCELLED:
                return self.on_cancellation_hooks
            case StateType.CRASHED:
                return self.on_crashed_hooks
            case _:
                return []

    # --- Calling it ---

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    # Without it a function that only raises would match the next one.
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]  # it must come first
        self: Flow[..., NoReturn],
        *args: Any,
        return_state: Literal[True],
        wait_for: Any = None,
        **kwargs: Any,
    ) -> State[Never]: ...

    @overload
    def __call__(
        self: Flow[..., Coroutine[Any, Any, T]],
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
        """Run the flow.

        Args:
            *args: What the function is called with; futures become their results.
            return_state: Return the final state, and raise nothing that the function raised.
            wait_for: Futures that must be completed first; their results are not used.
            **kwargs: What the function is called with, by name.

        Raises:
            ParameterBindError: The arguments do not fit the flow.
            ParameterTypeError: The values do not fit the annotations; the run has failed.
            CancelledRun: The run was cancelled.
            Exception: What the function raised, when no retry is left.
        """
        from headgate.engine import flow_engine

        return flow_engine.call(self, args, kwargs, wait_for, return_state=return_state)

    # --- Variants of it ---

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Flow[P, R]: ...

    @overload
    def __get__(
        self: Flow[Concatenate[SelfT, P], R], instance: SelfT, owner: type[Any] | None = None
    ) -> Flow[P, R]: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Flow[..., Any]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Bind a flow that is a method to its instance or class."""
        if self._wrapper is staticmethod:
            return self
        to = owner if self._wrapper is classmethod else instance
        if to is None:
            return self
        bound = copy.copy(self)
        bound.fn = cast("Any", self.fn).__get__(to, owner)
        bound._use_function()
        return bound

    def with_options(self, **options: Any) -> Flow[P, R]:
        """Return a copy of the flow with other options.

        Args:
            **options: Those of ``flow``; the ones that are not given stay as they are.

        Raises:
            TypeError: There is no such option.
        """
        count, delay, jitter_factor = self._retry_options
        merged: dict[str, Any] = {
            "name": self.name,
            "version": self._version,
            "flow_run_name": self.flow_run_name,
            "retries": count,
            "retry_delay_seconds": delay,
            "retry_jitter_factor": jitter_factor,
            "retry_condition_fn": self.retry_condition_fn,
            "task_runner": self._task_runner,
            "description": self.description,
            "timeout_seconds": self.timeout_seconds,
            "validate_parameters": self.should_validate_parameters,
            "log_prints": self.log_prints,
            "on_completion": self.on_completion_hooks,
            "on_failure": self.on_failure_hooks,
            "on_cancellation": self.on_cancellation_hooks,
            "on_crashed": self.on_crashed_hooks,
            "on_running": self.on_running_hooks,
            **options,
        }
        made = Flow(self.fn, **merged)
        made._wrapper = self._wrapper
        return made

    # --- Deployments of it; see ``headgate.deployments`` ---

    def to_deployment(self, name: str, **options: Any) -> RunnerDeployment:
        """Describe a deployment of the flow; stored by its ``apply``, or run by ``serve``.

        Args:
            name: The deployment's name, unique among those of the flow.
            **options: As for ``headgate.deployments.RunnerDeployment.from_flow``: ``interval``,
                ``cron``, ``rrule``, ``schedules``, ``parameters``, ``tags``, ``paused``, ...

        Raises:
            InvalidArgument: A schedule, or an option, is wrong.
            MissingFlowError: The flow is where no other process can load it.
        """
        from headgate.deployments import RunnerDeployment

        return RunnerDeployment.from_flow(self, name, **options)

    async def ato_deployment(self, name: str, **options: Any) -> RunnerDeployment:
        """Do what ``to_deployment`` does, in a coroutine."""
        return self.to_deployment(name, **options)

    def serve(self, name: str | None = None, **options: Any) -> None:
        """Deploy the flow and execute its runs from this process, until it is told to stop.

        Args:
            name: The deployment's name. Default: that of the flow.
            **options: As for ``headgate.deployments.serve_flow``.
        """
        from headgate.deployments import serve_flow

        serve_flow(self, name, **options)

    async def aserve(self, name: str | None = None, **options: Any) -> None:
        """Do what ``serve`` does, in a coroutine."""
        from headgate.deployments import aserve_flow

        await aserve_flow(self, name, **options)

    def deploy(self, name: str, work_pool_name: str | None = None, **options: Any) -> str:
        """Deploy the flow to the runners of a work pool.

        Args:
            name: The deployment's name.
            work_pool_name: The pool. Default: ``default``.
            **options: As for ``headgate.deployments.deploy_flow``.

        Returns:
            The id of the deployment.
        """
        from headgate.deployments import deploy_flow

        return deploy_flow(self, name, work_pool_name, **options)

    async def adeploy(self, name: str, work_pool_name: str | None = None, **options: Any) -> str:
        """Do what ``deploy`` does, in a coroutine."""
        from headgate.deployments import adeploy_flow

        return await adeploy_flow(self, name, work_pool_name, **options)

    # --- Hooks as decorators ---

    def on_completion(self, fn: FlowHook) -> FlowHook:
        """Decorate a function that hears of completed runs: ``fn(flow, flow_run, state)``."""
        self.on_completion_hooks.append(fn)
        return fn

    def on_failure(self, fn: FlowHook) -> FlowHook:
        """Decorate a function that hears of failed runs: ``fn(flow, flow_run, state)``."""
        self.on_failure_hooks.append(fn)
        return fn

    def on_cancellation(self, fn: FlowHook) -> FlowHook:
        """Decorate a function that hears of cancelled runs: ``fn(flow, flow_run, state)``."""
        self.on_cancellation_hooks.append(fn)
        return fn

    def on_crashed(self, fn: FlowHook) -> FlowHook:
        """Decorate a function that hears of crashed runs: ``fn(flow, flow_run, state)``."""
        self.on_crashed_hooks.append(fn)
        return fn

    def on_running(self, fn: FlowHook) -> FlowHook:
        """Decorate a function that hears of runs that begin, retries included."""
        self.on_running_hooks.append(fn)
        return fn

    def __copy__(self) -> Flow[P, R]:
        """Return a copy that shares the options; pickling by name would return the original."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Pickle by name where the flow is found by it; else by what it is made of."""
        from headgate.engine import sources

        if sources.is_found_by_name(self):
            return self.__qualname__
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        """``<Flow 'etl'>``."""
        return f"<Flow {self.name!r}>"


def _name_of(fn: Any) -> str:
    name: str = getattr(fn, "__name__", None) or type(fn).__name__
    return "unknown-lambda" if name == "<lambda>" else name.replace("_", "-")


def _checked_name(name: str) -> str:
    found = sorted(_BANNED.intersection(name))
    if found:
        msg = f"The name {name!r} of a flow has {' '.join(found)} in it; leave / % & > < away."
        raise ValueError(msg)
    return name


def _checked_task_runner(
    runner: type[TaskRunner] | TaskRunner | None,
) -> type[TaskRunner] | TaskRunner | None:
    # By what it can do: loading the class that it should be would load the engine.
    if runner is not None and not callable(getattr(runner, "submit", None)):
        msg = f"task_runner is {runner!r}; use e.g. ThreadPoolTaskRunner(max_workers=4)."
        raise TypeError(msg)
    return runner


def _checked_run_name(name: str | Callable[[], str] | None) -> str | Callable[[], str] | None:
    if name is not None and not isinstance(name, str) and not callable(name):
        msg = f"flow_run_name is {name!r}; use a template such as 'etl-{{day}}' or a function."
        raise TypeError(msg)
    if inspect.iscoroutinefunction(name):
        msg = "flow_run_name is an async function; use a sync one."
        raise TypeError(msg)
    return name


def _hooks(hooks: Iterable[FlowHook] | None, option: str) -> list[FlowHook]:
    if hooks is None:
        return []
    if callable(hooks):
        msg = f"{option} is {hooks!r}; use a list: {option}=[{getattr(hooks, '__name__', 'hook')}]."
        raise TypeError(msg)
    made = list(hooks)
    for hook in made:
        if not callable(hook):
            msg = f"{option} has {hook!r}; use functions of (flow, flow_run, state)."
            raise TypeError(msg)
    return made


@overload
def flow(fn: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(
    *,
    name: str | None = None,
    version: str | None = None,
    flow_run_name: str | Callable[[], str] | None = None,
    retries: int | None = None,
    retry_delay_seconds: RetryDelay | None = None,
    retry_jitter_factor: float | None = None,
    retry_condition_fn: RetryCondition | None = None,
    task_runner: type[TaskRunner] | TaskRunner | None = None,
    description: str | None = None,
    timeout_seconds: float | datetime.timedelta | None = None,
    validate_parameters: bool = True,
    log_prints: bool | None = None,
    on_completion: Iterable[FlowHook] | None = None,
    on_failure: Iterable[FlowHook] | None = None,
    on_cancellation: Iterable[FlowHook] | None = None,
    on_crashed: Iterable[FlowHook] | None = None,
    on_running: Iterable[FlowHook] | None = None,
) -> Callable[[Callable[P, R]], Flow[P, R]]: ...


def flow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a flow of a function: ``@flow`` or ``@flow(retries=3)``.

    Args:
        fn: The function, sync or async, or a generator of either kind.
        **options: As follows.

    The options are:

    - ``name``: default: that of the function, with ``-`` for ``_``.
    - ``version``: default: a hash of the file.
    - ``flow_run_name``: the names of its runs: a template of its parameters such as
      ``"etl-{day}"``, or a function that returns a name. Default: as in ``brave-otter``.
    - ``retries``: attempts after the first. Default: 0.
    - ``retry_delay_seconds``: waiting time before each: a number, a list, or a function of the
      number of retries that returns a list.
    - ``retry_jitter_factor``: a delay d becomes a random one between d and d * (1 + factor).
    - ``retry_condition_fn``: called with (flow, flow run, state) after a failure; False: do not
      try again.
    - ``task_runner``: where submitted tasks run. Default: ``ThreadPoolTaskRunner()``.
    - ``description``: default: its docstring.
    - ``timeout_seconds``: how long an attempt may take. Default: for ever.
    - ``validate_parameters``: check parameters against annotations and coerce them. Default: True.
    - ``log_prints``: whether prints become log lines. Default: as the calling flow has it.
    - ``on_completion``, ``on_failure``, ``on_cancellation``, ``on_crashed``, ``on_running``: lists
      of functions that are called with (flow, flow run, state).

    Raises:
        TypeError: An option does not fit.
        ValueError: The name has a character that is not allowed.
        ReservedArgumentError: A parameter has a name that every call takes already.
    """

    def decorate(fn: Callable[..., Any]) -> Flow[..., Any]:
        return Flow(fn, **options)

    return decorate if fn is None else decorate(fn)
