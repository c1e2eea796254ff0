"""What storage keeps of artifacts."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from headgate.core.artifacts import Artifact
from headgate_server.storage.records import Page, PageRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFilter:
    """Which artifacts; empty fields do not filter, values of one field are joined by or.

    Attributes:
        latest_only: Only the latest of each key; those without a key are left out.
    """

    ids: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    key_contains: str = ""
    types: tuple[str, ...] = ()
    flow_run_ids: tuple[str, ...] = ()
    task_run_ids: tuple[str, ...] = ()
    latest_only: bool = False


class Artifacts(Protocol):
    """Artifacts. Those of a flow run are deleted with it.

    At most one artifact of a key is the latest: the one that was inserted last, and after its
    end the one of the greatest id.
    """

    def get(self, artifact_id: str) -> Artifact | None:
        """Return the artifact, or None."""
        ...

    def get_latest(self, key: str) -> Artifact | None:
        """Return the latest artifact of a key, or None."""
        ...

    def insert(self, artifact: Artifact) -> Artifact:
        """Store a new one; with a key it becomes the latest of it. Returns it as stored."""
        ...

    def update(self, artifact: Artifact) -> Artifact:
        """Store data, description and metadata; set update_time by the database clock."""
        ...

    def delete(self, artifact_id: str) -> bool:
        """Delete one; say whether there was one."""
        ...

    def delete_key(self, key: str) -> int:
        """Delete all of a key; return how many there were."""
        ...

    def list(self, where: ArtifactFilter, page: PageRequest) -> Page[Artifact]:
        """List artifacts by id, the greatest first."""
        ...

    def count(self, where: ArtifactFilter) -> int:
        """Count artifacts."""
        ...


__all__ = ["ArtifactFilter", "Artifacts"]
