"""What storage keeps of the inputs of flow runs."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from headgate.core.run_inputs import RunInput
from headgate_server.storage.records import Page, PageRequest


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunInputFilter:
    """Which inputs of one flow run; empty fields do not filter."""

    flow_run_id: str
    key_prefix: str = ""
    exclude_keys: tuple[str, ...] = ()
    after_place: int = 0


#: Of so many deleted inputs of one flow run storage remembers which requests had made them.
DELETED_MAX = 200


class RunInputs(Protocol):
    """Inputs of flow runs, by run and key. They are deleted with their run."""

    def get(self, flow_run_id: str, key: str) -> RunInput | None:
        """Return the input, or None."""
        ...

    def insert(self, run_input: RunInput) -> RunInput:
        """Store a new one; return it with its place.

        Places grow in the order of commits and are never given again. The commit has the topic
        of the run, see :func:`topic`. Raises AlreadyExists if the run has an input of this key.
        """
        ...

    def delete(self, flow_run_id: str, key: str) -> bool:
        """Delete the input; say whether there was one.

        That there was one is remembered, for the newest DELETED_MAX of a run and until the run has
        another one of this key.
        """
        ...

    def get_deleted(self, flow_run_id: str, key: str) -> RunInput | None:
        """Return the deleted input of a key, without its value, if it is remembered."""
        ...

    def list(self, where: RunInputFilter, page: PageRequest) -> Page[RunInput]:
        """List inputs by place."""
        ...


def topic(flow_run_id: str) -> str:
    """Return the topic of commits that stored inputs of a flow run."""
    return f"run-inputs/{flow_run_id}"


__all__ = ["DELETED_MAX", "RunInputFilter", "RunInputs", "topic"]
