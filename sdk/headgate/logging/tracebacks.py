"""Tracebacks of flows and tasks, as those who wrote them want to read them.

Between the lines of two functions of the user's there are a dozen of the engine's, and as many
above the first. They say nothing about what went wrong, so they are left out, together with those
of the standard library that the engine passes through. Where an exception comes from Headgate or
the library itself, the frames that lead to it stay.
"""

from __future__ import annotations

import functools
import os
import traceback
from types import TracebackType
from typing import cast

from headgate.core import errors

__all__ = ["ELSEWHERE", "format_exception"]

#: How a note begins that has the traceback of another process.
ELSEWHERE = "In the process that executed it:"

_HEADGATE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: Below the package, but code that flows are made of: the demo's pipeline.
_FLOWS_OF_OURS = os.path.join(_HEADGATE, "cli", "")
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = os.path.join(_LIBRARY, "site-packages", "")


def format_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> str:
    """Format an exception like ``traceback.format_exception``, without the frames in between.

    Args:
        kind: Its type.
        error: The exception; those that caused it are shown with it.
        trace: Its traceback.

    Returns:
        Lines, without a line end at the end.
    """
    shown = traceback.TracebackException(kind, error, trace, compact=True)
    _leave_out(shown, error)
    return "".join(shown.format()).rstrip("\n")


def _leave_out(shown: traceback.TracebackException, error: BaseException) -> None:
    is_ours = isinstance(error, (errors.HeadgateError, errors.HeadgateSignal))
    is_ours = is_ours or any(n.startswith(ELSEWHERE) for n in getattr(error, "__notes__", ()))
    shown.stack[:] = _of_interest(shown.stack, is_ours=is_ours)
    if shown.__cause__ is not None and error.__cause__ is not None:
        _leave_out(shown.__cause__, error.__cause__)
    if shown.__context__ is not None and error.__context__ is not None:
        _leave_out(shown.__context__, error.__context__)
    if shown.exceptions is not None and isinstance(error, BaseExceptionGroup):
        raised = cast("BaseExceptionGroup[BaseException]", error).exceptions
        for inner, one in zip(shown.exceptions, raised, strict=False):
            _leave_out(inner, one)


def _of_interest(
    frames: list[traceback.FrameSummary], *, is_ours: bool
) -> list[traceback.FrameSummary]:
    """Return the frames that are shown.

    Args:
        frames: All of them, the outermost first.
        is_ours: Whether the exception is one of Headgate's, whose message says it all.
    """
    kept: list[traceback.FrameSummary] = []
    # Frames of the engine, and of the library beyond them, that lead nowhere so far.
    engine: list[traceback.FrameSummary] = []
    for frame in frames:
        if _is_engine(frame.filename) or (engine and _is_library(frame.filename)):
            engine.append(frame)
        else:
            kept.append(frame)
            engine.clear()
    return kept if kept and is_ours else kept + engine


@functools.lru_cache(maxsize=1024)
def _is_engine(filename: str) -> bool:
    return filename.startswith(_HEADGATE) and not filename.startswith(_FLOWS_OF_OURS)


@functools.lru_cache(maxsize=1024)
def _is_library(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return True
    return filename.startswith(_LIBRARY) and not filename.startswith(_INSTALLED)
