"""The harness for tests of one's own flows, and what such tests ask and assert."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from headgate._explaining import explained
from headgate.core import errors
from headgate.testing import harness
from headgate.testing.clock import AdvancingClock
from headgate.testing.harness import Harness

if TYPE_CHECKING:
    from headgate.client.orchestration import HeadgateClient
    from headgate.core.runs import FlowRun
    from headgate.core.states import Payload
    from headgate.results import ResultRecordMetadata
    from headgate.serializers import Serializer
    from headgate.states import State

__all__ = [
    "AdvancingClock",
    "Harness",
    "assert_blocks_equal",
    "assert_does_not_warn",
    "assert_state_names",
    "assert_uses_result_serializer",
    "assert_uses_result_storage",
    "exceptions_equal",
    "get_most_recent_flow_run",
    "headgate_test_harness",
]


@explained
@contextlib.contextmanager
def headgate_test_harness(
    server_startup_timeout: float | None = 30,
    *,
    in_memory: bool = False,
    clock: AdvancingClock | None = None,
) -> Generator[Harness]:
    """Run flows against a control plane of their own for the length of a ``with`` block.

    It begins empty and leaves nothing behind; what is configured outside, be it a server, a
    profile or the embedded server's database, is not touched.

    Args:
        server_startup_timeout: How many seconds the start of a server process may take; None:
            any number.
        in_memory: Use a server within this process instead, which remembers nothing and is there
            within milliseconds. Without it a real one is started, over an SQLite database; that
            takes less than a second, so share it: a fixture of the session is a good place.
        clock: A clock that can be moved, for the runs and the server alike, so that an hour of
            retry delays takes milliseconds. Implies ``in_memory``.

    Yields:
        The control plane.

    Raises:
        ServerStartError: The server is not installed, or did not start.
        OptionTypeError: The clock is none that can be moved.
    """
    given: object = clock
    if given is not None and not isinstance(given, AdvancingClock):
        msg = f"clock is {given!r}; use an AdvancingClock, e.g. clock=AdvancingClock()."
        raise errors.OptionTypeError(msg)
    if in_memory or clock is not None:
        opened = harness.memory_server(clock)
    else:
        timeout = float("inf") if server_startup_timeout is None else server_startup_timeout
        opened = harness.server_process(timeout)
    with opened as made:
        yield made


async def get_most_recent_flow_run(
    client: HeadgateClient | None = None, flow_name: str | None = None
) -> FlowRun:
    """Return the flow run that was made last; ``Harness.most_recent_flow_run`` blocks for it.

    Args:
        client: An open client. Default: one to the configured server.
        flow_name: Of this flow. Default: of any.

    Raises:
        NotFound: There is none.
    """
    from headgate.client.orchestration import get_client
    from headgate.client.schemas import FlowRunOrder

    if client is None:
        async with get_client() as opened:
            return await get_most_recent_flow_run(opened, flow_name)
    found = await client.read_flow_runs(
        flow_name=flow_name or "", order=FlowRunOrder.ID_DESC, limit=1
    )
    if not found:
        raise errors.NotFound("flow run", flow_name or "any flow")
    return found[0]


def assert_state_names(made: Harness, flow_run_id: str, names: Sequence[str]) -> None:
    """Assert that a flow run went through states of these names, in this order, and no others.

    Args:
        made: The harness that it ran in.
        flow_run_id: The run.
        names: E.g. ``["Pending", "Running", "Completed"]``.
    """
    found = made.state_names(flow_run_id)
    if found != list(names):
        msg = f"Flow run {flow_run_id} went through {found}, not through {list(names)}."
        raise AssertionError(msg)


@contextlib.contextmanager
def assert_does_not_warn(
    ignore_warnings: Sequence[type[Warning]] = (),
) -> Generator[None]:
    """Assert that nothing in a ``with`` block warns.

    Args:
        ignore_warnings: Warnings of these classes are no matter.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for category in ignore_warnings:
            warnings.filterwarnings("ignore", category=category)
        try:
            yield
        except Warning as warning:
            msg = f"A warning was raised: {warning!r}"
            raise AssertionError(msg) from warning


def exceptions_equal(a: Exception, b: Exception) -> bool:
    """Say whether two exceptions are of one type and say the same; they are never equal as such."""
    return type(a) is type(b) and getattr(a, "args", None) == getattr(b, "args", None)


def assert_blocks_equal(
    found: Any, expected: Any, exclude_private: bool = True, **kwargs: Any
) -> None:
    """Assert that two blocks are of one type and have equal fields.

    Args:
        found: A block.
        expected: Another one.
        exclude_private: Whether what belongs to the saved document (fields that begin with an
            underscore) is left out.
        **kwargs: Passed on to ``model_dump``, e.g. ``exclude``.
    """
    if type(found) is not type(expected):
        msg = f"The block is a {type(found).__name__}, not a {type(expected).__name__}."
        raise AssertionError(msg)
    ours, theirs = found.model_dump(**kwargs), expected.model_dump(**kwargs)
    if exclude_private:
        ours, theirs = _public(ours), _public(theirs)
    if ours != theirs:
        msg = f"The block is {ours!r}, not {theirs!r}."
        raise AssertionError(msg)


def assert_uses_result_serializer(state: State[Any], serializer: str | Serializer[Any]) -> None:
    """Assert that the result of a run was kept by a serializer.

    Args:
        state: Its final state.
        serializer: The serializer, or its type, as ``json``.
    """
    wanted = serializer if isinstance(serializer, str) else serializer.type
    kept = _kept(state)
    found = kept.serializer if kept.storage_key is None else _metadata(kept).serializer.type
    if found != wanted:
        msg = f"The result was kept by the serializer {found!r}, not by {wanted!r}."
        raise AssertionError(msg)


def assert_uses_result_storage(state: State[Any], storage: Any) -> None:
    """Assert that the result of a run was kept in a storage.

    Args:
        state: Its final state.
        storage: A folder, a saved block, or the ``type/name`` of one.
    """
    from headgate import _result_storage

    kept = _kept(state)
    place = _result_storage.storage_of(storage)
    found = kept.storage_key or ""
    if found != place.reference(_key(found)):
        msg = f"The result was kept at {found or 'no storage'!r}, not in {place.identity()!r}."
        raise AssertionError(msg)


def _kept(state: State[Any]) -> Payload:
    kept = state.record().data
    if kept is None:
        msg = f"The result of {state!r} was not kept; let the run persist it."
        raise AssertionError(msg)
    return kept


def _metadata(kept: Payload) -> ResultRecordMetadata:
    from headgate import _result_storage
    from headgate.results import ResultRecordMetadata

    data = _result_storage.read_reference(kept.storage_key or "")
    if data is None:
        msg = f"There is no result at {kept.storage_key!r} any more."
        raise AssertionError(msg)
    return ResultRecordMetadata.load_bytes(data.partition(b"\n")[0])


def _key(reference: str) -> str:
    return reference.rpartition(":")[2] if "block:" in reference else PurePath(reference).name


def _public(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if not name.startswith("_")}
