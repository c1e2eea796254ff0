"""Streams that the client follows over breaks: where one stands, and how it goes on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

from headgate.api.v1 import (
    concurrency_limit_service_pb2,
    event_service_pb2,
    log_service_pb2,
    watch_service_pb2,
)
from headgate.client.rpc import Rpc, texts
from headgate.codec import events as event_codec
from headgate.codec import journal as journal_codec
from headgate.codec import logs as log_codec
from headgate.codec import states as state_codec
from headgate.codec import times
from headgate.core import errors, retries, runs, states
from headgate.core import events as core_events

if TYPE_CHECKING:
    from headgate.client.rpc import Id

WATCH = Rpc(
    "WatchService", "Watch", watch_service_pb2.WatchRequest, watch_service_pb2.WatchResponse
)
TAIL = Rpc(
    "LogService", "TailLogs", log_service_pb2.TailLogsRequest, log_service_pb2.TailLogsResponse
)

SUBSCRIBE = Rpc(
    "EventService",
    "SubscribeEvents",
    event_service_pb2.SubscribeEventsRequest,
    event_service_pb2.SubscribeEventsResponse,
)

WATCH_LIMITS = Rpc(
    "ConcurrencyLimitService",
    "WatchActiveLimits",
    concurrency_limit_service_pb2.WatchActiveLimitsRequest,
    concurrency_limit_service_pb2.WatchActiveLimitsResponse,
)

#: Before anything was received; afterwards a stream comes back for as long as it takes.
_FIRST_ATTEMPTS = 5
_RECONNECTS = retries.policy(1_000_000_000, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0], jitter_factor=0.5)

ItemT = TypeVar("ItemT")


class Following(Generic[ItemT]):
    """One stream that is followed over breaks; holds the cursor, does no I/O.

    Args:
        rpc: The method, server streaming.
        request: Makes the request that goes on where the stream stands.
        receive: Takes a response in, moves the cursor, and returns its items.
        ends: Whether the stream's own end is the end; else it is a break.
        failures_max: How often in a row the connection may fail; None: for as long as it takes,
            once something was received.
    """

    def __init__(
        self,
        rpc: Rpc[Any, Any],
        request: Callable[[], Any],
        receive: Callable[[Any], Sequence[ItemT]],
        *,
        ends: bool,
        failures_max: int | None = None,
    ) -> None:
        """Make it; nothing is sent."""
        self.rpc = rpc
        self.request = request
        self.ends = ends
        self._receive = receive
        self._failures_max = failures_max
        self._failures = 0
        self._received = False

    def received(self, response: Message) -> Iterator[ItemT]:
        """Take a response in; return its items."""
        self._failures = 0
        self._received = True
        return iter(self._receive(response))

    def broken(self, error: errors.ControlPlaneError) -> float:
        """Say after how many seconds to open the stream again; raise what no patience helps."""
        self._failures += 1
        again = isinstance(error, errors.Unavailable | errors.ResourceExhausted)
        if not again or (not self._received and self._failures >= _FIRST_ATTEMPTS):
            raise error
        if self._failures_max is not None and self._failures > self._failures_max:
            raise error
        # Not tenacity's loop: a generator cannot yield its items from inside of one.
        match retries.decide(_RECONNECTS, self._failures, random=random.random()):
            case retries.Retry(delay_seconds):
                return delay_seconds
            case retries.GiveUp():
                raise error


def watch(
    *,
    after_revision: int | None = None,
    flow_run_ids: Sequence[Id] = (),
    root_flow_run_ids: Sequence[Id] = (),
    deployment_ids: Sequence[Id] = (),
    kind: runs.RunKind | None = None,
    state_types: Sequence[states.StateType] = (),
) -> Following[runs.TransitionRecord]:
    """Follow committed transitions in the order of revisions, each once, without end.

    A broken connection is made again, and nothing is lost or comes twice. Conditions are joined
    by "and", values of one condition by "or".

    Args:
        after_revision: Start after this revision; 0 is the beginning, None is now.
        flow_run_ids: Of these flow runs and their task runs.
        root_flow_run_ids: Of runs whose outermost flow run is one of these.
        deployment_ids: Of runs of these deployments.
        kind: Of flow runs or of task runs only.
        state_types: Into a state of one of these types.

    Raises:
        RevisionCompacted: The journal no longer reaches back to ``after_revision``.
        InvalidArgument: A condition is wrong; it is named.
        Unavailable: The server could not be reached at first.
    """
    request = watch_service_pb2.WatchRequest(
        after_revision=after_revision,
        filter=watch_service_pb2.WatchFilter(
            flow_run_ids=texts(flow_run_ids),
            root_flow_run_ids=texts(root_flow_run_ids),
            deployment_ids=texts(deployment_ids),
            kind=journal_codec.KIND_TO_PROTO[kind]
            if kind
            else watch_service_pb2.RUN_KIND_UNSPECIFIED,
            state_types=[state_codec.TYPE_TO_PROTO[type] for type in state_types],
        ),
    )

    def receive(response: watch_service_pb2.WatchResponse) -> Sequence[runs.TransitionRecord]:
        if response.HasField("bookmark"):
            request.after_revision = response.bookmark.revision
            return ()
        request.after_revision = response.transition.revision
        return (journal_codec.transition_record_from_proto(response.transition),)

    return Following(WATCH, lambda: request, receive, ends=False)


def tail_logs(
    flow_run_id: Id, *, after_id: int = 0, level_min: int = 0
) -> Following[runs.LogRecord]:
    """Follow what a flow run and its subflows log, until the run has ended.

    A broken connection is made again, and no line is lost or comes twice.

    Args:
        flow_run_id: The run.
        after_id: Only lines with a greater id.
        level_min: Of this level or above, as in Python's logging.

    Raises:
        NotFound: There is no such run.
        Unavailable: The server could not be reached at first.
    """
    request = log_service_pb2.TailLogsRequest(
        flow_run_id=str(flow_run_id), after_id=after_id, level_min=level_min
    )

    def receive(response: log_service_pb2.TailLogsResponse) -> Sequence[runs.LogRecord]:
        records = [log_codec.log_record_from_proto(record) for record in response.records]
        if records:
            request.after_id = records[-1].id
        return records

    return Following(TAIL, lambda: request, receive, ends=True)


def subscribe_events(
    where: core_events.EventFilter | None = None,
    *,
    after_revision: int | None = None,
    backfill: timedelta | None = None,
    reconnection_attempts: int | None = None,
) -> Following[core_events.Event]:
    """Follow events in the order of revisions, each once, without end.

    A broken connection is made again, and nothing is lost or comes twice.

    Args:
        where: Which events; with ``since``, those that are stored come first.
        after_revision: Start after this revision; 0 is the beginning. Default: where ``backfill``
            or ``since`` lead to, else now.
        backfill: Start with what was committed so lately.
        reconnection_attempts: How often in a row the connection may fail. Default: for as long as
            it takes, once it was there.

    Raises:
        RevisionCompacted: The journal no longer reaches back to ``after_revision``.
        InvalidArgument: The filter is wrong; the field is named.
        Unavailable: The server could not be reached.
    """
    request = event_service_pb2.SubscribeEventsRequest(after_revision=after_revision)
    event_codec.filter_to_proto(where or core_events.EventFilter(), request.filter)
    if backfill is not None:
        times.set_duration(request.backfill, backfill.total_seconds())

    def receive(response: event_service_pb2.SubscribeEventsResponse) -> Sequence[core_events.Event]:
        if response.HasField("bookmark"):
            request.after_revision = response.bookmark.revision
            return ()
        request.after_revision = response.event.revision
        return (event_codec.event_from_proto(response.event),)

    return Following(
        SUBSCRIBE,
        lambda: request,
        receive,
        ends=False,
        failures_max=reconnection_attempts,
    )


def watch_active_limits(name_prefix: str = "") -> Following[frozenset[str]]:
    """Follow which concurrency limits are active: all their names, now and with each change.

    Args:
        name_prefix: Only those whose names begin so.

    Raises:
        Unavailable: The server could not be reached at first.
    """
    request = concurrency_limit_service_pb2.WatchActiveLimitsRequest(name_prefix=name_prefix)
    return Following(
        WATCH_LIMITS, lambda: request, lambda response: (frozenset(response.names),), ends=False
    )


__all__ = [
    "SUBSCRIBE",
    "TAIL",
    "WATCH",
    "WATCH_LIMITS",
    "Following",
    "subscribe_events",
    "tail_logs",
    "watch",
    "watch_active_limits",
]
