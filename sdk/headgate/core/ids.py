"""Ids: UUIDs of version 7, as text. They sort by the time they were made."""

from __future__ import annotations

import re

import uuid_utils

_match = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}").fullmatch


def new_id() -> str:
    """Make a new id: 36 characters, lower case; greater than all made before it here.

    Safe after fork: uuid_utils seeds its randomness anew in the child.
    """
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Say whether the text is an id in the form in which ids are stored and sent."""
    return _match(text) is not None


__all__ = ["is_id", "new_id"]
