"""Artifacts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import artifact_pb2
from headgate.api.v1 import artifact_service_pb2 as pb
from headgate.client import choosing
from headgate.client.rpc import UNCHANGED, Rpc, Steps, Unchanged, texts
from headgate.client.schemas import actions
from headgate.codec import artifacts as codec
from headgate.core import artifacts, errors, ids

if TYPE_CHECKING:
    from headgate.client.rpc import Id
    from headgate.client.schemas import filters, sorting
    from headgate.client.schemas.actions import ArtifactCreate, ArtifactUpdate

SERVICE = "ArtifactService"
CREATE = Rpc(SERVICE, "CreateArtifact", pb.CreateArtifactRequest, pb.CreateArtifactResponse)
GET = Rpc(SERVICE, "GetArtifact", pb.GetArtifactRequest, pb.GetArtifactResponse)
LIST = Rpc(SERVICE, "ListArtifacts", pb.ListArtifactsRequest, pb.ListArtifactsResponse)
COUNT = Rpc(SERVICE, "CountArtifacts", pb.CountArtifactsRequest, pb.CountArtifactsResponse)
UPDATE = Rpc(SERVICE, "UpdateArtifact", pb.UpdateArtifactRequest, pb.UpdateArtifactResponse)
DELETE = Rpc(SERVICE, "DeleteArtifact", pb.DeleteArtifactRequest, pb.DeleteArtifactResponse)


def create_artifact(
    artifact: ArtifactCreate | None = None,
    *,
    type: str = "",
    data: Any = None,
    key: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
    flow_run_id: Id | None = None,
    task_run_id: Id | None = None,
) -> Steps[artifacts.Artifact]:
    """Store an artifact; one with a key becomes the latest of it.

    Args:
        artifact: All of it, described as in ``headgate.client.schemas.actions``.
        type: How it is shown: ``markdown``, ``table``, ``progress``, ``image``, or any other.
        data: What JSON has.
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        description: For people, Markdown.
        metadata: More about it.
        flow_run_id: The flow run that makes it.
        task_run_id: The task run that makes it.

    Raises:
        NotFound: There is no such flow run.
        InvalidArgument: A field is wrong, or the data is nothing that JSON has.
    """
    if (described := actions.given(actions.ArtifactCreate, artifact)) is not None:
        return (yield from create_artifact(**described))
    message = artifact_pb2.Artifact(
        type=type,
        data=_json(data),
        key=key or "",
        description=description or "",
        metadata=metadata or {},
        flow_run_id=str(flow_run_id or ""),
        task_run_id=str(task_run_id or ""),
    )
    response = yield from CREATE(
        pb.CreateArtifactRequest(artifact=message, request_id=ids.new_id())
    )
    return codec.artifact_from_proto(response.artifact)


def read_artifact(artifact_id: Id) -> Steps[artifacts.Artifact]:
    """Return an artifact by its id.

    Raises:
        NotFound: There is none.
    """
    response = yield from GET(pb.GetArtifactRequest(id=str(artifact_id)))
    return codec.artifact_from_proto(response.artifact)


def read_latest_artifact(key: str) -> Steps[artifacts.Artifact | None]:
    """Return the latest artifact of a key; None if there is none."""
    try:
        response = yield from GET(pb.GetArtifactRequest(key=key))
    except errors.NotFound:
        return None
    return codec.artifact_from_proto(response.artifact)


def read_artifacts(
    *,
    artifact_ids: Sequence[Id] = (),
    keys: Sequence[str] = (),
    key_contains: str = "",
    types: Sequence[str] = (),
    flow_run_ids: Sequence[Id] = (),
    task_run_ids: Sequence[Id] = (),
    artifact_filter: filters.ArtifactFilter | None = None,
    sort: sorting.ArtifactSort | str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Steps[list[artifacts.Artifact]]:
    """Return artifacts, the newest first.

    Conditions are joined by "and", values of one condition by "or".

    Args:
        artifact_ids: With these ids.
        keys: With one of these keys.
        key_contains: A part of the key.
        types: Of these types.
        flow_run_ids: Of these flow runs.
        task_run_ids: Of these task runs.
        artifact_filter: That fit; see ``headgate.client.schemas.filters``.
        sort: Another order; it takes reading all that fits.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    where = _filter(artifact_ids, keys, key_contains, types, flow_run_ids, task_run_ids)
    return (yield from _read(where, limit, artifact_filter, sort, offset))


