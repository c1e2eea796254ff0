"""Artifacts in memory."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from headgate.core import errors
from headgate.core.artifacts import Artifact
from headgate_server.storage.kinds.artifacts import ArtifactFilter
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest


class MemoryArtifacts:
    """See :class:`headgate_server.storage.kinds.artifacts.Artifacts`."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now

    def get(self, artifact_id: str) -> Artifact | None:
        return self._tables.artifacts.get(artifact_id)

    def get_latest(self, key: str) -> Artifact | None:
        return next((a for a in self._tables.artifacts if a.key == key and a.latest), None)

    def insert(self, artifact: Artifact) -> Artifact:
        if artifact.id in self._tables.artifacts:
            raise errors.AlreadyExists("artifact", artifact.id)
        former = self.get_latest(artifact.key) if artifact.key else None
        if former is not None:
            self._tables.artifacts[former.id] = dataclasses.replace(former, latest=False)
        stored = dataclasses.replace(artifact, latest=bool(artifact.key))
        self._tables.artifacts[stored.id] = stored
        return stored

    def update(self, artifact: Artifact) -> Artifact:
        stored = self._tables.artifacts.get(artifact.id)
        if stored is None:
            return artifact
        changed = dataclasses.replace(
            stored,
            data_json=artifact.data_json,
            description=artifact.description,
            metadata=artifact.metadata,
            update_time=self._now,
        )
        self._tables.artifacts[artifact.id] = changed
        return changed

    def delete(self, artifact_id: str) -> bool:
        return self._tables.delete_artifact(artifact_id)

    def delete_key(self, key: str) -> int:
        doomed = [artifact.id for artifact in self._tables.artifacts if artifact.key == key]
        for artifact_id in doomed:
            self._tables.artifacts.remove(artifact_id)
        return len(doomed)

    def list(self, where: ArtifactFilter, page: PageRequest) -> Page[Artifact]:
        fitting = [found for found in self._tables.artifacts if _fits(found, where)]
        return paging.cut_page(
            fitting,
            lambda found: (found.id,),
            page,
            descending=True,
            weight=lambda found: len(found.data_json),
        )

    def count(self, where: ArtifactFilter) -> int:
        return sum(_fits(found, where) for found in self._tables.artifacts)


def _fits(artifact: Artifact, where: ArtifactFilter) -> bool:
    return (
        (not where.ids or artifact.id in where.ids)
        and (not where.keys or artifact.key in where.keys)
        and paging.contains(artifact.key or "", where.key_contains)
        and (not where.types or artifact.type in where.types)
        and (not where.flow_run_ids or artifact.flow_run_id in where.flow_run_ids)
        and (not where.task_run_ids or artifact.task_run_id in where.task_run_ids)
        and (artifact.latest or not where.latest_only)
    )
