"""Artifacts: what runs show to people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from headgate.core import artifacts, errors
from headgate.core.artifacts import Artifact
from headgate.core.events import FLOW_RUN_PREFIX
from headgate_server.domain import checks as domain_checks
from headgate_server.domain import events as domain_events
from headgate_server.domain.checks import Checks
from headgate_server.services import masks
from headgate_server.services.lifecycle import Lifecycle
from headgate_server.storage.interface import Storage, Transaction
from headgate_server.storage.kinds.artifacts import ArtifactFilter
from headgate_server.storage.records import Page, PageRequest

METADATA_ENTRIES_MAX = 200
_VALUES_MAX = 1_000
#: What may change: its name on the wire, and the field of the record.
_CHANGEABLE = {"data": "data_json", "description": "description", "metadata": "metadata"}


class ArtifactService:
    """Use-cases of artifacts.

    Args:
        storage: Where they are kept.
        new_id: Makes ids.
    """

    def __init__(self, storage: Storage, *, new_id: Callable[[], str]) -> None:
        """Make it for a storage."""
        self._storage = storage
        self._new_id = new_id
        self._lifecycle = Lifecycle(new_id)

    async def create(self, artifact: Artifact, *, request_id: str = "") -> Artifact:
        """Store an artifact; one with a key becomes the latest of it.

        The task run may be unknown yet: engines report their task runs a moment later.

        Raises:
            InvalidArgument: Fields are wrong.
            NotFound: There is no such flow run.
        """
        checks = Checks()
        _check_key(checks, "artifact.key", artifact.key)
        checks.text("artifact.type", artifact.type, domain_checks.NAME_CHARACTERS_MAX)
        _check_shown(checks, artifact)
        checks.optional_id("artifact.flow_run_id", artifact.flow_run_id)
        checks.optional_id("artifact.task_run_id", artifact.task_run_id)
        checks.optional_id("request_id", request_id)
        checks.raise_any()

        def change(tx: Transaction) -> Artifact:
            known = tx.artifacts.get(request_id) if request_id else None
            if known is not None:
                return known
            if artifact.flow_run_id and tx.flow_runs.get(artifact.flow_run_id) is None:
                raise errors.NotFound("flow run", artifact.flow_run_id)
            now = tx.now()
            new_id = request_id or self._new_id()
            made = dataclasses.replace(artifact, id=new_id, create_time=now, update_time=now)
            self._tell(tx, "created", made)
            return tx.artifacts.insert(made)

        return await self._storage.write(change)

    async def get(self, artifact_id: str) -> Artifact:
        """Return an artifact.

        Raises:
            InvalidArgument: The id is none.
            NotFound: There is no such artifact.
        """
        _require_id("id", artifact_id)
        return await self._storage.read(lambda tx: _get(tx, artifact_id))

    async def get_latest(self, key: str) -> Artifact:
        """Return the latest artifact of a key.

        Raises:
            InvalidArgument: The key is none.
            NotFound: There is none.
        """
        _require_key(key)
        found = await self._storage.read(lambda tx: tx.artifacts.get_latest(key))
        if found is None:
            raise errors.NotFound("artifact", key)
        return found

    async def list(self, where: ArtifactFilter, page: PageRequest) -> Page[Artifact]:
        """List artifacts, the newest first.

        Raises:
            InvalidArgument: The filter is wrong.
        """
        _check_filter(where)
        return await self._storage.read(lambda tx: tx.artifacts.list(where, page))

    async def count(self, where: ArtifactFilter) -> int:
        """Count artifacts.

        Raises:
            InvalidArgument: The filter is wrong.
        """
        _check_filter(where)
        return await self._storage.read(lambda tx: tx.artifacts.count(where))

    async def update(self, artifact: Artifact, mask: Sequence[str]) -> Artifact:
        """Change what an artifact shows.

        Raises:
            InvalidArgument: The mask or a field is wrong.
            NotFound: There is no such artifact.
        """
        checks = Checks()
        checks.id("artifact.id", artifact.id)
        _check_shown(checks, artifact)
        checks.raise_any()

        def change(tx: Transaction) -> Artifact:
            stored = _get(tx, artifact.id)
            self._tell(tx, "updated", stored)
            return tx.artifacts.update(
                masks.apply(stored, artifact, mask, allowed=_CHANGEABLE, names=_CHANGEABLE)
            )

        return await self._storage.write(change)

    async def delete(self, artifact_id: str) -> None:
        """Delete an artifact.

        Raises:
            InvalidArgument: The id is none.
            NotFound: There is no such artifact.
        """
        _require_id("id", artifact_id)

        def change(tx: Transaction) -> None:
            self._tell(tx, "deleted", _get(tx, artifact_id))
            tx.artifacts.delete(artifact_id)

        await self._storage.write(change)

    async def delete_key(self, key: str) -> None:
        """Delete all artifacts of a key.

        Raises:
            InvalidArgument: The key is none.
            NotFound: There is none of it.
        """
        _require_key(key)

        def change(tx: Transaction) -> None:
            if not tx.artifacts.delete_key(key):
                raise errors.NotFound("artifact", key)
            # One event for all of them: there may be thousands.
            self._lifecycle.tell(tx, "artifact-collection", "deleted", key, key)

        await self._storage.write(change)

    def _tell(self, tx: Transaction, verb: str, artifact: Artifact) -> None:
        run_id = artifact.flow_run_id
        run = tx.flow_runs.get(run_id) if run_id else None
        self._lifecycle.tell(
            tx,
            "artifact",
            verb,
            artifact.id,
            artifact.key or artifact.type,
            related=(domain_events.resource(FLOW_RUN_PREFIX + run.id, run.name, "flow-run"),)
            if run
            else (),
            payload={"key": artifact.key, "type": artifact.type},
        )


def _get(tx: Transaction, artifact_id: str) -> Artifact:
    found = tx.artifacts.get(artifact_id)
    if found is None:
        raise errors.NotFound("artifact", artifact_id)
    return found


def _require_id(field: str, artifact_id: str) -> None:
    checks = Checks()
    checks.id(field, artifact_id)
    checks.raise_any()


def _require_key(key: str) -> None:
    checks = Checks()
    _check_key(checks, "key", key)
    checks.raise_any()


def _check_key(checks: Checks, field: str, key: str | None) -> None:
    if key is not None and not artifacts.is_key(key):
        checks.add(field, artifacts.KEY_RULE)


def _check_shown(checks: Checks, artifact: Artifact) -> None:
    checks.text("artifact.description", artifact.description)
    checks.json_text("artifact.data", artifact.data_json, artifacts.DATA_CHARACTERS_MAX)
    if len(artifact.metadata) > METADATA_ENTRIES_MAX:
        checks.add(
            "artifact.metadata",
            f"{len(artifact.metadata)} entries are too many; at most {METADATA_ENTRIES_MAX} fit.",
        )
    checks.labels("artifact.metadata", artifact.metadata)
    size = sum(len(key) + len(value) for key, value in artifact.metadata.items())
    if size > domain_checks.TEXT_CHARACTERS_MAX:
        checks.add(
            "artifact.metadata",
            f"{size} characters are too many; at most {domain_checks.TEXT_CHARACTERS_MAX} fit.",
        )


def _check_filter(where: ArtifactFilter) -> None:
    checks = Checks()
    for name in ("ids", "keys", "types", "flow_run_ids", "task_run_ids"):
        values: tuple[str, ...] = getattr(where, name)
        if len(values) > _VALUES_MAX:
            checks.add(f"filter.{name}", f"{len(values)} are too many; at most {_VALUES_MAX} fit.")
    for name in ("ids", "flow_run_ids", "task_run_ids"):
        checks.ids(f"filter.{name}", getattr(where, name)[:_VALUES_MAX])
    checks.raise_any()
