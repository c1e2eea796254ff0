"""Tasks in other processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from headgate import settings
from headgate._explaining import explained
from headgate.core import errors
from headgate.task_runners.threads import ThreadPoolTaskRunner

if TYPE_CHECKING:
    from headgate.core.runs import LogRecord
    from headgate.engine.cells import Cells

__all__ = ["MessageProcessor", "ProcessPoolTaskRunner"]

#: Looks at a message of a child: its kind, ``log``, and its facts by name. Returns what goes on.
MessageProcessor = Callable[[str, dict[str, Any]], "tuple[str, dict[str, Any]] | None"]


class ProcessPoolTaskRunner(ThreadPoolTaskRunner):
    """Executes tasks, and flows that are submitted, in other processes of this machine.

    Each is a fresh interpreter (spawned, not forked), so pure Python code runs on all processors,
    and a task that does not end within its timeout is ended, whatever it does. Functions,
    arguments and results travel by cloudpickle, so a script needs no ``__main__`` guard. States,
    retries, hooks and log lines are the flow run's, as ever. A task that is submitted by a task
    executes on a thread of the same process.

    Args:
        max_workers: How many processes. Default: the setting
            ``HEADGATE_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS``, or one for each processor.
        initializer: Called first in each process.
        initargs: What it is called with.
        subprocess_message_processor_factories: Functions without parameters; each returns one
            that is called with the kind and the facts of every message that a process sends,
            and returns both, changed or not, or None to drop it.

    Raises:
        OptionTypeError: An option does not fit.
        OptionValueError: The number is less than 1.
    """

    @explained
    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        subprocess_message_processor_factories: Iterable[Callable[[], MessageProcessor]] = (),
    ) -> None:
        """Make a runner; it has processes when it has tasks."""
        super().__init__(max_workers)
        given: Any = subprocess_message_processor_factories or ()
        if initializer is not None and not callable(initializer):
            msg = f"initializer is {initializer!r}; use a function."
            raise errors.OptionTypeError(msg)
        if not isinstance(given, Iterable) or not all(map(callable, cast("Iterable[Any]", given))):
            msg = f"subprocess_message_processor_factories is {given!r}; use a list of functions."
            raise errors.OptionTypeError(msg)
        if not isinstance(initargs, tuple | list):
            msg = f"initargs is {initargs!r}; use a tuple of arguments."
            raise errors.OptionTypeError(msg)
        self.initializer = initializer
        self.initargs = initargs
        self.subprocess_message_processor_factories = tuple(
            subprocess_message_processor_factories or ()
        )
        self._cells: Cells | None = None

    def duplicate(self) -> Self:
        """Return a new runner with the same options."""
        return type(self)(*self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the options: processes stay where they are."""
        return type(self), self._options

    @property
    def _options(self) -> tuple[Any, ...]:
        return (
            self.max_workers,
            self.initializer,
            self.initargs,
            self.subprocess_message_processor_factories,
        )

    def _size(self) -> int:
        size = self.max_workers
        size = size or settings.current().tasks_runner_process_pool_max_workers
        return size or os.cpu_count() or 1

    def _cells_here(self) -> Cells:
        if self._cells is None:
            from headgate.engine.cells import Cells

            self._cells = Cells(
                self._size(),
                initializer=self.initializer,
                initargs=self.initargs,
                transform=self._transform(),
            )
        return self._cells

    def _transform(self) -> Callable[[LogRecord], LogRecord | None] | None:
        processors = [factory() for factory in self.subprocess_message_processor_factories]
        if not processors:
            return None
        import dataclasses

        def transform(record: LogRecord) -> LogRecord | None:
            kind, facts = "log", dataclasses.asdict(record)
            for process in processors:
                answer = process(kind, facts)
                if answer is None:
                    return None
                kind, facts = answer
            return dataclasses.replace(record, **facts)

        return transform

    def interrupt_all(self) -> None:
        """End the processes that execute something."""
        super().interrupt_all()
        if self._cells is not None:
            self._cells.kill_all()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the processes end."""
        super().__exit__(exc_type, exc, traceback)
        if self._cells is not None:
            self._cells.close()
