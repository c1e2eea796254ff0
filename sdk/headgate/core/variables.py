"""Variables, as the whole system speaks of them."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from headgate.core import familiar
from headgate.core.record import record

#: What a name is made of; one rule for the server, which refuses, and the SDK, which says so early.
is_name = re.compile(r"[a-z0-9_-]{1,255}").fullmatch
NAME_RULE = 'A name has 1 to 255 lower-case letters, digits, "-" and "_".'
VALUE_CHARACTERS_MAX = 5_000


@record
class Variable(familiar.Updated):
    """A named value; the fields are those of ``variable.proto``.

    Attributes:
        value_json: JSON text.
    """

    id: str
    name: str
    value_json: str
    tags: tuple[str, ...] = ()
    create_time: datetime
    update_time: datetime

    @property
    def value(self) -> Any:
        """The value, as Python has it; read anew each time, so that nobody changes it."""
        return json.loads(self.value_json)
