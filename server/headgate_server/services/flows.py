"""Flows, for those who look at them and label them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate.core import errors, runs
from headgate.core.states import StateType
from headgate_server.domain.checks import Checks
from headgate_server.services import masks
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.records import (
    FlowFilter,
    FlowRunFilter,
    FlowRunOrder,
    Page,
    PageRequest,
)

_CHANGEABLE = ("labels", "tags")
_UNFINISHED = tuple(type for type in StateType if not type.is_terminal)


class FlowService:
    """Use-cases of flows.

    Args:
        storage: Where they are kept.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._lifecycle = Lifecycle(new_id)

    async def create(self, flow: runs.Flow) -> runs.Flow:
        """Register a flow; one that has this name already is returned as it is.

        Raises:
            InvalidArgument: Name, tags or labels are wrong.
        """
        checks = Checks()
        checks.name("flow.name", flow.name)
        _check_labels(checks, flow)
        checks.raise_any()

        def change(tx: Transaction) -> runs.Flow:
            known = tx.flows.get_by_name(flow.name)
            if known is not None:
                return known
            made = self._lifecycle.ensure_flow(tx, flow.name)
            if not (flow.labels or flow.tags):
                return made
            return tx.flows.update(masks.apply(made, flow, _CHANGEABLE, allowed=_CHANGEABLE))

        return await self._storage.write(change)

    async def get(self, flow_id: str) -> runs.Flow:
        """Return a flow by id.

        Raises:
            InvalidArgument: The id is none.
            NotFound: There is no such flow.
        """
        checks = Checks()
        checks.id("id", flow_id)
        checks.raise_any()
        return await self._storage.read(lambda tx: _get(tx, flow_id))

    async def get_by_name(self, name: str) -> runs.Flow:
        """Return a flow by name.

        Raises:
            NotFound: There is no such flow.
        """
        flow = await self._storage.read(lambda tx: tx.flows.get_by_name(name))
        if flow is None:
            raise errors.NotFound("flow", name)
        return flow

    async def list(self, where: FlowFilter, page: PageRequest) -> Page[runs.Flow]:
        """List flows by name."""
        return await self._storage.read(lambda tx: tx.flows.list(where, page))

    async def update(self, flow: runs.Flow, mask: Sequence[str]) -> runs.Flow:
        """Change labels or tags.

        Raises:
            InvalidArgument: The mask, tags or labels are wrong.
            NotFound: There is no such flow.
        """
        checks = Checks()
        checks.id("flow.id", flow.id)
        _check_labels(checks, flow)
        checks.raise_any()

        def change(tx: Transaction) -> runs.Flow:
            stored = _get(tx, flow.id)
            updated = tx.flows.update(masks.apply(stored, flow, mask, allowed=_CHANGEABLE))
            self._lifecycle.flow(tx, "updated", updated)
            return updated

        return await self._storage.write(change)

    async def delete(self, flow_id: str) -> None:
        """Delete a flow with its deployments and runs.

        Raises:
            NotFound: There is no such flow.
            FailedPrecondition: One of its runs is leased.
        """
        checks = Checks()
        checks.id("id", flow_id)
        checks.raise_any()

        def change(tx: Transaction) -> None:
            flow = _get(tx, flow_id)
            if _has_leased_run(tx, flow_id):
                raise errors.FailedPrecondition(
                    f"A run of flow {flow.name!r} is being executed; cancel it first.",
                    "flow",
                    flow.name,
                )
            tx.flows.delete(flow_id)
            self._lifecycle.flow(tx, "deleted", flow)

        await self._storage.write(change)


def _has_leased_run(tx: Transaction, flow_id: str) -> bool:
    where = FlowRunFilter(flow_ids=(flow_id,), state_types=_UNFINISHED)
    after = None
    while True:
        page = tx.flow_runs.list(where, FlowRunOrder.ID_DESC, PageRequest(size=200, after=after))
        if any(tx.leases.get(run.id) is not None for run in page.items):
            return True
        if page.next is None:
            return False
        after = page.next


def _get(tx: Transaction, flow_id: str) -> runs.Flow:
    flow = tx.flows.get(flow_id)
    if flow is None:
        raise errors.NotFound("flow", flow_id)
    return flow


def _check_labels(checks: Checks, flow: runs.Flow) -> None:
    checks.labels("flow.labels", flow.labels)
    checks.tags("flow.tags", flow.tags)
