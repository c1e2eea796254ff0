"""Where a flow is: ``path/to/file.py:function``, ``package.module.function``; and loading it."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from headgate import _options
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.flows import Flow

_importing = threading.RLock()

__all__ = ["Entrypoint", "load", "load_flow", "load_module", "of_function", "parse"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """A place in code.

    Attributes:
        file: The file, or None where a module is named.
        module: The module, or None where a file is named.
        qualname: The name within, e.g. ``etl`` or ``Pipelines.etl``.
    """

    file: str | None
    module: str | None
    qualname: str


def parse(text: str) -> Entrypoint:
    """Read ``file.py:function``, ``package.module:function`` or ``package.module.function``.

    Raises:
        MissingFlowError: The text is none of these.
    """
    if not isinstance(text, str) or not _options.is_encodable(text):
        msg = f"The entrypoint is {text!r}; use a text such as 'path/to/file.py:function'."
        raise errors.OptionTypeError(msg)
    place, colon, qualname = text.rpartition(":")
    # A colon may also stand after a drive letter, and then in front of no identifier.
    if colon and place and _is_dotted(qualname):
        if place.endswith(".py") or "/" in place or os.sep in place:
            return Entrypoint(file=place, module=None, qualname=qualname)
        if _is_dotted(place):
            return Entrypoint(file=None, module=place, qualname=qualname)
    if not colon and _is_dotted(text) and "." in text and not text.endswith(".py"):
        module, _, qualname = text.rpartition(".")
        return Entrypoint(file=None, module=module, qualname=qualname)
    msg = (
        f"Entrypoint {text!r} does not say where the flow is; write it as "
        "'path/to/file.py:function' or 'package.module.function'."
    )
    raise errors.MissingFlowError(msg)


def load(entrypoint: str, path: str | os.PathLike[str] | None = None) -> Any:
    """Import the object that an entrypoint names.

    Args:
        entrypoint: As for ``parse``.
        path: The folder that a relative file, or the module, is found in. Default: the working
            folder.

    Raises:
        MissingFlowError: There is no such file, module or name in it.
        ScriptError: The code raised while it was imported; the cause is attached.
    """
    return _find(_import(parse(entrypoint), path), parse(entrypoint).qualname, entrypoint)


def load_module(source: str, path: str | os.PathLike[str] | None = None) -> ModuleType:
    """Import a file or a module.

    Args:
        source: ``path/to/file.py`` or ``package.module``.
        path: As for ``load``.

    Raises:
        MissingFlowError: There is no such file or module.
        ScriptError: The code raised while it was imported; the cause is attached.
    """
    is_file = source.endswith(".py") or os.sep in source
    return _import(
        Entrypoint(
            file=source if is_file else None, module=None if is_file else source, qualname=""
        ),
        path,
    )


def load_flow(entrypoint: str, path: str | os.PathLike[str] | None = None) -> Flow[..., Any]:
    """Import the flow that an entrypoint names.

    Args:
        entrypoint: As for ``parse``.
        path: As for ``load``.

    Raises:
        MissingFlowError: There is no such flow; those that there are are named.
        ScriptError: The code raised while it was imported; the cause is attached.
    """
    from headgate.flows import Flow  # the engine; not needed to parse an entrypoint

    parsed = parse(entrypoint)
    module = _import(parsed, path)
    found = _find(module, parsed.qualname, entrypoint)
    if isinstance(found, Flow):
        return found  # pyright: ignore[reportUnknownVariableType]  # of whatever parameters
    flows = {
        name: cast("Flow[..., Any]", value)
        for name, value in vars(module).items()
        if isinstance(value, Flow)
    }
    for value in flows.values():
        # The file says `daily = flow(etl)` and the entrypoint `file.py:etl`.
        if value.fn is found:
            return value
    has = ", ".join(sorted(flows)) or "no flow"
    msg = (
        f"Entrypoint {entrypoint!r} names no flow but an object of the type "
        f"{type(found).__name__}; decorate it with @flow, or name another one. The module has "
        f"{has}."
    )
    raise errors.MissingFlowError(msg)


def of_function(
    fn: Callable[..., Any], *, module: bool = False, base: str | os.PathLike[str] | None = None
) -> str:
    """Say the entrypoint of a function.

    Args:
        fn: The function, undecorated.
        module: ``package.module.function`` instead of ``file.py:function``.
        base: The folder that the file is relative to. Default: the working folder.

    Raises:
        MissingFlowError: The function is not in a file, or not at the top of it.
    """
    inner: Any = inspect.unwrap(fn)
    inner = getattr(inner, "__func__", inner)
    qualname: str = getattr(inner, "__qualname__", "")
    if qualname.endswith("<lambda>"):
        msg = (
            "Flow 'unknown-lambda' is a lambda, which no other process can find; make it a "
            "function at the top of its file."
        )
        raise errors.MissingFlowError(msg)
    if "<locals>" in qualname or not qualname:
        msg = (
            f"Flow {qualname or fn!r} is defined within a function, where no other process can "
            "find it; move it to the top of its file."
        )
        raise errors.MissingFlowError(msg)
    if module and inner.__module__ != "__main__":
        return f"{inner.__module__}.{qualname}"
    try:
        source = inspect.getsourcefile(inner)
    except TypeError:
        source = None
    if source is None or not os.path.exists(source):
        msg = (
            f"Flow {qualname!r} is not defined in a file, so no other process can load it; "
            "put it into a file."
        )
        raise errors.MissingFlowError(msg)
    file, root = os.path.realpath(source), os.path.realpath(base or os.getcwd())
    if Path(file).is_relative_to(root):
        file = os.path.relpath(file, root)
    return f"{file}:{qualname}"


def _is_dotted(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))


def _find(module: ModuleType, qualname: str, entrypoint: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            names = [name for name, value in vars(module).items() if _is_flow(value)]
            has = "Its flows are " + ", ".join(sorted(names)) if names else "It has no flows"
            msg = f"There is no {qualname!r} in {entrypoint.rpartition(':')[0] or module.__name__}."
            raise errors.MissingFlowError(f"{msg} {has}.") from None
    return found


def _is_flow(value: Any) -> bool:
    # By name: the module that has the class loads much.
    mro = type(value).__mro__
    return any((base.__module__, base.__name__) == ("headgate.flows", "Flow") for base in mro)


def _import(parsed: Entrypoint, path: str | os.PathLike[str] | None) -> ModuleType:
    # A file is not imported by an import statement, whose locks would keep another thread from
    # finding it half loaded.
    with _importing:
        return _import_alone(parsed, path)


def _import_alone(parsed: Entrypoint, path: str | os.PathLike[str] | None) -> ModuleType:
    base = Path(path).expanduser().absolute() if path else Path.cwd()
    if parsed.file is not None:
        return _import_file((base / Path(parsed.file).expanduser()).resolve(), base)
    assert parsed.module is not None
    _prepend(str(base))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(parsed.module)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{parsed.module}.".startswith(f"{problem.name}."):
            raise _script_error(parsed.module, problem) from problem
        # "package.module.Class.method": the class is the last part of what is no module.
        msg = f"There is no module {problem.name!r} in {base} or on the path; install it there."
        raise errors.MissingFlowError(msg) from None
    except Exception as problem:  # the module is code of the user's and raises anything
        raise _script_error(parsed.module, problem) from problem


def _import_file(file: Path, base: Path) -> ModuleType:
    if not file.is_file():
        msg = (
            f"There is no file {file}; the entrypoint is relative to {base}: correct it, or "
            "the path of the deployment."
        )
        raise errors.MissingFlowError(msg)
    # As `python file.py` has it: what lies beside the file can be imported.
    _prepend(str(base))
    _prepend(str(file.parent))
    importlib.invalidate_caches()
    name = _module_name(file)
    known = sys.modules.get(name)
    if known is not None and _same_file(getattr(known, "__file__", None), file):
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        msg = f"The file {file} is no Python file; name one that ends in .py."
        raise errors.MissingFlowError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:  # the file is code of the user's and raises anything
        sys.modules.pop(name, None)
        raise _script_error(str(file), problem) from problem
    return module


def _module_name(file: Path) -> str:
    """Choose the name under which a file is imported.

    Its own name where an import statement would find this very file under it, so that it is
    loaded once and its classes pickle by reference; else one of its own, for a flow may well
    live in a file called ``json.py``.
    """
    name = file.stem
    if name.isidentifier():
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and _same_file(spec.origin, file):
            return name
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:12]
    return f"__headgate_{digest}_{name if name.isidentifier() else 'file'}"


def _same_file(origin: str | None, file: Path) -> bool:
    if origin is None:
        return False
    try:
        return os.path.samefile(origin, file)
    except OSError:
        return False


def _prepend(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _script_error(what: str, problem: BaseException) -> errors.ScriptError:
    msg = f"{what} raised {type(problem).__name__} while it was imported: {problem}"
    error = errors.ScriptError(msg)
    error.__cause__ = problem
    return error
