"""Emitting events from anywhere, and the sender that all of a process share."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from headgate import settings
from headgate._explaining import explained
from headgate.core import errors
from headgate.core import events as core_events
from headgate.events.schemas import Event, RelatedResource, Resource
from headgate.events.sending import EventSender, Write

__all__ = ["dropped_event_count", "emit_event", "flush_events", "send", "stop_senders"]

#: How long the end of the process waits for events that are not stored yet.
EXIT_SECONDS = 10.0
#: An event follows another only if they are about so close.
TIGHT_TIMING = timedelta(minutes=5)

_lock = threading.Lock()
#: By what the settings said: the API URL, or the home folder of the embedded server.
_senders: dict[str, EventSender] = {}
#: Of senders that are gone.
_dropped_before = 0
_receiver: Callable[[Event], None] | None = None
_is_fork_of_sending = False


@explained
def emit_event(
    event: str,
    resource: Mapping[str, str],
    occurred: datetime | None = None,
    related: Iterable[Mapping[str, str]] | None = None,
    payload: Mapping[str, Any] | None = None,
    id: UUID | str | None = None,
    follows: Event | None = None,
) -> Event:
    """Tell that something happened. Returns at once: a thread sends it.

    Within a run the event is related to the run, its flow, its deployment and its tags by itself.
    Events that cannot be sent for long are dropped, the oldest first; the log says so.

    Args:
        event: What happened, e.g. ``acme.order.shipped``.
        resource: What it happened to: labels, with ``headgate.resource.id``.
        occurred: When. Default: now.
        related: What else it has to do with: labels, with ``headgate.resource.id`` and
            ``headgate.resource.role``.
        payload: More about it.
        id: UUID of the event: one that is emitted twice is stored once. Default: a new one.
        follows: The event that this one comes after; noted where they are within five minutes.

    Returns:
        The event as it is sent.

    Raises:
        InvalidArgument: It is too large, or a part is missing or wrong; the part is named.
    """
    optional: dict[str, Any] = {"occurred": occurred, "id": id}
    main = Resource(resource)
    if related is not None and not isinstance(related, Iterable):
        msg = f"related is {related!r}; use a list of dictionaries of labels."
        raise errors.OptionTypeError(msg)
    if follows is not None and not isinstance(follows, Event):
        msg = f"follows is {follows!r}; use an event, as emit_event returns it."
        raise errors.OptionTypeError(msg)
    given = [RelatedResource(labels) for labels in related or ()]
    known = {each.id for each in (main, *given)}
    made = Event(
        event=event,
        resource=main,
        related=[*given, *(each for each in _surroundings() if each.id not in known)],
        payload=payload or {},
        **{name: value for name, value in optional.items() if value is not None},
    )
    if follows is not None and abs(made.occurred - follows.occurred) < TIGHT_TIMING:
        object.__setattr__(made, "follows", follows.id)
    send(made)
    return made


def send(event: Event) -> None:
    """Give an event to the sender of this process, or to whoever captures events."""
    record = event.record()
    if _receiver is not None:
        _receiver(event)
        return
    if _is_fork_of_sending:
        _lose_in_fork()
        return
    _sender().emit(record)


def flush_events(timeout_seconds: float | None = EXIT_SECONDS) -> bool:
    """Wait until all events that were emitted so far are stored.

    Args:
        timeout_seconds: How long at most; None: for as long as it takes.

    Returns:
        False if the timeout came first.
    """
    return all([one.flush(timeout_seconds) for one in list(_senders.values())])


def dropped_event_count() -> int:
    """Return how many events of this process were lost: dropped from a full queue, or refused."""
    return _dropped_before + sum(one.dropped_count for one in list(_senders.values()))


def stop_senders(timeout_seconds: float = EXIT_SECONDS, *, api_url: str | None = None) -> None:
    """Send what is left and end the threads; at the end of the process by itself.

    Args:
        timeout_seconds: How long that may take.
        api_url: Only the one to this server. Default: all.
    """
    global _dropped_before
    with _lock:
        keys = [key for key in _senders if api_url is None or key == api_url]
        senders = [_senders.pop(key) for key in keys]
    for one in senders:
        if not one.stop(timeout_seconds):
            from headgate.logging import get_logger

            get_logger("headgate.events").warning(
                "The process ended before the server had stored all events; see whether the "
                "server runs."
            )
        _dropped_before += one.dropped_count


def receive_with(receiver: Callable[[Event], None] | None) -> Callable[[Event], None] | None:
    """Give events to a function instead of sending them; None: send them again.

    Returns:
        The function before.
    """
    global _receiver
    before, _receiver = _receiver, receiver
    return before


def _sender() -> EventSender:
    now = settings.current()
    key = now.api_url or f"embedded:{now.home}"
    found = _senders.get(key)
    if found is not None and found.failure is None:
        return found
    with _lock:
        found = _senders.get(key)
        if found is not None and found.failure is None:
            return found
        global _dropped_before
        if found is None:
            atexit.unregister(stop_senders)
            atexit.register(stop_senders)
        else:
            _dropped_before += found.dropped_count
        made = EventSender(connector(now.api_url), queue_max=now.events_worker_max_queue_size)
        _senders[key] = made
        return made


def connector(api_url: str | None) -> Callable[[], AbstractContextManager[Write]]:
    """Return what connects to a server; None: the embedded one."""

    @contextlib.contextmanager
    def connect() -> Generator[Write]:
        from headgate.client import orchestration  # loads grpc: in the thread, not in the caller

        with orchestration.get_client(sync_client=True, api_url=api_url) as client:
            yield client.write_events

    return connect


def _surroundings() -> Iterator[RelatedResource]:
    """Give what an event that is emitted here has to do with."""
    from headgate import context  # after this module: contexts load much

    task = context.TaskRunContext.get()
    flow = context.current_flow() or (task.flow if task is not None else None)
    if task is not None:
        yield _resource(core_events.TASK_RUN_PREFIX + task.id, task.name, "task-run")
    run = flow.flow_run if flow is not None else None
    if run is None:
        return
    yield _resource(core_events.FLOW_RUN_PREFIX + run.id, run.name, "flow-run")
    if run.flow_id:
        yield _resource(f"headgate.flow.{run.flow_id}", run.flow_name, "flow")
    if run.deployment_id:
        name = (run.deployment_name or "").rpartition("/")[2]
        yield _resource(f"headgate.deployment.{run.deployment_id}", name, "deployment")
    tags: Sequence[str] = (*run.tags, *(task.run_tags if task is not None else ()))
    for tag in dict.fromkeys(tags):
        yield _resource(f"headgate.tag.{tag}", tag, "tag")


def _resource(id: str, name: str, role: str) -> RelatedResource:
    return RelatedResource(
        {
            core_events.RESOURCE_ID: id,
            core_events.RESOURCE_NAME: name,
            core_events.RESOURCE_ROLE: role,
        }
    )


def _forget_senders() -> None:
    """Begin anew in a fork: threads and connections stayed with the parent."""
    global _lock, _is_fork_of_sending, _dropped_before
    _dropped_before = 0
    _lock = threading.Lock()
    _is_fork_of_sending = _is_fork_of_sending or bool(_senders)
    _senders.clear()


def _lose_in_fork() -> None:
    """Count an event of a fork of a process that is connected: gRPC does not survive a fork."""
    global _dropped_before
    _dropped_before += 1
    if _dropped_before > 1:
        return
    from headgate.logging import get_logger

    get_logger("headgate.events").warning(
        "Events are being dropped: this process is a fork of one that sends events; use one that "
        "is spawned, as by multiprocessing.get_context('spawn')."
    )


os.register_at_fork(after_in_child=_forget_senders)
