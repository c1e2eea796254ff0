"""Collects what is wrong with a request, so that the caller is told all of it at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headgate.core import errors, ids, retries, runs

NAME_CHARACTERS_MAX = 255
TEXT_CHARACTERS_MAX = 65_536
JSON_CHARACTERS_MAX = 512 * 1024
TAGS_MAX = 200
DELAY_SECONDS_MAX = 10 * 366 * 86_400.0
JITTER_FACTOR_MAX = 100.0
_BANNED = "/%&><"


class Checks:
    """Violations found so far. Every method names the field by its path in the request."""

    def __init__(self) -> None:
        """Start with nothing wrong."""
        self._violations: list[errors.Violation] = []

    def add(self, field: str, description: str) -> None:
        """Note that a field is wrong."""
        self._violations.append(errors.Violation(field, description))

    def extend(self, prefix: str, violations: Iterable[errors.Violation]) -> None:
        """Note violations whose fields are relative to a message."""
        for violation in violations:
            path = ".".join(part for part in (prefix, violation.field) if part)
            self.add(path, violation.description)

    def name(self, field: str, value: str) -> None:
        """A name must not be empty, nor long, nor have characters that paths need."""
        if not value.strip():
            self.add(field, "A name is required.")
        elif len(value) > NAME_CHARACTERS_MAX:
            self.add(field, f"A name has at most {NAME_CHARACTERS_MAX} characters.")
        elif banned := sorted(set(value) & set(_BANNED)):
            self.add(
                field, f"A name must not contain {' '.join(banned)}; use letters, - and _ instead."
            )

    def text(self, field: str, value: str, maximum: int = TEXT_CHARACTERS_MAX) -> None:
        """A text must not be too long."""
        if len(value) > maximum:
            self.add(field, f"The text has {len(value)} characters; at most {maximum} fit.")

    def id(self, field: str, value: str) -> None:
        """An id must be UUID text."""
        if not ids.is_id(value):
            self.add(field, f"{_quote(value)} is not an id; ids are UUID text in lower case.")

    def ids(self, field: str, values: Iterable[str]) -> None:
        """All must be UUID text."""
        for index, value in enumerate(values):
            self.id(f"{field}[{index}]", value)

    def optional_id(self, field: str, value: str | None) -> None:
        """An id must be UUID text where it is given."""
        if value:
            self.id(field, value)

    def positive(self, field: str, value: int | None) -> None:
        """A limit must be 1 or more where it is given."""
        if value is not None and value < 1:
            self.add(field, f"{value} is too small; 1 is the least. Leave it out for no limit.")

    def tags(self, field: str, tags: Iterable[str]) -> None:
        """Tags must not be empty, long or many."""
        tags = list(tags)
        if len(tags) > TAGS_MAX:
            self.add(field, f"{len(tags)} tags are too many; at most {TAGS_MAX} fit.")
        for index, tag in enumerate(tags):
            if not tag or len(tag) > NAME_CHARACTERS_MAX:
                self.add(f"{field}[{index}]", f"A tag has 1 to {NAME_CHARACTERS_MAX} characters.")

    def labels(self, field: str, labels: Mapping[str, str]) -> None:
        """Labels must have keys, no long values, and all of them together not be too long."""
        size = sum(len(key) + len(value) for key, value in labels.items())
        if size > JSON_CHARACTERS_MAX:
            self.add(field, f"{size} characters are too many; at most {JSON_CHARACTERS_MAX} fit.")
        for key, value in labels.items():
            path = f"{field}[{key!r}]"
            if not key or len(key) > NAME_CHARACTERS_MAX:
                self.add(path, f"The key of a label has 1 to {NAME_CHARACTERS_MAX} characters.")
            self.text(path, value)

    def retry_policy(self, field: str, policy: runs.RetryPolicy) -> None:
        """A retry policy must not have negative or endless numbers."""
        if not policy.max_retries >= 0:
            self.add(f"{field}.max_retries", "0 is the least.")
        if len(policy.delays_seconds) > retries.DELAYS_MAX:
            self.add(f"{field}.delays", f"At most {retries.DELAYS_MAX} delays fit.")
        for index, delay in enumerate(policy.delays_seconds):
            if not 0 <= delay <= DELAY_SECONDS_MAX:
                self.add(f"{field}.delays[{index}]", "A delay is not negative, and no decades.")
        if not 0 <= policy.jitter_factor <= JITTER_FACTOR_MAX:
            self.add(f"{field}.jitter_factor", f"A factor is 0 to {JITTER_FACTOR_MAX:g}.")

    def json_text(self, field: str, value: str, maximum: int = JSON_CHARACTERS_MAX) -> None:
        """A value must be a JSON text that is not too long."""
        self.text(field, value, maximum)
        if len(value) <= maximum and not is_json(value):
            self.add(field, f"{_quote(value)} is not a JSON text; a string needs its quotes.")

    def json_map(self, field: str, values: Mapping[str, str]) -> None:
        """Every value must be a JSON text, all of them together not too long; nor their keys."""
        size = sum(len(value) for value in values.values())
        if size > JSON_CHARACTERS_MAX:
            self.add(field, f"{size} characters are too many; at most {JSON_CHARACTERS_MAX} fit.")
        size = sum(len(key) for key in values)
        if size > TEXT_CHARACTERS_MAX:
            self.add(field, f"The keys have {size} characters; at most {TEXT_CHARACTERS_MAX} fit.")
        for key, value in values.items():
            if not is_json(value):
                self.add(
                    f"{field}[{key!r}]",
                    f"{_quote(value)} is not a JSON text; a string needs its quotes.",
                )

    @property
    def violations(self) -> Sequence[errors.Violation]:
        """What is wrong."""
        return tuple(self._violations)

    @property
    def found(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._violations)

    def raise_any(self) -> None:
        """Raise what was found.

        Raises:
            InvalidArgument: Something was.
        """
        if self._violations:
            raise errors.InvalidArgument(self._violations)


def is_json(text: str) -> bool:
    """Say whether a text is one JSON value, by the standard (no NaN)."""
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def parse_json(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: It is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("The text is nested too deeply.") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