def read_latest_artifacts(
    *,
    keys: Sequence[str] = (),
    key_contains: str = "",
    types: Sequence[str] = (),
    flow_run_ids: Sequence[Id] = (),
    task_run_ids: Sequence[Id] = (),
    artifact_filter: filters.ArtifactCollectionFilter | None = None,
    sort: sorting.ArtifactCollectionSort | str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Steps[list[artifacts.Artifact]]:
    """Return the latest artifact of each key, the newest first.

    Args:
        keys: With one of these keys.
        key_contains: A part of the key.
        types: Of these types.
        flow_run_ids: Of these flow runs.
        task_run_ids: Of these task runs.
        artifact_filter: That fit; see ``headgate.client.schemas.filters``.
        sort: Another order; it takes reading all that fits.
        limit: How many at most; None for all.
        offset: How many are passed over first.
    """
    where = _filter((), keys, key_contains, types, flow_run_ids, task_run_ids)
    where.latest_only = True
    return (yield from _read(where, limit, artifact_filter, sort, offset))


def count_artifacts(
    *,
    artifact_ids: Sequence[Id] = (),
    keys: Sequence[str] = (),
    key_contains: str = "",
    types: Sequence[str] = (),
    flow_run_ids: Sequence[Id] = (),
    task_run_ids: Sequence[Id] = (),
    latest_only: bool = False,
) -> Steps[int]:
    """Count artifacts.

    Args:
        artifact_ids: With these ids.
        keys: With one of these keys.
        key_contains: A part of the key.
        types: Of these types.
        flow_run_ids: Of these flow runs.
        task_run_ids: Of these task runs.
        latest_only: Only the latest of each key.
    """
    where = _filter(artifact_ids, keys, key_contains, types, flow_run_ids, task_run_ids)
    where.latest_only = latest_only
    response = yield from COUNT(pb.CountArtifactsRequest(filter=where))
    return response.count


def update_artifact(
    artifact_id: Id,
    artifact: ArtifactUpdate | None = None,
    *,
    data: Any | Unchanged = UNCHANGED,
    description: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Steps[artifacts.Artifact]:
    """Change what an artifact shows; what is not given stays.

    Args:
        artifact_id: The artifact.
        artifact: The change, described as in ``headgate.client.schemas.actions``.
        data: What JSON has.
        description: For people, Markdown.
        metadata: More about it.

    Raises:
        NotFound: There is no such artifact.
        InvalidArgument: A field is wrong, or the data is nothing that JSON has.
    """
    if (described := actions.given(actions.ArtifactUpdate, artifact)) is not None:
        return (yield from update_artifact(artifact_id, **described))
    request = pb.UpdateArtifactRequest(
        artifact=artifact_pb2.Artifact(id=str(artifact_id)), update_mask=FieldMask()
    )
    mask = request.update_mask.paths
    if not isinstance(data, Unchanged):
        request.artifact.data = _json(data)
        mask.append("data")
    if description is not None:
        request.artifact.description = description
        mask.append("description")
    if metadata is not None:
        request.artifact.metadata.update(metadata)
        mask.append("metadata")
    response = yield from UPDATE(request)
    return codec.artifact_from_proto(response.artifact)


def delete_artifact(artifact_id: Id) -> Steps[None]:
    """Delete an artifact; if it was the latest of its key, the one before becomes that.

    Raises:
        NotFound: There is no such artifact.
    """
    yield from DELETE(pb.DeleteArtifactRequest(id=str(artifact_id)))


def delete_artifacts_of_key(key: str) -> Steps[None]:
    """Delete all artifacts of a key.

    Raises:
        NotFound: There is none of it.
    """
    yield from DELETE(pb.DeleteArtifactRequest(key=key))


def _read(
    where: pb.ArtifactFilter,
    limit: int | None,
    wanted: filters.ArtifactFilter | filters.ArtifactCollectionFilter | None,
    sort: str | None,
    offset: int,
) -> Steps[list[artifacts.Artifact]]:
    choosing.check(wanted, "ArtifactFilter", "ArtifactCollectionFilter")
    fits = choosing.narrowed(where.keys, choosing.pushed(wanted, "key.any_"))
    fits &= choosing.narrowed(where.types, choosing.pushed(wanted, "type.any_"))
    fits &= choosing.narrowed(where.flow_run_ids, choosing.pushed(wanted, "flow_run_id.any_"))
    return (
        yield from choosing.read(
            LIST,
            pb.ListArtifactsRequest(filter=where),
            lambda r: r.artifacts,
            codec.artifact_from_proto,
            limit,
            keep=choosing.holds(wanted) if fits else choosing.nothing,
            sort=sort,
            offset=offset,
        )
    )


def _filter(
    artifact_ids: Sequence[Id],
    keys: Sequence[str],
    key_contains: str,
    types: Sequence[str],
    flow_run_ids: Sequence[Id],
    task_run_ids: Sequence[Id],
) -> pb.ArtifactFilter:
    return pb.ArtifactFilter(
        ids=texts(artifact_ids),
        keys=texts(keys),
        key_contains=key_contains,
        types=texts(types),
        flow_run_ids=texts(flow_run_ids),
        task_run_ids=texts(task_run_ids),
    )


def _json(data: Any) -> str:
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidArgument.of(
            "data",
            f"The data of the artifact is nothing that JSON has ({error}); give texts, numbers, "
            "lists, dictionaries or None.",
        ) from error
