"""Receives inputs of a flow run as they are sent: they are pushed, nothing is polled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from headgate import _calling, _options, context
from headgate._explaining import explained
from headgate.core import errors, run_inputs
from headgate.core.clock import process_clock
from headgate.input import run_input as inputs

if TYPE_CHECKING:
    import uuid

__all__ = ["InputReceiver", "areceive_input", "receive_input"]

T = TypeVar("T")

TIMEOUT_SECONDS = 3600.0
#: How long one request waits on the server.
_WAIT_SECONDS = 30.0


class InputReceiver(Generic[T]):
    """The inputs of a flow run, one after the other; to iterate over, sync or async.

    Made by ``receive_input``. An iteration ends when no input has come for the timeout.
    """

    def __init__(
        self,
        type_: Any,
        *,
        flow_run_id: str,
        timeout: float,
        raise_timeout_error: bool,
        exclude_keys: Iterable[str],
        key_prefix: str | None,
        with_metadata: bool,
    ) -> None:
        """Make it; nothing is asked for yet."""
        self._type = inputs.input_type(type_)
        self._said = f"the type {getattr(type_, '__name__', type_)}"
        if key_prefix:
            self._said += f" with a key that begins with {key_prefix!r}"
        self._flow_run_id = flow_run_id
        self._timeout = timeout
        self._raise_timeout_error = raise_timeout_error
        self._key_prefix = f"{key_prefix or inputs.key_prefix(self._type)}-"
        self._exclude_keys = tuple(exclude_keys)
        self._with_metadata = with_metadata
        self._after_place = 0
        self._clock = process_clock

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._next()
        except TimeoutError:
            if self._raise_timeout_error:
                raise
            raise StopIteration from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.anext()
        except TimeoutError:
            if self._raise_timeout_error:
                raise
            raise StopAsyncIteration from None

    def next(self) -> T:
        """Return the next input, waiting for it; where the caller can await, that is awaited.

        Raises:
            TimeoutError: None has come in time.
            ParameterTypeError: It does not fit the type.
        """
        if _calling.in_event_loop():
            return cast("T", self.anext())
        return self._next()

    def _next(self) -> T:
        from headgate.client.orchestration import get_client

        deadline = self._clock.monotonic() + self._timeout
        with get_client(sync_client=True) as client:
            while True:
                found = client.receive_flow_run_input(self._flow_run_id, **self._request(deadline))
                if found:
                    return self._take(found[0])
                self._check(deadline)

    async def anext(self) -> T:
        """Do what ``next`` does, in a coroutine."""
        from headgate.client.orchestration import get_client

        deadline = self._clock.monotonic() + self._timeout
        async with get_client() as client:
            while True:
                found = await client.receive_flow_run_input(
                    self._flow_run_id, **self._request(deadline)
                )
                if found:
                    return self._take(found[0])
                self._check(deadline)

    def _request(self, deadline: float) -> dict[str, Any]:
        left = deadline - self._clock.monotonic()
        return {
            "key_prefix": self._key_prefix,
            "exclude_keys": self._exclude_keys,
            "after_place": self._after_place,
            "limit": 1,
            "wait_seconds": min(max(left, 0.0), _WAIT_SECONDS),
        }

    def _check(self, deadline: float) -> None:
        if self._clock.monotonic() >= deadline:
            msg = f"No input of {self._said} has come within {self._timeout:g} s."
            raise TimeoutError(msg)

    def _take(self, stored: run_inputs.RunInput) -> Any:
        self._after_place = stored.place
        made = inputs.parsed(self._type, stored)
        return made if self._with_metadata else inputs.shown(made)


@explained
def receive_input(
    input_type: Any,
    timeout: float | None = TIMEOUT_SECONDS,
    poll_interval: float | None = None,
    raise_timeout_error: bool = False,
    exclude_keys: Iterable[str] | None = None,
    key_prefix: str | None = None,
    flow_run_id: str | uuid.UUID | None = None,
    with_metadata: bool = False,
) -> InputReceiver[Any]:
    """Receive inputs that are sent to a flow run.

    ::

        for name in receive_input(str, timeout=60):
            print(f"Hello, {name}")

    Args:
        input_type: A ``RunInput``, another model, or a type such as ``str``.
        timeout: How long to wait for each, in seconds.
        poll_interval: Without effect, since nothing is polled.
        raise_timeout_error: Raise ``TimeoutError`` where the iteration would end.
        exclude_keys: Keys of inputs that are not wanted.
        key_prefix: How the keys begin. Default: by the type.
        flow_run_id: The run. Default: the one that calls this.
        with_metadata: Give values of simple types as ``AutomaticRunInput``, which knows its sender.

    Returns:
        What can be iterated over by ``for`` and ``async for``, or asked for its ``next()``.

    Raises:
        MissingContextError: There is no flow run here, and none was named.
    """
    timeout = _options.checked_seconds(timeout, "timeout")
    if exclude_keys is not None and not isinstance(cast("object", exclude_keys), Iterable):
        msg = f"exclude_keys is {exclude_keys!r}; use a list of texts."
        raise errors.OptionTypeError(msg)
    return InputReceiver(
        input_type,
        flow_run_id=_here(flow_run_id),
        timeout=TIMEOUT_SECONDS if timeout is None else timeout,
        raise_timeout_error=raise_timeout_error,
        exclude_keys=exclude_keys or (),
        key_prefix=key_prefix,
        with_metadata=with_metadata,
    )


#: The same: what it returns can be iterated over by ``async for``.
areceive_input = receive_input


def _here(flow_run_id: str | uuid.UUID | None) -> str:
    if flow_run_id is not None:
        return str(flow_run_id)
    here = context.current_flow()
    if here is None:
        msg = "There is no flow run here whose inputs could be received; name one by flow_run_id."
        raise errors.MissingContextError(msg)
    return here.flow_run.id
