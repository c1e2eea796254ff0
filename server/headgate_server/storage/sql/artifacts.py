"""Artifacts in SQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from headgate.core.artifacts import Artifact
from headgate_server.storage.kinds.artifacts import ArtifactFilter
from headgate_server.storage.records import Page, PageRequest
from headgate_server.storage.sql import json_text, paging
from headgate_server.storage.sql.rows import Row
from headgate_server.storage.sql.tables import METADATA
from headgate_server.storage.sql.types import TEXT, UID, Instant
from headgate_server.storage.sql.work import Work

artifacts = sa.Table(
    "artifacts",
    METADATA,
    sa.Column("id", UID, primary_key=True),
    sa.Column("key", TEXT),
    # The key again in the latest of it, else None: so a database sees to it that there is one,
    # and all latest ones are found without looking at their versions.
    sa.Column("latest_of", TEXT),
    sa.Column("type", TEXT, nullable=False),
    sa.Column("description", TEXT, nullable=False),
    sa.Column("data", TEXT, nullable=False),
    sa.Column("metadata", TEXT, nullable=False),
    sa.Column("flow_run_id", UID),
    sa.Column("task_run_id", UID),
    sa.Column("create_time", Instant, nullable=False),
    sa.Column("update_time", Instant, nullable=False),
    sa.UniqueConstraint("latest_of"),
    sa.Index(None, "key", "id"),
    sa.Index(None, "type", "id"),
    sa.Index(None, "flow_run_id", "id"),
    sa.Index(None, "task_run_id", "id"),
)
_IS_LATEST = artifacts.c.latest_of.is_not(None)
# For the list of the latest ones by id, however many versions lie between.
sa.Index(
    "ix_artifacts_latest_id", artifacts.c.id, sqlite_where=_IS_LATEST, postgresql_where=_IS_LATEST
)

_COLUMNS = artifacts.c


class SqlArtifacts:
    """See :class:`headgate_server.storage.kinds.artifacts.Artifacts`."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, artifact_id: str) -> Artifact | None:
        return self._one(_COLUMNS.id == artifact_id)

    def get_latest(self, key: str) -> Artifact | None:
        return self._one(_COLUMNS.latest_of == key)

    def insert(self, artifact: Artifact) -> Artifact:
        if artifact.key:
            former = sa.update(artifacts).where(_COLUMNS.latest_of == artifact.key)
            self._work.execute(former, {"latest_of": None})
        self._work.execute(
            sa.insert(artifacts),
            {
                "id": artifact.id,
                "key": artifact.key,
                "latest_of": artifact.key,
                "type": artifact.type,
                "flow_run_id": artifact.flow_run_id,
                "task_run_id": artifact.task_run_id,
                "create_time": artifact.create_time,
                "update_time": artifact.update_time,
                **_shown(artifact),
            },
        )
        return dataclasses.replace(artifact, latest=bool(artifact.key))

    def update(self, artifact: Artifact) -> Artifact:
        self._work.execute(
            sa.update(artifacts).where(_COLUMNS.id == artifact.id),
            {**_shown(artifact), "update_time": self._work.now()},
        )
        return self.get(artifact.id) or artifact

    def delete(self, artifact_id: str) -> bool:
        return _delete(self._work, _COLUMNS.id == artifact_id) > 0

    def delete_key(self, key: str) -> int:
        return self._work.execute(sa.delete(artifacts).where(_COLUMNS.key == key)).rowcount

    def list(self, where: ArtifactFilter, page: PageRequest) -> Page[Artifact]:
        query = sa.select(artifacts).where(*_conditions(where))
        return paging.fetch_page(
            self._work, query, [_COLUMNS.id], page, _read, descending=True, heavy=True
        )

    def count(self, where: ArtifactFilter) -> int:
        query = sa.select(sa.func.count()).select_from(artifacts).where(*_conditions(where))
        return self._work.execute(query).scalar_one()

    def _one(self, condition: sa.ColumnElement[bool]) -> Artifact | None:
        row = self._work.execute(sa.select(artifacts).where(condition)).first()
        return None if row is None else _read(row)


def delete_of_runs(work: Work, doomed: sa.ScalarSelect[str]) -> None:
    """Delete the artifacts of flow runs that are about to be deleted."""
    _delete(work, _COLUMNS.flow_run_id.in_(doomed))


def _delete(work: Work, condition: sa.ColumnElement[bool]) -> int:
    latest = sa.select(_COLUMNS.key).where(condition, _IS_LATEST)
    keys: Sequence[str] = work.execute(latest).scalars().all()
    count = work.execute(sa.delete(artifacts).where(condition)).rowcount
    for key in keys:
        _promote(work, key)
    return count


def _promote(work: Work, key: str) -> None:
    """Let the newest that is left of a key be the latest; not by max(), for want of max(uuid)."""
    newest = sa.select(_COLUMNS.id).where(_COLUMNS.key == key).order_by(_COLUMNS.id.desc()).limit(1)
    found = work.execute(newest).scalar()
    if found is not None:
        work.execute(sa.update(artifacts).where(_COLUMNS.id == found), {"latest_of": key})


def _conditions(where: ArtifactFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    chosen: tuple[tuple[sa.Column[Any], tuple[str, ...]], ...] = (
        (_COLUMNS.id, where.ids),
        (_COLUMNS.latest_of if where.latest_only else _COLUMNS.key, where.keys),
        (_COLUMNS.type, where.types),
        (_COLUMNS.flow_run_id, where.flow_run_ids),
        (_COLUMNS.task_run_id, where.task_run_ids),
    )
    for column, values in chosen:
        if values:
            found.append(column.in_(values))
    if where.key_contains:
        found.append(paging.name_contains(_COLUMNS.key, where.key_contains))
    if where.latest_only:
        found.append(_IS_LATEST)
    return found


def _shown(artifact: Artifact) -> dict[str, Any]:
    return {
        "data": artifact.data_json,
        "description": artifact.description,
        "metadata": json_text.dump_map(artifact.metadata),
    }


def _read(row: Row) -> Artifact:
    return Artifact(
        id=row.id,
        key=row.key,
        type=row.type,
        description=row.description,
        data_json=row.data,
        metadata=json_text.load_map(row.metadata),
        flow_run_id=row.flow_run_id,
        task_run_id=row.task_run_id,
        latest=row.latest_of is not None,
        create_time=row.create_time,
        update_time=row.update_time,
    )
