"""Second names of fields of records, by which code that was written for Prefect reads them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from headgate.core.states import State, StateType


class _Made(Protocol):
    @property
    def create_time(self) -> datetime: ...


class _Changed(Protocol):
    @property
    def update_time(self) -> datetime: ...


class _Pausable(Protocol):
    @property
    def paused(self) -> bool: ...


class _Executed(Protocol):
    @property
    def state(self) -> State: ...

    @property
    def start_time(self) -> datetime | None: ...

    @property
    def end_time(self) -> datetime | None: ...


class Created:
    """Of a record that is made."""

    __slots__ = ()

    @property
    def created(self: _Made) -> datetime:
        """The same as ``create_time``."""
        return self.create_time


class Updated(Created):
    """Of a record that is made, and changed later."""

    __slots__ = ()

    @property
    def updated(self: _Changed) -> datetime:
        """The same as ``update_time``."""
        return self.update_time


class Paused:
    """Of a record of what can be paused."""

    __slots__ = ()

    @property
    def is_paused(self: _Pausable) -> bool:
        """The same as ``paused``."""
        return self.paused


class Run(Created):
    """Of a flow run or a task run."""

    __slots__ = ()

    @property
    def state_type(self: _Executed) -> StateType:
        """The type of the state."""
        return self.state.type

    @property
    def state_name(self: _Executed) -> str:
        """The name of the state."""
        return self.state.name

    @property
    def total_run_time(self: _Executed) -> timedelta:
        """How long it took, from its first start to its end; zero before its end."""
        if self.start_time is None or self.end_time is None:
            return timedelta()
        return self.end_time - self.start_time

    @property
    def next_scheduled_start_time(self: _Executed) -> datetime | None:
        """When it is to start, where it waits for that."""
        return self.state.details.scheduled_time


__all__ = ["Created", "Paused", "Run", "Updated"]
