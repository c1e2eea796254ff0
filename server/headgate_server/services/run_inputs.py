"""Inputs of flow runs: stored, listed, and waited for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from headgate.core import errors
from headgate.core.clock import Clock
from headgate.core.run_inputs import RunInput
from headgate_server.domain import checks as domain_checks
from headgate_server.domain.checks import Checks
from headgate_server.services.notifier import Notifier
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds import run_inputs as kind
from headgate_server.storage.kinds.run_inputs import RunInputFilter
from headgate_server.storage.records import Page, PageRequest

WAIT_SECONDS_MAX = 60.0
#: The net under the announcements of commits; also how soon the end of the run's record is seen.
_SWEEP_SECONDS = 10.0
_EXCLUDED_MAX = 1_000
_PLACE_MAX = 2**63 - 1


class RunInputService:
    """Use-cases of the inputs of flow runs.

    Args:
        storage: Where they are kept.
        notifier: Says when there are more.
        clock: Measures how long somebody waits.
        new_id: Makes ids.
    """

    def __init__(
        self, storage: Storage, notifier: Notifier, clock: Clock, *, new_id: Callable[[], str]
    ) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._notifier = notifier
        self._clock = clock
        self._new_id = new_id

    async def create(self, run_input: RunInput, *, request_id: str = "") -> RunInput:
        """Store an input; returns after the COMMIT.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: There is no such flow run.
            AlreadyExists: The run has an input of this key, and not by this request.
        """
        checks = Checks()
        checks.id("run_input.flow_run_id", run_input.flow_run_id)
        _check_key(checks, "run_input.key", run_input.key)
        checks.text("run_input.sender", run_input.sender or "", domain_checks.NAME_CHARACTERS_MAX)
        checks.json_text("run_input.value", run_input.value)
        checks.optional_id("request_id", request_id)
        checks.raise_any()

        def change(tx: Transaction) -> RunInput:
            _require_run(tx, run_input.flow_run_id)
            known = tx.run_inputs.get(run_input.flow_run_id, run_input.key)
            if known is not None and known.id == request_id:
                return known
            deleted = tx.run_inputs.get_deleted(run_input.flow_run_id, run_input.key)
            if deleted is not None and deleted.id == request_id:
                # It was received, and deleted, before the answer of the request came: not again.
                return dataclasses.replace(deleted, value=run_input.value)
            made = dataclasses.replace(
                run_input, id=request_id or self._new_id(), create_time=tx.now()
            )
            return tx.run_inputs.insert(made)

        return await self._storage.write(change)

    async def get(self, flow_run_id: str, key: str) -> RunInput:
        """Return an input.

        Raises:
            InvalidArgument: The id or the key is none.
            NotFound: There is no such input.
        """
        _check_place(flow_run_id, key)
        found = await self._storage.read(lambda tx: tx.run_inputs.get(flow_run_id, key))
        if found is None:
            raise errors.NotFound("run input", key)
        return found

    async def list(
        self, where: RunInputFilter, page: PageRequest, *, wait_seconds: float = 0.0
    ) -> Page[RunInput]:
        """List inputs by place; where there are none, wait for one.

        Args:
            where: Which inputs.
            page: Which page.
            wait_seconds: How long to wait; more than WAIT_SECONDS_MAX is taken for that.

        Raises:
            InvalidArgument: The filter is wrong.
            NotFound: There is no such flow run.
            Unavailable: The server shuts down while it waits.
        """
        _check_filter(where, wait_seconds)
        deadline = self._clock.monotonic() + min(wait_seconds, WAIT_SECONDS_MAX)
        with self._notifier.topic(kind.topic(where.flow_run_id)) as signal:
            while True:
                seen = signal.count
                found = await self._storage.read(lambda tx: _list(tx, where, page))
                left_seconds = deadline - self._clock.monotonic()
                if found.items or left_seconds <= 0:
                    return found
                self._notifier.refuse_when_closed()
                await signal.wait(seen, timeout_seconds=min(left_seconds, _SWEEP_SECONDS))

    async def delete(self, flow_run_id: str, key: str) -> None:
        """Delete an input.

        Raises:
            InvalidArgument: The id or the key is none.
            NotFound: There is no such input.
        """
        _check_place(flow_run_id, key)

        def change(tx: Transaction) -> None:
            if not tx.run_inputs.delete(flow_run_id, key):
                raise errors.NotFound("run input", key)

        await self._storage.write(change)


def _list(tx: Transaction, where: RunInputFilter, page: PageRequest) -> Page[RunInput]:
    _require_run(tx, where.flow_run_id)
    return tx.run_inputs.list(where, page)


def _require_run(tx: Transaction, flow_run_id: str) -> None:
    if tx.flow_runs.get(flow_run_id) is None:
        raise errors.NotFound("flow run", flow_run_id)


def _check_place(flow_run_id: str, key: str) -> None:
    checks = Checks()
    checks.id("flow_run_id", flow_run_id)
    _check_key(checks, "key", key)
    checks.raise_any()


def _check_key(checks: Checks, field: str, key: str) -> None:
    if not 1 <= len(key) <= domain_checks.NAME_CHARACTERS_MAX:
        checks.add(field, f"A key has 1 to {domain_checks.NAME_CHARACTERS_MAX} characters.")


def _check_filter(where: RunInputFilter, wait_seconds: float) -> None:
    checks = Checks()
    checks.id("flow_run_id", where.flow_run_id)
    checks.text("filter.key_prefix", where.key_prefix, domain_checks.NAME_CHARACTERS_MAX)
    if len(where.exclude_keys) > _EXCLUDED_MAX:
        checks.add(
            "filter.exclude_keys",
            f"{len(where.exclude_keys)} are too many; at most {_EXCLUDED_MAX} fit. Use "
            "filter.after_place for what was received.",
        )
    if where.after_place > _PLACE_MAX:
        checks.add("filter.after_place", f"{where.after_place} is no place of an input.")
    if wait_seconds < 0:
        checks.add("wait", f"{wait_seconds:g} s is negative; leave it out, or wait 0 s up.")
    checks.raise_any()
