"""Artifacts."""

from __future__ import annotations

from headgate.api.v1 import artifact_pb2 as pb
from headgate.codec import times
from headgate.core import artifacts


def artifact_to_proto(artifact: artifacts.Artifact, into: pb.Artifact | None = None) -> pb.Artifact:
    """Turn an artifact into a message."""
    message = pb.Artifact() if into is None else into
    message.id = artifact.id
    message.key = artifact.key or ""
    message.type = artifact.type
    message.description = artifact.description
    message.data = artifact.data_json
    message.metadata.update(artifact.metadata)
    message.flow_run_id = artifact.flow_run_id or ""
    message.task_run_id = artifact.task_run_id or ""
    message.latest = artifact.latest
    times.set_timestamp(message.create_time, artifact.create_time)
    times.set_timestamp(message.update_time, artifact.update_time)
    return message


def artifact_from_proto(message: pb.Artifact) -> artifacts.Artifact:
    """Turn a message into an artifact; times that are unset become the epoch."""
    return artifacts.Artifact(
        id=message.id,
        key=message.key or None,
        type=message.type,
        description=message.description,
        data_json=message.data or "null",
        metadata=dict(message.metadata),
        flow_run_id=message.flow_run_id or None,
        task_run_id=message.task_run_id or None,
        latest=message.latest,
        create_time=times.timestamp_to_datetime(message.create_time),
        update_time=times.timestamp_to_datetime(message.update_time),
    )


__all__ = ["artifact_from_proto", "artifact_to_proto"]
