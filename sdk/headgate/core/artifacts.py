"""Artifacts, as the whole system speaks of them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headgate.core import familiar
from headgate.core.record import record

#: What a key is made of; one rule for the server, which refuses, and the SDK, which says so early.
is_key = re.compile(r"[a-z0-9-]{1,255}").fullmatch
KEY_RULE = 'A key has 1 to 255 lower-case letters, digits and "-".'
DATA_CHARACTERS_MAX = 1_048_576


@record
class Artifact(familiar.Updated):
    """What a run shows to people; the fields are those of ``artifact.proto``.

    Attributes:
        key: Artifacts of one key are versions of one thing; None: shown with its run only.
        data_json: JSON text.
        latest: Whether it is the newest of its key.
    """

    id: str
    key: str | None = None
    type: str = ""
    description: str = ""
    data_json: str = "null"
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    flow_run_id: str | None = None
    task_run_id: str | None = None
    latest: bool = False
    create_time: datetime
    update_time: datetime

    @property
    def data(self) -> Any:
        """What it shows, as Python has it; read anew each time, so that nobody changes it."""
        return json.loads(self.data_json)
