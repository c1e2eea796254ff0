"""The kinds of artifacts, and how each is stored."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from headgate._explaining import explained_class
from headgate.core import errors
from headgate.core.artifacts import KEY_RULE, is_key

if TYPE_CHECKING:
    from headgate.core.artifacts import Artifact as Record

__all__ = [
    "Artifact",
    "ImageArtifact",
    "LinkArtifact",
    "MarkdownArtifact",
    "ProgressArtifact",
    "Table",
    "TableArtifact",
    "percent",
]

#: Columns by name; or rows as dictionaries; or rows as lists.
Table: TypeAlias = (
    Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]]
)


class _Fields(TypedDict):
    """What an artifact is created with."""

    type: str
    key: str | None
    description: str | None
    data: Any
    metadata: Mapping[str, str] | None
    flow_run_id: str | None
    task_run_id: str | None


@explained_class
@dataclasses.dataclass(kw_only=True)
class Artifact:
    """Something to show.

    Attributes:
        type: How it is shown: ``markdown``, ``table``, ``progress``, ``image``, or any other.
        key: Artifacts of one key are versions of one thing; 1 to 255 lower-case letters, digits
            and ``-``. None: it is shown with its run only.
        description: For people, Markdown.
        data: What JSON has.
        metadata: More about it, texts by name.
    """

    type: str = ""
    key: str | None = None
    description: str | None = None
    data: Any = None
    metadata: Mapping[str, str] | None = None

    def format(self) -> Any:
        """Return what is stored: what JSON has."""
        return self.data

    async def aformat(self) -> Any:
        """Return what is stored; see ``format``."""
        return self.format()

    def create(self) -> Record:
        """Store the artifact, as one of the run that is executing here, if there is one.

        Returns:
            The record of it, with its id.

        Raises:
            InvalidArgument: The key or something else of it is wrong; it is named.
        """
        from headgate.client import orchestration

        fields = self._fields()
        with orchestration.get_client(sync_client=True) as client:
            return client.create_artifact(**fields)

    async def acreate(self) -> Record:
        """Store the artifact; see ``create``."""
        from headgate.client import orchestration

        fields = self._fields()
        async with orchestration.get_client() as client:
            return await client.create_artifact(**fields)

    @classmethod
    def get(cls, key: str | None = None) -> Record | None:
        """Return the newest artifact of a key, or of all; None if there is none.

        Args:
            key: The key. None: of all.
        """
        from headgate.client import orchestration

        with orchestration.get_client(sync_client=True) as client:
            if key is not None:
                return client.read_latest_artifact(key)
            return next(iter(client.read_artifacts(limit=1)), None)

    @classmethod
    async def aget(cls, key: str | None = None) -> Record | None:
        """Return the newest artifact of a key, or of all; see ``get``."""
        from headgate.client import orchestration

        async with orchestration.get_client() as client:
            if key is not None:
                return await client.read_latest_artifact(key)
            return next(iter(await client.read_artifacts(limit=1)), None)

    @classmethod
    def get_or_create(
        cls,
        key: str | None = None,
        description: str | None = None,
        data: Any = None,
        **fields: Any,
    ) -> tuple[Record, bool]:
        """Return the newest artifact of a key; create one if there is none.

        Args:
            key: The key.
            description: For a new one: for people, Markdown.
            data: For a new one: what it shows.
            **fields: For a new one: what else the class takes, e.g. ``markdown``.

        Returns:
            The record, and whether it was created.
        """
        found = cls.get(key)
        if found is not None:
            return found, False
        return cls(key=key, description=description, data=data, **fields).create(), True

    @classmethod
    async def aget_or_create(
        cls,
        key: str | None = None,
        description: str | None = None,
        data: Any = None,
        **fields: Any,
    ) -> tuple[Record, bool]:
        """Return the newest artifact of a key; create one if there is none; see above."""
        found = await cls.aget(key)
        if found is not None:
            return found, False
        return await cls(key=key, description=description, data=data, **fields).acreate(), True

    def _fields(self) -> _Fields:
        key: object = self.key
        if key is not None and not (isinstance(key, str) and is_key(key)):
            raise errors.InvalidArgument.of("key", f"{self.key!r} is no key. {KEY_RULE}")
        flow_run_id, task_run_id = _executing()
        return {
            "type": self.type,
            "key": self.key,
            "description": self.description,
            "data": self.format(),
            "metadata": self.metadata,
            "flow_run_id": flow_run_id,
            "task_run_id": task_run_id,
        }


@explained_class
@dataclasses.dataclass(kw_only=True)
class LinkArtifact(Artifact):
    """A link.

    Attributes:
        link: Where it leads.
        link_text: What it says; None: where it leads.
    """

    type: str = "markdown"
    link: str
    link_text: str | None = None

    def format(self) -> str:
        """Return the link as Markdown."""
        _text(self.link, "link")
        return f"[{self.link_text or self.link}]({self.link})"


@explained_class
@dataclasses.dataclass(kw_only=True)
class MarkdownArtifact(Artifact):
    """A text.

    Attributes:
        markdown: The text, Markdown.
    """

    type: str = "markdown"
    markdown: str

    def format(self) -> str:
        """Return the text."""
        return _text(self.markdown, "markdown")


@explained_class
@dataclasses.dataclass(kw_only=True)
class TableArtifact(Artifact):
    """A table.

    Attributes:
        table: Columns by name, rows as dictionaries, or rows as lists.
    """

    type: str = "table"
    table: Table

    def format(self) -> str:
        """Return the table as JSON text: NaN as null, what JSON does not have as its text."""
        if isinstance(self.table, str | bytes) or not isinstance(self.table, Mapping | Sequence):
            raise errors.InvalidArgument.of(
                "table",
                f"A table is a dictionary of columns, or a list of rows, not "
                f"{type(self.table).__name__}; of a data frame, give its to_dict().",
            )
        _warn_of_ragged(self.table)
        return json.dumps(_finite(self.table), default=str, allow_nan=False)


@explained_class
@dataclasses.dataclass(kw_only=True)
class ProgressArtifact(Artifact):
    """How far something has come.

    Attributes:
        progress: Percent, 0 to 100.
    """

    type: str = "progress"
    progress: float

    def format(self) -> float:
        """Return the percent."""
        return percent(self.progress)


@explained_class
@dataclasses.dataclass(kw_only=True)
class ImageArtifact(Artifact):
    """A picture that everybody who looks can reach.

    Attributes:
        image_url: Where it is.
    """

    type: str = "image"
    image_url: str

    def format(self) -> str:
        """Return where the picture is."""
        return _text(self.image_url, "image_url")


def _text(value: Any, option: str) -> str:
    if not isinstance(value, str):
        raise errors.InvalidArgument.of(option, f"is {value!r}; use a text.")
    return value


def _warn_of_ragged(table: Table) -> None:
    """Tell of columns of different lengths: a table is not worth the run that shows it."""
    if not isinstance(table, Mapping):
        return
    sized = {
        name: len(column) for name, column in table.items() if isinstance(column, list | tuple)
    }
    if len(set(sized.values())) > 1:
        shown = ", ".join(f"{name!r} has {cells}" for name, cells in sized.items())
        _logger().warning("The columns of the table differ in length: %s cells.", shown)


def _logger() -> Any:
    from headgate.logging import loggers

    try:
        return loggers.get_run_logger()
    except errors.MissingContextError:
        return loggers.get_logger("artifacts")


def _executing() -> tuple[str | None, str | None]:
    """Return the ids of the flow run and the task run that are executing here."""
    from headgate import context

    task = context.TaskRunContext.get()
    if task is not None:
        return task.flow_run.id if task.flow_run else None, task.id
    flow = context.current_flow()
    return (flow.flow_run.id, None) if flow is not None else (None, None)


def percent(progress: float) -> float:
    """Return a progress that is one.

    Raises:
        InvalidArgument: It is not 0 to 100.
    """
    if isinstance(progress, int | float) and 0 <= progress <= 100:
        return float(progress)
    raise errors.InvalidArgument.of("progress", f"{progress!r} is no percent; give 0 to 100.")


def _finite(value: Any) -> Any:
    """Return the value with None for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): _finite(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("list[Any]", value)]
    return value
