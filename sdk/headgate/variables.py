"""Variables: named values that are kept by the server, for flows and deployments to read.

::

    from headgate.variables import Variable

    Variable.set("batch_size", 100)
    size = Variable.get("batch_size", default=10)

In a coroutine the same calls are awaited, as in ``await Variable.get("batch_size")``.

They are no place for secrets: everybody who may read may see them. Use a ``Secret`` block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from headgate import _calling, _options
from headgate._explaining import explained
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.core.variables import Variable as Record

__all__ = ["Variable"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A named value.

    Attributes:
        name: Unique; 1 to 255 lower-case letters, digits, ``-`` and ``_``.
        value: What JSON has: a text, a number, a list, a dictionary, True, False or None.
        tags: For grouping and finding.
        id: UUID text; empty before it is stored.
    """

    name: str
    value: Any
    tags: tuple[str, ...] = ()
    id: str = ""

    @classmethod
    @explained
    def get(cls, name: str, default: Any = None) -> Any:
        """Return the value of a variable.

        Args:
            name: The variable.
            default: What is returned where there is none of this name.

        Raises:
            InvalidArgument: The name is none that a variable can have.
        """
        _check(name)
        if _calling.in_event_loop():
            return cls.aget(name, default)
        from headgate.client import orchestration

        with orchestration.get_client(sync_client=True) as client:
            found = client.read_variable_by_name(name)
        return default if found is None else found.value

    @classmethod
    @explained
    async def aget(cls, name: str, default: Any = None) -> Any:
        """Return the value of a variable; see ``get``."""
        _check(name)
        from headgate.client import orchestration

        async with orchestration.get_client() as client:
            found = await client.read_variable_by_name(name)
        return default if found is None else found.value

    @classmethod
    @explained
    def set(
        cls, name: str, value: Any, tags: Sequence[str] | None = None, overwrite: bool = False
    ) -> Variable:
        """Make a variable, or change the one there is.

        Args:
            name: 1 to 255 lower-case letters, digits, ``-`` and ``_``.
            value: What JSON has, at most 5,000 characters of it.
            tags: For grouping and finding. None: none, or where one is overwritten, its own.
            overwrite: Change the value of the one that has this name.

        Raises:
            AlreadyExists: There is one of this name, and ``overwrite`` is not set.
            InvalidArgument: The name, the value or a tag is wrong.
        """
        _check(name, tags)
        if _calling.in_event_loop():
            return cast("Variable", cls.aset(name, value, tags, overwrite))
        from headgate.client import orchestration

        with orchestration.get_client(sync_client=True) as client:
            if overwrite:
                return cls._of(client.set_variable(name, value, tags=tags))
            try:
                return cls._of(client.create_variable(name, value, tags=tags or ()))
            except errors.AlreadyExists as error:
                raise _taken(name) from error

    @classmethod
    @explained
    async def aset(
        cls, name: str, value: Any, tags: Sequence[str] | None = None, overwrite: bool = False
    ) -> Variable:
        """Make a variable, or change the one there is; see ``set``."""
        _check(name, tags)
        from headgate.client import orchestration

        async with orchestration.get_client() as client:
            if overwrite:
                return cls._of(await client.set_variable(name, value, tags=tags))
            try:
                return cls._of(await client.create_variable(name, value, tags=tags or ()))
            except errors.AlreadyExists as error:
                raise _taken(name) from error

    @classmethod
    @explained
    def unset(cls, name: str) -> bool:
        """Delete a variable.

        Args:
            name: The variable.

        Returns:
            Whether there was one.
        """
        _check(name)
        if _calling.in_event_loop():
            return cast("bool", cls.aunset(name))
        from headgate.client import orchestration

        with orchestration.get_client(sync_client=True) as client:
            try:
                client.delete_variable_by_name(name)
            except errors.NotFound:
                return False
        return True

    @classmethod
    @explained
    async def aunset(cls, name: str) -> bool:
        """Delete a variable; see ``unset``."""
        _check(name)
        from headgate.client import orchestration

        async with orchestration.get_client() as client:
            try:
                await client.delete_variable_by_name(name)
            except errors.NotFound:
                return False
        return True

    @classmethod
    def _of(cls, record: Record) -> Variable:
        return cls(id=record.id, name=record.name, value=record.value, tags=record.tags)


def _taken(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        "variable",
        name,
        f"There is a variable {name!r} already; pass overwrite=True to change it.",
    )


def _check(name: Any, tags: Any = None) -> None:
    if name is None:
        msg = "name is None; use that of a variable."
        raise errors.OptionTypeError(msg)
    _options.checked_text(name, "name")
    _options.checked_tags(tags)
