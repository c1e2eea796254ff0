"""Flows whose code is elsewhere: got, loaded, and told where they come from."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate import entrypoints
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.flows import Flow
    from headgate.runner.storage import RunnerStorage

__all__ = ["Origin", "aload_flow", "load_flow"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the code of a flow is.

    Attributes:
        storage: The place.
        entrypoint: The flow in it.
    """

    storage: RunnerStorage
    entrypoint: str


def load_flow(source: Any, entrypoint: str) -> Flow[..., Any]:
    """Get code and load a flow from it; see ``Flow.from_source``."""
    storage, folder = _prepare(source)
    if folder is None:
        pulled = storage.pull_code()
        if inspect.isawaitable(pulled):
            _finish(pulled)
        folder = storage.destination
    return _load(storage, folder, entrypoint)


async def aload_flow(source: Any, entrypoint: str) -> Flow[..., Any]:
    """Do what ``load_flow`` does, in a coroutine; the code is got on a thread."""
    import anyio.to_thread  # only who awaits pays

    return await anyio.to_thread.run_sync(functools.partial(load_flow, source, entrypoint))


def _prepare(source: Any) -> tuple[RunnerStorage, Path | None]:
    """Say where the code is, and in which folder where it was got by commit or content."""
    from headgate.runner import storage as places

    storage = places.of_source(source)
    pulled = places.folder_of_pulled_code()
    if isinstance(storage, places.GitRepository):
        return storage, storage.fetch(pulled / "git")
    if isinstance(storage, places.RemoteStorage):
        return storage, storage.fetch(pulled / "remote")
    storage.set_base_path(pulled / "other")
    return storage, None


def _finish(pulled: Any) -> None:
    import asyncio
    import concurrent.futures

    async def wait() -> None:
        await pulled

    # On a thread of its own: there may be a loop on this one.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, wait()).result()


def _load(storage: RunnerStorage, folder: Path, entrypoint: str) -> Flow[..., Any]:
    try:
        flow = entrypoints.load_flow(entrypoint, folder)
    except errors.MissingFlowError as error:
        msg = f"{error} The code is that of {storage!r}."
        raise errors.MissingFlowError(msg) from None
    # A copy: the flow of the module may be deployed from this very folder, too.
    made = flow.with_options()
    made.origin = Origin(storage=storage, entrypoint=entrypoint)
    return made
