"""What is wanted of concurrency limits, checked, and who wants it."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from headgate import _options
from headgate import context as contexts
from headgate.core import concurrency, errors
from headgate.core.concurrency import SlotHolder, SlotMode
from headgate.logging import loggers

#: Who holds slots: a mapping with ``type`` and ``id``, or a record.
Holder: TypeAlias = SlotHolder | Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A wish for slots, from a user's code.

    Attributes:
        names: The limits.
        slots: How many slots of each.
        mode: Whether they are given back, or decay.
        timeout_seconds: How long to wait; None: for as long as it takes.
        max_retries: How often to wait again after the first time; None: any number of times.
        lease_seconds: How long the lease lives without being renewed.
        strict: Whether a limit that does not exist is an error.
        raises_on_loss: Whether to end the code that holds the slots when the lease is lost.
        holder: Who wants them.
        logger: Where to tell what happens.
        is_quiet: Whether limits that do not exist are not worth a warning.
    """

    names: tuple[str, ...]
    slots: int = 1
    mode: SlotMode = SlotMode.CONCURRENCY
    timeout_seconds: float | None = None
    max_retries: int | None = None
    lease_seconds: float = concurrency.LEASE_SECONDS_DEFAULT
    strict: bool = False
    raises_on_loss: bool = False
    holder: SlotHolder = concurrency.NO_HOLDER
    logger: Any = None
    is_quiet: bool = False


def slots(
    names: str | Sequence[str],
    occupy: int,
    *,
    timeout_seconds: float | None,
    max_retries: int | None,
    lease_duration: float,
    strict: bool,
    holder: Holder | None,
    raise_on_lease_renewal_failure: bool | None,
) -> Want:
    """Return the wish for slots that are given back.

    Raises:
        InvalidArgument: An argument is wrong; it is named.
    """
    _check_number("lease_duration", lease_duration, concurrency.LEASE_SECONDS_MIN)
    if lease_duration > concurrency.LEASE_SECONDS_MAX:
        _refuse(
            "lease_duration",
            f"is at most {concurrency.LEASE_SECONDS_MAX:g} seconds",
            lease_duration,
        )
    if max_retries is not None:
        _check_number("max_retries", max_retries, 0)
    raises = strict if raise_on_lease_renewal_failure is None else raise_on_lease_renewal_failure
    return Want(
        names=_names(names),
        slots=_slots(occupy),
        timeout_seconds=_timeout(timeout_seconds),
        max_retries=max_retries,
        lease_seconds=float(lease_duration),
        strict=_options.checked_flag(strict, "strict"),
        raises_on_loss=raises,
        holder=_holder(holder),
        logger=logger_here(),
    )


def rate(
    names: str | Sequence[str], occupy: int, *, timeout_seconds: float | None, strict: bool
) -> Want:
    """Return the wish for slots that decay.

    Raises:
        InvalidArgument: An argument is wrong; it is named.
    """
    return Want(
        names=_names(names),
        slots=_slots(occupy),
        mode=SlotMode.RATE_LIMIT,
        timeout_seconds=_timeout(timeout_seconds),
        strict=_options.checked_flag(strict, "strict"),
        holder=_holder(None),
        logger=logger_here(),
    )


def holder_here() -> SlotHolder:
    """Return the task run, the flow run, or else the process, that is executing here."""
    task, flow = contexts.TaskRunContext.get(), contexts.current_flow()
    flow_run_id = "" if flow is None else flow.flow_run.id
    if task is not None:
        return SlotHolder(type="task_run", id=task.id, flow_run_id=flow_run_id)
    if flow is not None:
        return SlotHolder(type="flow_run", id=flow_run_id, flow_run_id=flow_run_id)
    return SlotHolder(type="process", id=f"{socket.gethostname()}:{os.getpid()}")


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    several: Any = (names,) if isinstance(names, str) else names
    if not isinstance(several, Iterable):
        _refuse("names", "are names of concurrency limits, that is texts", names)
    given = tuple(cast("Iterable[str]", several))
    if len(given) > concurrency.NAMES_MAX:
        _refuse("names", f"are at most {concurrency.NAMES_MAX}", len(given))
    for name in given:
        if not isinstance(name, str) or not name:
            _refuse("names", "are names of concurrency limits, that is texts", name)
    return given


def _slots(occupy: int) -> int:
    if not isinstance(occupy, int) or isinstance(occupy, bool) or occupy < 1:
        _refuse("occupy", "is a whole number of slots, 1 or more", occupy)
    return occupy


def _timeout(timeout_seconds: float | None) -> float | None:
    if timeout_seconds is not None:
        _check_number("timeout_seconds", timeout_seconds, 0)
    return timeout_seconds


def _check_number(field: str, value: Any, minimum: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= minimum:
        _refuse(field, f"is a number, {minimum:g} or more", value)


def _refuse(field: str, rule: str, value: object) -> None:
    raise errors.InvalidArgument.of(field, f"{rule}; this is {value!r}.")


def _holder(given: Holder | None) -> SlotHolder:
    here = holder_here()
    if given is None:
        return here
    if isinstance(given, SlotHolder):
        return given
    if not isinstance(given, Mapping):
        _refuse("holder", "is a dictionary with type and id", given)
    return SlotHolder(
        type=str(given.get("type", "")),
        id=str(given.get("id", "")),
        flow_run_id=here.flow_run_id,
    )


def logger_here() -> Any:
    """Return the logger of the run that is executing here, or else one of this package."""
    try:
        return loggers.get_run_logger()
    except errors.MissingContextError:
        return loggers.get_logger("concurrency")


__all__ = ["Holder", "Want", "holder_here", "logger_here", "rate", "slots"]
