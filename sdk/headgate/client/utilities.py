"""Clients for functions of one's own that call the server."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from headgate.client.orchestration import HeadgateClient, get_client

__all__ = ["client_injector", "get_or_create_client", "inject_client"]

P = ParamSpec("P")
R = TypeVar("R")


def get_or_create_client(client: HeadgateClient | None = None) -> tuple[HeadgateClient, bool]:
    """Return a client, and whether it is the given one, which somebody else has opened.

    Args:
        client: A client that is open.
    """
    return (get_client(), False) if client is None else (client, True)


def inject_client(
    fn: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Give a coroutine function a client as ``client=``, open while it runs, if it is given none.

    Args:
        fn: The function.
    """

    @functools.wraps(fn)
    async def with_client(*args: P.args, **kwargs: P.kwargs) -> R:
        given = cast("HeadgateClient | None", kwargs.get("client"))
        if given is not None:
            return await fn(*args, **kwargs)
        async with get_client() as client:
            kwargs["client"] = client
            return await fn(*args, **kwargs)

    return with_client


def client_injector(
    fn: Callable[Concatenate[HeadgateClient, P], Awaitable[R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Give a coroutine function a client as its first argument, open while it runs.

    Args:
        fn: The function.
    """

    @functools.wraps(fn)
    async def with_client(*args: P.args, **kwargs: P.kwargs) -> R:
        async with get_client() as client:
            return await fn(client, *args, **kwargs)

    return with_client
