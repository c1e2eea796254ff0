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
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from headgate import _options, settings
from headgate import parameters as parameter_codec
from headgate._explaining import explained
from headgate.core import errors
from headgate.core import retries as retry_rules
from headgate.core.retries import RetryDelay
from headgate.states import State, StateType

if TYPE_CHECKING:
    from headgate._parameter_schemas import ParameterSchema
    from headgate.core.runs import FlowRun
    from headgate.deployments import RunnerDeployment
    from headgate.deployments.remote import Origin
    from headgate.futures import FlowRunFuture, FutureList
    from headgate.serializers import Serializer
    from headgate.task_runners import TaskRunner

__all__ = ["Flow", "FlowHook", "flow", "load_flow_from_entrypoint"]

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")
SelfT = TypeVar("SelfT")
BoundP = ParamSpec("BoundP")

#: Hears of a state of a flow run; may be async.
FlowHook = Callable[["Flow[..., Any]", "FlowRun", State[Any]], Any]
RetryCondition = Callable[["Flow[..., Any]", "FlowRun", State[Any]], Any]

if TYPE_CHECKING:

    class FlowOptions(TypedDict, total=False):
        """The options of ``flow``, for type checkers; ``Flow.__init__`` has them with defaults."""

        name: str | None
        version: str | None
        flow_run_name: str | Callable[[], str] | None
        retries: int | None
        retry_delay_seconds: RetryDelay | None
        retry_jitter_factor: float | None
        retry_condition_fn: RetryCondition | None
        task_runner: type[TaskRunner] | TaskRunner | None
        description: str | None
        timeout_seconds: float | datetime.timedelta | None
        validate_parameters: bool
        log_prints: bool | None
        on_completion: Iterable[FlowHook] | None
        on_failure: Iterable[FlowHook] | None
        on_cancellation: Iterable[FlowHook] | None
        on_crashed: Iterable[FlowHook] | None
        on_running: Iterable[FlowHook] | None
        persist_result: bool | None
        result_storage: Any
        result_serializer: Serializer[Any] | str | None
        cache_result_in_memory: bool
        durable: bool | None


#: Options of which None says nothing in ``with_options``: those are 0 or [] where there is none.
_KEPT_IF_NONE = frozenset(
    {
        "name",
        "version",
        "description",
        "flow_run_name",
        "retries",
        "retry_delay_seconds",
        "task_runner",
        "timeout_seconds",
        "validate_parameters",
        "cache_result_in_memory",
        "on_completion",
        "on_failure",
        "on_cancellation",
        "on_crashed",
        "on_running",
    }
)

#: They have a meaning in URLs, in queries or on the page.
_BANNED = frozenset("/%&><")


