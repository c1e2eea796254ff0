"""How calls travel: the channel, deadlines, repetition and errors of both clients."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import grpc
from google.protobuf.message import Message
from grpc import aio

from headgate import settings
from headgate.client import channel as channels
from headgate.client import compatibility, metadata, schemas
from headgate.client.calls import server
from headgate.client.following import Following
from headgate.client.rpc import Rpc, Sending, Steps
from headgate.core import errors

P = ParamSpec("P")
T = TypeVar("T")

#: How long a server may take to say what it is.
_CHECK_SECONDS = 5.0


class _Carrier:
    """What both carriers have: an address, and where it comes from."""

    def __init__(
        self,
        api_url: str | None = None,
        *,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Make a client; nothing is opened yet."""
        configured = settings.current()
        self._given = api_url or configured.api_url
        self._timeout_seconds = timeout_seconds or configured.client_request_timeout_seconds
        self._metadata = metadata.of_calls(configured, headers)
        self._checks_version = configured.client_server_version_check_enabled
        self._api_url = self._given or ""

    @property
    def api_url(self) -> str:
        """The address of the server; empty before the client is entered, if none is configured."""
        return self._api_url

    @property
    def _is_unchecked(self) -> bool:
        """Whether nobody in this process has asked the server what it is."""
        return self._checks_version and not compatibility.is_checked(self._api_url)

    def _look_at(self, info: schemas.ServerInfo) -> None:
        """Warn of a server that is too old, and refuse one of another contract."""
        warning = compatibility.check(info, self._api_url)
        if warning is not None:
            from headgate.logging import get_logger

            get_logger("client").warning("%s", warning)

    def _find_server(self) -> str:
        """Return the address; starts the embedded server if no other is configured."""
        if self._given:
            return self._given
        from headgate.client import embedded  # only here, to keep it out of configured clients

        return embedded.ensure_server()

    def _closed(self) -> errors.UsageError:
        return errors.UsageError(
            f"This {type(self).__name__} is not open; use it in a `with` block: it is a context "
            "manager."
        )


