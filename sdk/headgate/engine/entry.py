"""Where the flow of a run by hand is, so that the run can go on without being told again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from headgate import entrypoints
from headgate.core import errors, runs

if TYPE_CHECKING:
    from headgate.flows import Flow

__all__ = ["label", "place_of"]

_LABEL = "headgate.entrypoint"


def label(flow: Flow[..., Any]) -> dict[str, str]:
    """Return the label that says where a flow is; nothing where no other process finds it."""
    try:
        place = entrypoints.of_function(flow.fn)
    except errors.MissingFlowError:
        return {}
    file, _, name = place.rpartition(":")
    return {_LABEL: f"{os.path.abspath(file)}:{name}"} if file else {_LABEL: place}


def place_of(run: runs.FlowRun) -> str | None:
    """Return the entrypoint that a run was labelled with; None where it was not."""
    return run.labels.get(_LABEL)
