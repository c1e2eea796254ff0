"""Artifacts: what a run shows to people, as a text, a table, a picture, or how far it has come.

::

    from headgate.artifacts import create_markdown_artifact

    create_markdown_artifact("# 3 customers left", key="churn-report")

Artifacts of one key are versions of one thing; one without a key is shown with its run only.

What these functions return, the id of the artifact, can be awaited as well, as async flows of the
incumbent do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate._artifact_kinds import (
    Artifact,
    ImageArtifact,
    LinkArtifact,
    MarkdownArtifact,
    ProgressArtifact,
    Table,
    TableArtifact,
    percent,
)
from headgate._explaining import explained
from headgate.blocks._awaitable import Text

if TYPE_CHECKING:
    import uuid

__all__ = [
    "Artifact",
    "ImageArtifact",
    "LinkArtifact",
    "MarkdownArtifact",
    "ProgressArtifact",
    "TableArtifact",
    "acreate_image_artifact",
    "acreate_link_artifact",
    "acreate_markdown_artifact",
    "acreate_progress_artifact",
    "acreate_table_artifact",
    "aupdate_progress_artifact",
    "create_image_artifact",
    "create_link_artifact",
    "create_markdown_artifact",
    "create_progress_artifact",
    "create_table_artifact",
    "update_progress_artifact",
]


@explained
def create_link_artifact(
    link: str, link_text: str | None = None, key: str | None = None, description: str | None = None
) -> Text:
    """Show a link.

    Args:
        link: Where it leads.
        link_text: What it says; None: where it leads.
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        description: For people, Markdown.

    Returns:
        The id of the artifact, UUID text.

    Raises:
        InvalidArgument: The key, or something else, is wrong; it is named.
    """
    artifact = LinkArtifact(link=link, link_text=link_text, key=key, description=description)
    return Text(artifact.create().id)


@explained
async def acreate_link_artifact(
    link: str, link_text: str | None = None, key: str | None = None, description: str | None = None
) -> str:
    """Show a link; see ``create_link_artifact``."""
    artifact = LinkArtifact(link=link, link_text=link_text, key=key, description=description)
    return (await artifact.acreate()).id


@explained
def create_markdown_artifact(
    markdown: str, key: str | None = None, description: str | None = None
) -> Text:
    """Show a text.

    Args:
        markdown: The text, Markdown.
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        description: For people, Markdown.

    Returns:
        The id of the artifact, UUID text.

    Raises:
        InvalidArgument: The key, or something else, is wrong; it is named.
    """
    artifact = MarkdownArtifact(markdown=markdown, key=key, description=description)
    return Text(artifact.create().id)


@explained
async def acreate_markdown_artifact(
    markdown: str, key: str | None = None, description: str | None = None
) -> str:
    """Show a text; see ``create_markdown_artifact``."""
    artifact = MarkdownArtifact(markdown=markdown, key=key, description=description)
    return (await artifact.acreate()).id


@explained
def create_table_artifact(
    table: Table, key: str | None = None, description: str | None = None
) -> Text:
    """Show a table.

    Args:
        table: Columns by name, rows as dictionaries, or rows as lists. NaN is shown as nothing,
            what JSON does not have as its text.
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        description: For people, Markdown.

    Returns:
        The id of the artifact, UUID text.

    Raises:
        InvalidArgument: The table, the key, or something else is wrong; it is named.
    """
    artifact = TableArtifact(table=table, key=key, description=description)
    return Text(artifact.create().id)


@explained
async def acreate_table_artifact(
    table: Table, key: str | None = None, description: str | None = None
) -> str:
    """Show a table; see ``create_table_artifact``."""
    artifact = TableArtifact(table=table, key=key, description=description)
    return (await artifact.acreate()).id


@explained
def create_progress_artifact(
    progress: float, key: str | None = None, description: str | None = None
) -> Text:
    """Show how far something has come.

    Args:
        progress: Percent, 0 to 100.
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        description: For people, Markdown.

    Returns:
        The id of the artifact, UUID text, for ``update_progress_artifact``.

    Raises:
        InvalidArgument: The progress, the key, or something else is wrong; it is named.
    """
    artifact = ProgressArtifact(progress=progress, key=key, description=description)
    return Text(artifact.create().id)


@explained
async def acreate_progress_artifact(
    progress: float, key: str | None = None, description: str | None = None
) -> str:
    """Show how far something has come; see ``create_progress_artifact``."""
    artifact = ProgressArtifact(progress=progress, key=key, description=description)
    return (await artifact.acreate()).id


@explained
def update_progress_artifact(
    artifact_id: str | uuid.UUID, progress: float, description: str | None = None
) -> Text:
    """Show that something has come further.

    Args:
        artifact_id: What ``create_progress_artifact`` returned.
        progress: Percent, 0 to 100.
        description: For people, Markdown; None leaves the one there is.

    Returns:
        The id of the artifact.

    Raises:
        NotFound: There is no such artifact.
        InvalidArgument: The progress is none.
    """
    from headgate.client import orchestration

    data = percent(progress)
    with orchestration.get_client(sync_client=True) as client:
        artifact = client.update_artifact(artifact_id, data=data, description=description)
    return Text(artifact.id)


@explained
async def aupdate_progress_artifact(
    artifact_id: str | uuid.UUID, progress: float, description: str | None = None
) -> str:
    """Show that something has come further; see ``update_progress_artifact``."""
    from headgate.client import orchestration

    data = percent(progress)
    async with orchestration.get_client() as client:
        return (await client.update_artifact(artifact_id, data=data, description=description)).id


@explained
def create_image_artifact(
    image_url: str, key: str | None = None, description: str | None = None
) -> Text:
    """Show a picture.

    Args:
        image_url: Where it is; everybody who looks must be able to reach it.
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        description: For people, Markdown.

    Returns:
        The id of the artifact, UUID text.

    Raises:
        InvalidArgument: The key, or something else, is wrong; it is named.
    """
    artifact = ImageArtifact(image_url=image_url, key=key, description=description)
    return Text(artifact.create().id)


@explained
async def acreate_image_artifact(
    image_url: str, key: str | None = None, description: str | None = None
) -> str:
    """Show a picture; see ``create_image_artifact``."""
    artifact = ImageArtifact(image_url=image_url, key=key, description=description)
    return (await artifact.acreate()).id