class Flow(Generic[P, R]):
    """A function that Headgate orchestrates; made by ``flow``.

    Calling it makes a flow run that the server knows of, validates the parameters, and runs the
    function. A call within another flow makes a subflow.
    """

    #: Whether it stands for one task that was called outside of flows.
    is_task_root = False
    #: Where its code is, if that is not here; see ``from_source``.
    origin: Origin | None = None

    @explained
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
        persist_result: bool | None = None,
        result_storage: Any = None,
        result_serializer: Serializer[Any] | str | None = None,
        cache_result_in_memory: bool = True,
        durable: bool | None = None,
    ) -> None:
        """Make a flow of a function; see ``flow`` for the options.

        Raises:
            OptionTypeError: An option does not fit.
            OptionValueError: The name has a character that is not allowed.
            ReservedArgumentError: A parameter has a name that every call takes already.
            SignatureMismatchError: The annotations cannot be validated.
        """
        if not callable(fn) and not isinstance(fn, (staticmethod, classmethod)):
            msg = f"A flow is made of a function, not of {fn!r}; decorate a function."
            raise errors.OptionTypeError(msg)
        self._wrapper: type[Any] | None = None
        if isinstance(fn, (staticmethod, classmethod)):
            self._wrapper = type(cast("Any", fn))
            fn = cast("Callable[P, R]", cast("Any", fn).__func__)
        self.fn: Callable[P, R] = fn
        self.name = _checked_name(_options.checked_name(name) or _name_of(fn))
        self._version = _options.checked_text(version, "version")
        self.flow_run_name = _checked_run_name(flow_run_name)
        self._set_retries(retries, retry_delay_seconds, retry_jitter_factor)
        self.retry_condition_fn = _options.checked_condition(retry_condition_fn, "flow")
        self._task_runner = _checked_task_runner(task_runner)
        description = _options.checked_text(description, "description")
        self.description = description if description is not None else inspect.getdoc(fn)
        self.timeout_seconds = _options.timeout_in_seconds(timeout_seconds)
        self.should_validate_parameters = _options.checked_flag(
            validate_parameters, "validate_parameters"
        )
        self.log_prints = _options.checked_choice(log_prints, "log_prints")
        self.on_completion_hooks = _options.checked_hooks(on_completion, "on_completion", "flow")
        self.on_failure_hooks = _options.checked_hooks(on_failure, "on_failure", "flow")
        self.on_cancellation_hooks = _options.checked_hooks(
            on_cancellation, "on_cancellation", "flow"
        )
        self.on_crashed_hooks = _options.checked_hooks(on_crashed, "on_crashed", "flow")
        self.on_running_hooks = _options.checked_hooks(on_running, "on_running", "flow")
        self._set_results(persist_result, result_storage, result_serializer)
        self.cache_result_in_memory = _options.checked_flag(
            cache_result_in_memory, "cache_result_in_memory"
        )
        self.durable = None if durable is None else _options.checked_flag(durable, "durable")
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

    def _set_results(
        self, persist: bool | None, storage: Any, serializer: Serializer[Any] | str | None
    ) -> None:
        self._persist_result = _options.checked_choice(persist, "persist_result")
        self.result_storage = _options.result_storage(storage)
        self.result_serializer: Serializer[Any] | None = _options.result_serializer(serializer)
        #: None: as the calling flow, or else the settings, have it.
        self.persist_result = self._persist_result
        if persist is None and (storage is not None or serializer is not None):
            self.persist_result = True

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
    def retry_delay_seconds(self) -> float | datetime.timedelta | list[float]:
        """Waiting time before each retry, as it was given; what a function returned is a list."""
        return _options.told_delay(self._retry_options[1], self.retry_policy)

    @property
    def task_runner(self) -> TaskRunner:
        """A task runner for one run: a duplicate of the flow's."""
        from headgate.task_runners import TaskRunner, ThreadPoolTaskRunner

        runner = self._task_runner
        if runner is None:
            return ThreadPoolTaskRunner()
        return runner.duplicate() if isinstance(runner, TaskRunner) else runner()

    @property
    def parameters(self) -> ParameterSchema:
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
            OptionValueError: The template names a parameter that the flow does not have.
            OptionTypeError: The function did not return a name.
        """
        template = self.flow_run_name
        if template is None:
            return None
        if isinstance(template, str):
            return _options.run_name(template, parameters, "flow", self.name)
        name: object = template()
        if not isinstance(name, str):
            msg = f"flow_run_name of flow {self.name!r} returned {name!r}; return a text."
            raise errors.OptionTypeError(msg)
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
        from headgate.engine import flow_engine, visualizing

        drawing = visualizing.current()
        if drawing is not None:
            parameters = self.signature.bind(args, kwargs)
            return drawing.call(self, parameters, wait_for, return_state=return_state)
        try:
            return flow_engine.call(self, args, kwargs, wait_for, return_state=return_state)
        except BaseException as error:
            _trim(error)
            raise

    # --- Running many of it ---

    @overload
    def submit(
        self: Flow[..., Coroutine[Any, Any, T]],
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
        self: Flow[..., Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[False] = False,
        wait_for: Any = None,
        **kwargs: Any,
    ) -> FlowRunFuture[T]: ...

    @overload
    def submit(
        self,
        *args: Any,
        return_state: Literal[False] = False,
        wait_for: Any = None,
        **kwargs: Any,
    ) -> FlowRunFuture[R]: ...

    def submit(
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Run the flow beside what goes on here.

        Within a flow it is a subflow, executed by the flow's task runner; the flow run waits for
        it at its end, and stops it where it is stopped itself. Outside of flows it is a flow run
        on a thread, and the process waits for it at its end.

        Args:
            *args: What the function is called with; futures are waited for by the run.
            return_state: Wait for the end, and return the final state.
            wait_for: Futures that must be completed first; their results are not used.
            **kwargs: What the function is called with, by name.

        Returns:
            A future of the result.

        Raises:
            ParameterBindError: The arguments do not fit the flow.
            ServerStartError: No server is configured and the embedded one did not start.
        """
        runner = _runner_here()
        future = runner.submit_flow(self, self.signature.bind(args, kwargs), wait_for)
        if not return_state:
            return future
        future.wait()
        return future.state

    @overload
    def map(
        self: Flow[..., Coroutine[Any, Any, T]],
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
        self: Flow[..., Coroutine[Any, Any, T]],
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
        """Run the flow once for each of many values; see ``submit`` and ``Task.map``.

        Args:
            *args: Iterables of one length, or what is passed whole.
            return_state: Wait for all to end, and return their final states.
            wait_for: Futures that must be completed first; their results are not used.
            **kwargs: The same by name; ``max_concurrency`` and ``batch_size`` as in ``Task.map``.

        Returns:
            The futures, in order.

        Raises:
            MappingMissingIterable: There is nothing to iterate over.
            MappingLengthMismatch: The iterables differ in length.
        """
        from headgate.engine import mapping, progress

        options, kwargs = mapping.options(self.signature, kwargs)
        if options.deferred:
            msg = "deferred is for tasks; leave flow runs to runners by run_deployment."
            raise errors.OptionTypeError(msg)
        calls = mapping.arguments(self.signature, args, kwargs)
        futures = _runner_here().map_flow(self, calls, wait_for, **options.given)
        progress.show(self.name, futures)
        if not return_state:
            return futures
        futures.wait()
        return [future.state for future in futures]

    # --- Variants of it ---

    # Of a class method: the first argument is the class.
    @overload
    def __get__(
        self: Flow[Concatenate[type[SelfT], BoundP], T], instance: SelfT | None, owner: type[SelfT]
    ) -> Flow[BoundP, T]: ...

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Flow[P, R]: ...

    @overload
    def __get__(
        self: Flow[Concatenate[SelfT, BoundP], T], instance: SelfT, owner: type[Any] | None = None
    ) -> Flow[BoundP, T]: ...

    # Of a static method.
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Flow[P, R]: ...

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

    @explained
    def with_options(self, **options: Unpack[FlowOptions]) -> Flow[P, R]:
        """Return a copy of the flow with other options.

        Args:
            **options: Those of ``flow``; the ones that are not given stay as they are, and so do a
                name, description, timeout, list of hooks and the like that are given as None.

        Raises:
            OptionTypeError: There is no such option.
        """
        _options.refuse_unknown(options, _OPTIONS, f"Flow {self.name!r}")
        given = _options.without_none(options, _KEPT_IF_NONE)
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
            "persist_result": self._persist_result,
            "result_storage": self.result_storage,
            "result_serializer": self.result_serializer,
            "cache_result_in_memory": self.cache_result_in_memory,
            "durable": self.durable,
            **given,
        }
        made = Flow(self.fn, **merged)
        made._wrapper = self._wrapper
        made.origin = self.origin
        return made

    # --- Where it comes from ---

    @staticmethod
    @explained
    def from_source(source: Any, entrypoint: str) -> Flow[..., Any]:
        """Load a flow whose code is elsewhere; runners of its deployments get it from there, too.

        Args:
            source: A URL, a path, a storage of ``headgate.runner.storage``, or a block with files.
            entrypoint: Where the flow is in that code: ``path/to/file.py:function``.

        Raises:
            StorageError: The code could not be got.
            MissingFlowError: There is no such flow in it.
            ScriptError: The code raised while it was imported.
        """
        from headgate.deployments import remote

        return remote.load_flow(source, entrypoint)

    @staticmethod
    @explained
    async def afrom_source(source: Any, entrypoint: str) -> Flow[..., Any]:
        """Do what ``from_source`` does, in a coroutine; the code is got on a thread."""
        from headgate.deployments import remote

        return await remote.aload_flow(source, entrypoint)

    # --- Deployments of it; see ``headgate.deployments`` ---

    @explained
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

        make = RunnerDeployment.from_flow
        _options.refuse_unknown(options, _options.options_of(make), "to_deployment")
        return make(self, name, **options)

    @explained
    async def ato_deployment(self, name: str, **options: Any) -> RunnerDeployment:
        """Do what ``to_deployment`` does, in a coroutine."""
        return self.to_deployment(name, **options)

    @explained
    def serve(self, name: str | None = None, **options: Any) -> None:
        """Deploy the flow and execute its runs from this process, until it is told to stop.

        Args:
            name: The deployment's name. Default: that of the flow.
            **options: As for ``headgate.deployments.serve_flow``.
        """
        from headgate.deployments import serve_flow

        serve_flow(self, name, **options)

    @explained
    async def aserve(self, name: str | None = None, **options: Any) -> None:
        """Do what ``serve`` does, in a coroutine."""
        from headgate.deployments import aserve_flow

        await aserve_flow(self, name, **options)

    @explained
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

    @explained
    async def adeploy(self, name: str, work_pool_name: str | None = None, **options: Any) -> str:
        """Do what ``deploy`` does, in a coroutine."""
        from headgate.deployments import adeploy_flow

        return await adeploy_flow(self, name, work_pool_name, **options)

    # --- What it looks like ---

    def visualize(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Draw the flow's tasks and subflows, as a picture beside, and show it.

        The flow is called, but its tasks and subflows are not executed. Where the flow looks at
        what a task returns, give the task a ``viz_return_value``.

        Args:
            *args: What the flow is called with.
            **kwargs: What the flow is called with, by name.

        Raises:
            GraphvizExecutableNotFoundError: Graphviz is not installed.
            FlowVisualizationError: The flow raised.
        """
        from headgate.engine import visualizing

        visualizing.render(visualizing.draw(self, args, kwargs), self.name)

    async def avisualize(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do what ``visualize`` does, in a coroutine."""
        from headgate.engine import visualizing

        visualizing.render(await visualizing.adraw(self, args, kwargs), self.name)

    def generate_mermaid_graph(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Draw the flow's tasks and subflows as text for Mermaid; see ``visualize``.

        Raises:
            FlowVisualizationError: The flow raised.
        """
        from headgate.engine import visualizing

        return visualizing.mermaid(visualizing.draw(self, args, kwargs))

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


def _trim(error: BaseException) -> None:
    from headgate.logging import tracebacks  # only who fails pays

    tracebacks.trim(error)


#: The names of what ``flow`` may be told.
_OPTIONS = _options.options_of(cast("Any", Flow).__init__)


def load_flow_from_entrypoint(entrypoint: str) -> Flow[..., Any]:
    """Import the flow that an entrypoint names.

    Args:
        entrypoint: ``path/to/file.py:function`` or ``package.module.function``.

    Raises:
        MissingFlowError: There is no such flow; those that there are are named.
        ScriptError: The code raised while it was imported; the cause is attached.
    """
    from headgate import entrypoints

    return entrypoints.load_flow(entrypoint)


def _runner_here() -> Any:
    from headgate.context import current_flow

    context = current_flow()
    if context is not None and context.task_runner is not None:
        return context.task_runner
    from headgate.engine import submission, visualizing

    return visualizing.current() or submission.loose_runner()


def _name_of(fn: Any) -> str:
    name: str = getattr(fn, "__name__", None) or type(fn).__name__
    return "unknown-lambda" if name == "<lambda>" else name.replace("_", "-")


def _checked_name(name: str) -> str:
    found = sorted(_BANNED.intersection(name))
    if found:
        msg = f"The name {name!r} of a flow has {' '.join(found)} in it; leave / % & > < away."
        raise errors.OptionValueError(msg)
    return name


def _checked_task_runner(
    runner: type[TaskRunner] | TaskRunner | None,
) -> type[TaskRunner] | TaskRunner | None:
    # By what it can do: loading the class that it should be would load the engine.
    if runner is not None and not callable(getattr(runner, "submit", None)):
        msg = f"task_runner is {runner!r}; use e.g. ThreadPoolTaskRunner(max_workers=4)."
        raise errors.OptionTypeError(msg)
    return runner


def _checked_run_name(name: str | Callable[[], str] | None) -> str | Callable[[], str] | None:
    if name is not None and not isinstance(name, str) and not callable(name):
        msg = f"flow_run_name is {name!r}; use a template such as 'etl-{{day}}' or a function."
        raise errors.OptionTypeError(msg)
    if inspect.iscoroutinefunction(name):
        msg = "flow_run_name is an async function; use a sync one."
        raise errors.OptionTypeError(msg)
    return name


class FlowDecorator:
    """What ``flow`` is: the decorator, and the way to flows whose code is elsewhere."""

    from_source = staticmethod(Flow.from_source)
    afrom_source = staticmethod(Flow.afrom_source)

    @overload
    def __call__(self, fn: Callable[P, R], /, **options: Unpack[FlowOptions]) -> Flow[P, R]: ...

    @overload
    def __call__(
        self, /, **options: Unpack[FlowOptions]
    ) -> Callable[[Callable[P, R]], Flow[P, R]]: ...

    @explained
    def __call__(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
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
        - ``validate_parameters``: check parameters against annotations and coerce them. Default:
          True.
        - ``log_prints``: whether prints become log lines. Default: as the calling flow has it.
        - ``on_completion``, ``on_failure``, ``on_cancellation``, ``on_crashed``, ``on_running``:
          lists of functions that are called with (flow, flow run, state).
        - ``persist_result``: keep the result, and those of tasks that do not say, where other
          processes find them. Default: True where an option here says where or how; else as the
          calling flow, or else the setting ``results_persist_by_default``, has it.
        - ``result_storage``: where results are kept, of its tasks and subflows, too: a saved block,
          its name as ``type/name``, or a Path. Default: as the calling flow, or else the settings.
        - ``result_serializer``: how results are written: ``pickle``, ``json``, ``compressed/json``,
          or a ``Serializer``. Default: as the calling flow, or else the settings.
        - ``cache_result_in_memory``: False lets the result go from this process once it is kept.
          Default: True.
        - ``durable``: a run that is tried again, by its retries, by hand, or because its process
          was lost, goes on from its point of failure: tasks that have completed return what they
          returned, and are not called again. Each task returns when its result is committed, so
          results must be fit to be pickled. Default: as the calling flow is, else False; False
          for a subflow that shall begin anew each time.

        Raises:
            OptionTypeError: An option does not fit.
            OptionValueError: The name has a character that is not allowed.
            ReservedArgumentError: A parameter has a name that every call takes already.
        """
        _options.refuse_unknown(options, _OPTIONS, "@flow")

        def decorate(fn: Callable[..., Any]) -> Flow[..., Any]:
            try:
                return Flow(fn, **options)
            except Exception as error:
                _trim(error)
                raise

        return decorate if fn is None else decorate(fn)


flow = FlowDecorator()


def __getattr__(name: str) -> Any:
    """Return ``serve`` and ``aserve``, which users of the incumbent import from here, too."""
    if name in ("aserve", "serve"):
        from headgate import deployments

        return getattr(deployments, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
