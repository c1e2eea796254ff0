"""Inputs of flow runs, as the whole system speaks of them."""

from __future__ import annotations

from datetime import datetime

from headgate.core.record import record


@record
class RunInput:
    """What was handed to a flow run; the fields are those of ``run_input.proto``.

    Attributes:
        key: Unique in the flow run.
        value: JSON text.
        sender: Who sent it, e.g. ``headgate.flow-run/<id>``; None: nobody who can be answered.
        place: Its place among all inputs of the server; grows with every one.
    """

    id: str
    flow_run_id: str
    key: str
    value: str
    sender: str | None = None
    place: int = 0
    create_time: datetime
