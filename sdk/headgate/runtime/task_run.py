"""Facts about the task run that is executing here.

Attributes:
    id: UUID text.
    name: For people.
    tags: As a list.
    parameters: As the task was called with.
    run_count: How many times it entered Running.
    task_name: The task.
    api_url: The server.
    ui_url: Its page in a dashboard, where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headgate.runtime._facts import Facts

if TYPE_CHECKING:
    api_url: str | None
    id: str | None
    name: str | None
    parameters: dict[str, Any]
    run_count: int
    tags: list[str]
    task_name: str | None
    ui_url: str | None

__all__ = [
    "api_url",
    "id",
    "name",
    "parameters",
    "run_count",
    "tags",
    "task_name",
    "ui_url",
]


def _context() -> Any:
    from headgate.context import TaskRunContext

    return TaskRunContext.get()


def _id() -> str | None:
    context = _context()
    return context.task_run.id if context is not None else None


def _name() -> str | None:
    context = _context()
    return context.task_run.name if context is not None else None


def _tags() -> list[str]:
    context = _context()
    return list(context.task_run.tags) if context is not None else []


def _parameters() -> dict[str, Any]:
    context = _context()
    return dict(context.parameters or {}) if context is not None else {}


def _run_count() -> int:
    context = _context()
    return context.task_run.run_count if context is not None else 0


def _task_name() -> str | None:
    context = _context()
    return context.task.name if context is not None else None


def _api_url() -> str | None:
    from headgate import settings

    return settings.current().api_url


def _ui_url() -> str | None:
    # No dashboard has an address that a run could know.
    return None


_facts = Facts(
    "task_run",
    {
        "api_url": (_api_url, str),
        "id": (_id, str),
        "name": (_name, str),
        "parameters": (_parameters, dict),
        "run_count": (_run_count, int),
        "tags": (_tags, list),
        "task_name": (_task_name, str),
        "ui_url": (_ui_url, str),
    },
)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return _facts.read(name)


def __dir__() -> list[str]:
    return _facts.names()
