"""Tracebacks of flows and tasks, as those who wrote them want to read them.

Between the lines of two functions of the user's there are a dozen of the engine's, and as many
above the first. They say nothing about what went wrong, so they are left out, together with those
of the libraries that the engine passes through. Where an exception comes from Headgate or a
library itself, the frames that lead to it stay.

``format_exception`` leaves them out of a text. ``trim`` leaves them out of the exception itself,
where it passes from Headgate to the code of the user: so Python, a debugger or pytest shows it
without them, too. It is called in an ``except`` block of the outermost function, which ends with a
bare ``raise``: that adds no frame anew.
"""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar, cast

from headgate.core import errors

__all__ = ["ELSEWHERE", "format_exception", "is_told", "trim"]

Frame = TypeVar("Frame")

#: How a note begins that has the traceback of another process.
ELSEWHERE = "In the process that executed it:"

_HEADGATE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
#: Below the package, but code that flows are made of: the demo's pipeline.
_FLOWS_OF_OURS = os.path.join(_HEADGATE, "cli", "")
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = os.path.join(_LIBRARY, "site-packages", "")
#: Packages that the engine is made of; flows may well be installed beside them.
_PACKAGES = tuple(
    os.path.join("site-packages", name, "")
    for name in ("anyio", "cloudpickle", "grpc", "pydantic", "tenacity")
)


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


def is_told(error: BaseException) -> bool:
    """Say whether the message of an exception says all that its traceback would.

    So it is where it is one of Headgate's, and no line of the user's led to it.
    """
    if not isinstance(error, errors.HeadgateError) or getattr(error, "__notes__", ()):
        return False
    step: BaseException | None = error
    while step is not None:
        if _has_frames_of_user(step):
            return False
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return True


def trim(error: BaseException) -> None:
    """Leave the frames in between out of an exception that passes to the code of the user."""
    steps: list[TracebackType] = []
    step = error.__traceback__
    while step is not None:
        steps.append(step)
        step = step.tb_next
    kept, engine = _split(steps, lambda step: step.tb_frame.f_code.co_filename)
    _trim_causes(error)
    # What ends a run from outside, such as Ctrl-C, is no fault of the line that it hit.
    if isinstance(error, Exception) and not _is_ours(error):
        kept += engine
    if len(kept) == len(steps):
        return
    rest: TracebackType | None = None
    for step in reversed(kept):
        rest = TracebackType(rest, step.tb_frame, step.tb_lasti, step.tb_lineno)
    error.__traceback__ = rest


def _trim_causes(error: BaseException) -> None:
    """Show what led to an exception of Headgate's only where that is code of the user's.

    Its message has the heart of the rest, and who asks for it finds it in ``__context__``.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None or cause is error or not _is_ours(error):
        return
    trim(cause)
    if not _has_frames_of_user(cause):
        error.__cause__ = None  # which hides the context, too


def _has_frames_of_user(error: BaseException) -> bool:
    step = error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if not (_is_engine(filename) or _is_library(filename)):
            return True
        step = step.tb_next
    return False


def _is_ours(error: BaseException) -> bool:
    """Say whether an exception is one of Headgate's, whose message says it all."""
    if isinstance(error, (errors.HeadgateError, errors.HeadgateSignal)):
        return True
    return any(note.startswith(ELSEWHERE) for note in getattr(error, "__notes__", ()))


def _leave_out(shown: traceback.TracebackException, error: BaseException) -> None:
    shown.stack[:] = _of_interest(shown.stack, is_ours=_is_ours(error))
    if not shown.stack:
        # Without frames there is no traceback to head.
        shown.stack = cast("traceback.StackSummary", None)
    if _is_ours(error):
        cause = error.__cause__ or error.__context__
        if cause is not None and not _has_frames_of_user(cause):
            # Its message has the heart of what led to it.
            shown.__cause__ = shown.__context__ = None
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
    kept, engine = _split(frames, lambda frame: frame.filename)
    return kept if is_ours else kept + engine


def _split(
    frames: list[Frame], filename_of: Callable[[Frame], str]
) -> tuple[list[Frame], list[Frame]]:
    """Return the frames of the user's, and those of the engine that come after all of them."""
    kept: list[Frame] = []
    # Frames of the engine, and of the library beyond them, that lead nowhere so far.
    engine: list[Frame] = []
    for frame in frames:
        filename = filename_of(frame)
        if _is_engine(filename) or (engine and _is_library(filename)):
            engine.append(frame)
        else:
            kept.append(frame)
            engine.clear()
    return kept, engine


@functools.lru_cache(maxsize=1024)
def _is_engine(filename: str) -> bool:
    return filename.startswith(_HEADGATE) and not filename.startswith(_FLOWS_OF_OURS)


@functools.lru_cache(maxsize=1024)
def _is_library(filename: str) -> bool:
    if filename.startswith("<frozen") or any(package in filename for package in _PACKAGES):
        return True
    return filename.startswith(_LIBRARY) and not filename.startswith(_INSTALLED)
