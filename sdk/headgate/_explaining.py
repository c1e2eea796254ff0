"""What public functions say of a call that does not fit them.

Python's own ``TypeError`` names the option that there is not, and leaves its reader to find out
which one there is. ``explained`` makes it an error of ours, still a ``TypeError``, that names the
nearest. It also leaves the frames of ours that lead to code of the user's out of what is raised,
so that an error is shown at the line that made the call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from headgate.core import errors

__all__ = ["explained", "explained_class", "meant", "nearest"]

Called = TypeVar("Called", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type[Any])


def explained(called: Called) -> Called:
    """Let calls of a function that do not fit it be explained.

    A call that fits pays for one function more.
    """
    function: Callable[..., Any] = called
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                refusal = _refusal(error, function, args, kwargs)
                if refusal is None:
                    raise
                try:
                    raise refusal from None
                except errors.OptionTypeError:
                    refusal.__traceback__ = None  # a bare `raise` adds no frame anew
                    raise

        return cast("Called", awaited)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            refusal = _refusal(error, function, args, kwargs)
            if refusal is None:
                raise
            try:
                raise refusal from None
            except errors.OptionTypeError:
                refusal.__traceback__ = None  # a bare `raise` adds no frame anew
                raise

    return cast("Called", wrapper)


def explained_class(made: Class) -> Class:
    """Let calls of a class that do not fit it be explained; for those whose ``__init__`` is made.

    Outside of ``dataclass``, which makes it.
    """
    made.__init__ = explained(made.__init__)
    return made


def _refusal(
    error: Exception,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> errors.OptionTypeError | None:
    """Return what to raise in the place of an error if the call does not fit; None: the error."""
    from headgate.logging import tracebacks  # only who errs pays

    tracebacks.trim(error)
    if isinstance(error, errors.HeadgateError) or not isinstance(error, TypeError):
        return None
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as problem:
        name = _name(function, args)
        return errors.OptionTypeError(_explanation(name, signature, kwargs, problem))
    return None


def _name(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """Return what is called; a class may have its ``__init__`` from another."""
    if function.__name__ == "__init__" and args:
        return type(args[0]).__name__
    return function.__qualname__.rpartition("<locals>.")[2]


def _explanation(
    name: str,
    signature: inspect.Signature,
    kwargs: Mapping[str, Any],
    problem: TypeError,
) -> str:
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].name in ("self", "cls"):
        del parameters[0]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    names = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY)]
    for given in kwargs:
        if given not in names and not takes_any:
            return f"{name} has no option {given!r}; {meant(given, names)}"
    fact = str(problem)
    return f"The call does not fit {name}: {fact}; it is {name}({_shown(parameters)})."


def meant(wrong: str, names: list[str]) -> str:
    """Say which of the names a wrong one was probably meant to be; else which there are."""
    near = nearest(wrong, names)
    if near is not None:
        return f"did you mean {near}?"
    return f"it has {', '.join(names)}." if names else "it has none."


def nearest(wrong: str, names: list[str]) -> str | None:
    """Return the name that a wrong one was probably meant to be; None: it is like none."""
    import difflib  # only who errs pays

    near = difflib.get_close_matches(wrong, names, n=1)
    return near[0] if near else None


def _shown(parameters: list[inspect.Parameter]) -> str:
    """Write parameters without annotations, as a user would look them up."""
    bare = [parameter.replace(annotation=parameter.empty) for parameter in parameters]
    return str(inspect.Signature(bare))[1:-1]
