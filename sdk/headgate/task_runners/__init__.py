"""Task runners: where submitted tasks, and submitted flows, execute."""

from __future__ import annotations

from headgate.task_runners.background import BackgroundTaskRunner
from headgate.task_runners.base import TaskRunner
from headgate.task_runners.processes import ProcessPoolTaskRunner
from headgate.task_runners.threads import ThreadPoolTaskRunner

__all__ = [
    "BackgroundTaskRunner",
    "ConcurrentTaskRunner",
    "HeadgateTaskRunner",
    "ProcessPoolTaskRunner",
    "TaskRunner",
    "ThreadPoolTaskRunner",
]

#: The name that the thread pool had first.
ConcurrentTaskRunner = ThreadPoolTaskRunner
#: For code that was written for Prefect.
HeadgateTaskRunner = BackgroundTaskRunner