def _described(describe: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Describe a call; only what a method is called with can be wrong here."""
    try:
        return describe(*args, **kwargs)
    except errors.HeadgateError:
        raise
    except TypeError as problem:
        msg = f"{problem}; the call is {_name_of(describe)}{inspect.signature(describe)}."
        raise errors.ParameterBindError(msg) from None


def _trim(error: errors.HeadgateError) -> None:
    """Show an error at the line of the user's that made the call; its message says the rest."""
    from headgate.logging import tracebacks  # only who fails pays

    tracebacks.trim(error)


def _name_of(describe: object) -> str:
    return getattr(describe, "__name__", "")


#: What is raised where a request is made of what does not go into it.
_MISFITS = (TypeError, ValueError, LookupError, AttributeError)


def _misfit(steps: Steps[Any], problem: Exception) -> errors.OptionTypeError:
    """Say which call was given what it cannot send; protobuf names neither."""
    return errors.OptionTypeError(
        f"{_name_of(steps)} was given something that it cannot send "
        f"({type(problem).__name__}: {problem}); see its arguments for what they are to be."
    )


BoundT = TypeVar("BoundT", bound=Callable[..., Any])


def _bound(method: BoundT, describe: Callable[..., Any]) -> BoundT:
    """Let a bound method tell its arguments and what it does, to people and their editors."""
    method.__doc__ = describe.__doc__
    setattr(method, "__wrapped__", describe)  # noqa: B010 - where inspect.signature looks
    return method


# --- Coroutines -----------------------------------------------------------------------------


class AsyncCarrier(_Carrier):
    """Carries calls for coroutines."""

    _channel: aio.Channel | None = None

    async def __aenter__(self) -> Self:
        """Open the channel."""
        self._api_url = self._given or await asyncio.to_thread(self._find_server)
        self._channel = channels.open_channel(self._api_url)
        self._callables: dict[str, Any] = {}
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def _callable(self, rpc: Rpc[Any, Any], *, stream: bool = False) -> Any:
        if self._channel is None:
            raise self._closed()
        found = self._callables.get(rpc.path)
        if found is None:
            make = self._channel.unary_stream if stream else self._channel.unary_unary
            found = self._callables[rpc.path] = make(
                rpc.path,
                request_serializer=rpc.request.SerializeToString,
                response_deserializer=rpc.response.FromString,
            )
        return found

    async def carry(self, steps: Steps[T]) -> T:
        """Carry out a call."""
        try:
            sending = next(steps)
            while True:
                try:
                    response = await self._exchange(sending)
                except errors.ControlPlaneError as error:
                    # The call may know better: what is not there may simply be None.
                    sending = steps.throw(error)
                else:
                    sending = steps.send(response)
        except StopIteration as end:
            return end.value
        except errors.HeadgateError:
            raise
        except _MISFITS as problem:
            raise _misfit(steps, problem) from problem

    async def _check_version(self) -> None:
        """Ask the server what it is, once per process; who cannot say will say so when called."""
        compatibility.remember(self._api_url)
        asking = server.server_info()
        try:
            asking.send(await self._attempt(next(asking), _CHECK_SECONDS))
        except StopIteration as end:
            self._look_at(end.value)
        except errors.ControlPlaneError:
            return

    async def _exchange(self, sending: Sending) -> Message:
        if self._is_unchecked and sending.rpc is not server.INFO:
            await self._check_version()
        try:
            return await self._attempt(sending)
        except errors.ControlPlaneError as error:
            from headgate.client import retrying  # tenacity takes its time to load

            if not retrying.is_worth_it(error):
                raise
        async for attempt in retrying.attempts_async():
            with attempt:
                if not self._given:
                    # The embedded server may have ended since: it is found or started again.
                    await asyncio.to_thread(self._find_server)
                try:
                    return await self._attempt(sending)
                except errors.NotFound as error:
                    return retrying.answer_found_done(sending, error)
        raise AssertionError("tenacity either returns or raises")

    async def _attempt(self, sending: Sending, timeout_seconds: float | None = None) -> Message:
        call = self._callable(sending.rpc)
        timeout_seconds = (timeout_seconds or self._timeout_seconds) + sending.wait_seconds
        try:
            return await call(sending.request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise channels.error_of(error, self._api_url) from None

    async def follow(self, following: Following[T]) -> AsyncGenerator[T]:
        """Follow a stream over breaks."""
        while True:
            stream = self._callable(following.rpc, stream=True)
            call = stream(following.request(), metadata=self._metadata)
            try:
                while (response := await call.read()) is not aio.EOF:
                    for item in following.received(response):
                        yield item
                broken = errors.Unavailable("The server ended the stream; it is opened again.")
            except grpc.RpcError as error:
                broken = channels.error_of(error, self._api_url)
                broken.__cause__ = error
            else:
                if following.ends:
                    return
            finally:
                call.cancel()
            await asyncio.sleep(following.broken(broken))


class AsyncMethod(Generic[P, T]):
    """A call as a method of an async client."""

    def __init__(self, describe: Callable[P, Steps[T]]) -> None:
        """Make a method of the description of a call."""
        self._describe = describe
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe  # where inspect.signature looks

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self, client: AsyncCarrier, owner: type | None = None
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(
        self, client: AsyncCarrier | None, owner: type | None = None
    ) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        """Bind to a client."""
        if client is None:
            return self
        return _bound(functools.partial(self._call, client), self._describe)

    async def _call(self, client: AsyncCarrier, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await client.carry(_described(self._describe, args, kwargs))
        except errors.HeadgateError as error:
            _trim(error)
            raise


class AsyncStream(Generic[P, T]):
    """A followed stream as a method of an async client; close it with ``aclose``."""

    def __init__(self, describe: Callable[P, Following[T]]) -> None:
        """Make a method of the description of a stream."""
        self._describe = describe
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe  # where inspect.signature looks

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self, client: AsyncCarrier, owner: type | None = None
    ) -> Callable[P, AsyncGenerator[T]]: ...

    def __get__(
        self, client: AsyncCarrier | None, owner: type | None = None
    ) -> Self | Callable[P, AsyncGenerator[T]]:
        """Bind to a client."""
        if client is None:
            return self
        return _bound(functools.partial(self._call, client), self._describe)

    def _call(
        self, client: AsyncCarrier, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[T]:
        return client.follow(_described(self._describe, args, kwargs))


# --- Blocking -------------------------------------------------------------------------------


class SyncCarrier(_Carrier):
    """Carries calls for code that blocks. Threads may share it."""

    _channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        """Open the channel."""
        self._api_url = self._find_server()
        self._channel = channels.open_sync_channel(self._api_url)
        self._callables: dict[str, Any] = {}
        self._leaving = threading.Event()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._leaving.set()
            channel.close()

    def _callable(self, rpc: Rpc[Any, Any], *, stream: bool = False) -> Any:
        if self._channel is None:
            raise self._closed()
        found = self._callables.get(rpc.path)
        if found is None:
            make = self._channel.unary_stream if stream else self._channel.unary_unary
            found = self._callables[rpc.path] = make(
                rpc.path,
                request_serializer=rpc.request.SerializeToString,
                response_deserializer=rpc.response.FromString,
            )
        return found

    def carry(self, steps: Steps[T]) -> T:
        """Carry out a call."""
        try:
            sending = next(steps)
            while True:
                try:
                    response = self._exchange(sending)
                except errors.ControlPlaneError as error:
                    # The call may know better: what is not there may simply be None.
                    sending = steps.throw(error)
                else:
                    sending = steps.send(response)
        except StopIteration as end:
            return end.value
        except errors.HeadgateError:
            raise
        except _MISFITS as problem:
            raise _misfit(steps, problem) from problem

    def _check_version(self) -> None:
        """Ask the server what it is, once per process; who cannot say will say so when called."""
        compatibility.remember(self._api_url)
        asking = server.server_info()
        try:
            asking.send(self._attempt(next(asking), _CHECK_SECONDS))
        except StopIteration as end:
            self._look_at(end.value)
        except errors.ControlPlaneError:
            return

    def _exchange(self, sending: Sending) -> Message:
        if self._is_unchecked and sending.rpc is not server.INFO:
            self._check_version()
        try:
            return self._attempt(sending)
        except errors.ControlPlaneError as error:
            from headgate.client import retrying  # tenacity takes its time to load

            if not retrying.is_worth_it(error):
                raise
        for attempt in retrying.attempts():
            with attempt:
                if not self._given:
                    # The embedded server may have ended since: it is found or started again.
                    self._find_server()
                try:
                    return self._attempt(sending)
                except errors.NotFound as error:
                    return retrying.answer_found_done(sending, error)
        raise AssertionError("tenacity either returns or raises")

    def _attempt(self, sending: Sending, timeout_seconds: float | None = None) -> Message:
        call = self._callable(sending.rpc)
        timeout_seconds = (timeout_seconds or self._timeout_seconds) + sending.wait_seconds
        try:
            return call(sending.request, timeout=timeout_seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise channels.error_of(error, self._api_url) from None

    def follow(self, following: Following[T]) -> Generator[T]:
        """Follow a stream over breaks."""
        while True:
            stream = self._callable(following.rpc, stream=True)
            call = stream(following.request(), metadata=self._metadata)
            try:
                for response in call:
                    yield from following.received(response)
                broken = errors.Unavailable("The server ended the stream; it is opened again.")
            except grpc.RpcError as error:
                broken = channels.error_of(error, self._api_url)
                broken.__cause__ = error
            else:
                if following.ends:
                    return
            finally:
                call.cancel()
            if self._leaving.wait(following.broken(broken)):
                return


class SyncMethod(Generic[P, T]):
    """A call as a method of a blocking client."""

    def __init__(self, describe: Callable[P, Steps[T]]) -> None:
        """Make a method of the description of a call."""
        self._describe = describe
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe  # where inspect.signature looks

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...

    @overload
    def __get__(self, client: SyncCarrier, owner: type | None = None) -> Callable[P, T]: ...

    def __get__(
        self, client: SyncCarrier | None, owner: type | None = None
    ) -> Self | Callable[P, T]:
        """Bind to a client."""
        if client is None:
            return self
        return _bound(functools.partial(self._call, client), self._describe)

    def _call(self, client: SyncCarrier, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return client.carry(_described(self._describe, args, kwargs))
        except errors.HeadgateError as error:
            _trim(error)
            raise


class SyncStream(Generic[P, T]):
    """A followed stream as a method of a blocking client; close it with ``close``."""

    def __init__(self, describe: Callable[P, Following[T]]) -> None:
        """Make a method of the description of a stream."""
        self._describe = describe
        self.__doc__ = describe.__doc__
        self.__wrapped__ = describe  # where inspect.signature looks

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self, client: SyncCarrier, owner: type | None = None
    ) -> Callable[P, Generator[T]]: ...

    def __get__(
        self, client: SyncCarrier | None, owner: type | None = None
    ) -> Self | Callable[P, Generator[T]]:
        """Bind to a client."""
        if client is None:
            return self
        return _bound(functools.partial(self._call, client), self._describe)

    def _call(self, client: SyncCarrier, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        return client.follow(_described(self._describe, args, kwargs))


__all__ = [
    "AsyncCarrier",
    "AsyncMethod",
    "AsyncStream",
    "SyncCarrier",
    "SyncMethod",
    "SyncStream",
]
