"""``log_prints``: what flows and tasks print becomes log lines of their runs."""

from __future__ import annotations

import builtins
import contextlib
import contextvars
import logging
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

from headgate.core import errors
from headgate.logging import loggers

__all__ = ["patch_print"]

#: Whether the run that executes here logs its prints. A thread of the user's own starts without
#: a context, so its prints stay prints.
_active: contextvars.ContextVar[bool] = contextvars.ContextVar("headgate_log_prints", default=False)
_lock = threading.Lock()
_patches = 0
_original: Callable[..., None] = builtins.print


@contextlib.contextmanager
def patch_print(active: bool = True) -> Generator[None]:
    """Let ``print`` log for the length of a ``with`` block, in this context only.

    Args:
        active: Whether prints are logged; False within True turns it off again.
    """
    global _patches, _original
    if not active and not _active.get():
        yield
        return
    token = _active.set(active)
    with _lock:
        if _patches == 0:
            _original = builtins.print
            builtins.print = _print
        _patches += 1
    try:
        yield
    finally:
        with _lock:
            _patches -= 1
            if _patches == 0 and builtins.print is _print:
                builtins.print = _original
        _active.reset(token)


def _print(*values: Any, **options: Any) -> None:
    if not _active.get() or options.get("file") not in (None, sys.stdout):
        _original(*values, **options)
        return
    try:
        logger = loggers.get_run_logger()
    except errors.MissingContextError:
        _original(*values, **options)
        return
    separator = options.get("sep")
    text = (" " if separator is None else separator).join(str(value) for value in values)
    end = options.get("end")
    # The line end is what a log line has anyway; any other end is part of what was printed.
    text += "" if end is None or end == "\n" else end
    # The token of a print within a handler of this very line: logged once, not for ever.
    token = _active.set(False)
    try:
        logger.log(logging.INFO, "%s", text)
    finally:
        _active.reset(token)
