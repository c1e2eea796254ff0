"""Variables: named values that flows and deployments read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from headgate.core import errors, variables
from headgate.core.variables import Variable
from headgate_server.domain.checks import Checks
from headgate_server.domain.requests import id_of_made
from headgate_server.services import masks
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.variables import VariableFilter
from headgate_server.storage.records import Page, PageRequest

#: What may change: its name on the wire, and the field of the record.
_CHANGEABLE = {"value": "value_json", "tags": "tags"}


class VariableService:
    """Use-cases of variables.

    Args:
        storage: Where they are kept.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._new_id = new_id
        self._lifecycle = Lifecycle(new_id)

    async def create(self, variable: Variable, *, request_id: str = "") -> Variable:
        """Make a variable.

        Raises:
            InvalidArgument: Fields are wrong.
            AlreadyExists: There is one of this name, and not by this request.
        """
        checks = Checks()
        _check_name(checks, "variable.name", variable.name)
        _check_value(checks, variable)
        checks.tags("variable.tags", variable.tags)
        checks.optional_id("request_id", request_id)
        checks.raise_any()
        new_id = id_of_made(request_id, variable.name) if request_id else self._new_id()

        def change(tx: Transaction) -> Variable:
            known = tx.variables.get(variable.name)
            if known is not None and known.id == new_id:
                return known
            return self._insert(tx, variable, new_id)

        return await self._storage.write(change)

    async def get(self, name: str) -> Variable:
        """Return a variable.

        Raises:
            InvalidArgument: The name is none.
            NotFound: There is no such variable.
        """
        _require_name("name", name)
        found = await self._storage.read(lambda tx: tx.variables.get(name))
        if found is None:
            raise errors.NotFound("variable", name)
        return found

    async def list(self, where: VariableFilter, page: PageRequest) -> Page[Variable]:
        """List variables by name."""
        checks = Checks()
        checks.tags("filter.tags", where.tags)
        checks.raise_any()
        return await self._storage.read(lambda tx: tx.variables.list(where, page))

    async def update(
        self, variable: Variable, mask: Sequence[str], *, allow_missing: bool = False
    ) -> Variable:
        """Change a variable; make it if there is none and that is allowed.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such variable.
        """
        checks = Checks()
        _check_name(checks, "variable.name", variable.name)
        if allow_missing or {"value", "*"} & set(mask):
            _check_value(checks, variable)
        checks.tags("variable.tags", variable.tags)
        checks.raise_any()

        def change(tx: Transaction) -> Variable:
            stored = tx.variables.get(variable.name)
            changed = masks.apply(
                stored or variable, variable, mask, allowed=_CHANGEABLE, names=_CHANGEABLE
            )
            if stored is not None:
                self._tell(tx, "updated", variable.name)
                return tx.variables.update(changed)
            if not allow_missing:
                raise errors.NotFound("variable", variable.name)
            return self._insert(tx, variable, self._new_id())

        return await self._storage.write(change)

    async def delete(self, name: str) -> None:
        """Delete a variable.

        Raises:
            InvalidArgument: The name is none.
            NotFound: There is no such variable.
        """
        _require_name("name", name)

        def change(tx: Transaction) -> None:
            if not tx.variables.delete(name):
                raise errors.NotFound("variable", name)
            self._tell(tx, "deleted", name)

        await self._storage.write(change)

    def _insert(self, tx: Transaction, variable: Variable, new_id: str) -> Variable:
        now = tx.now()
        made = dataclasses.replace(variable, id=new_id, create_time=now, update_time=now)
        tx.variables.insert(made)
        self._tell(tx, "created", variable.name)
        return made

    def _tell(self, tx: Transaction, verb: str, name: str) -> None:
        self._lifecycle.tell(tx, "variable", verb, name, name)


def _require_name(field: str, name: str) -> None:
    checks = Checks()
    _check_name(checks, field, name)
    checks.raise_any()


def _check_name(checks: Checks, field: str, name: str) -> None:
    if not variables.is_name(name):
        checks.add(field, variables.NAME_RULE)


def _check_value(checks: Checks, variable: Variable) -> None:
    checks.json_text("variable.value", variable.value_json, variables.VALUE_CHARACTERS_MAX)
