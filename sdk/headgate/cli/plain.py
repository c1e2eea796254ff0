"""Records as what JSON has: dictionaries, lists, texts and numbers."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from headgate import parameters
from headgate.core import deployments
from headgate.core.states import Payload
from headgate.states import State

#: Fields that map names to JSON texts, if they were not read already, and fields that are a JSON
#: text: their values are shown, not the texts.
JSON_TEXTS = frozenset({"inputs", "job_variables", "parameters"})
JSON_TEXT = frozenset({"base_job_template", "parameter_schema", "payload"})
RULES = {
    deployments.CronRule: "cron",
    deployments.IntervalRule: "interval",
    deployments.RecurrenceRule: "rrule",
}


def of(value: Any) -> Any:
    """Turn records, times, enums and collections of them into what ``json.dumps`` takes."""
    match value:
        case Payload():
            return _payload(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case enum.Enum():
            return value.value
        case Path():
            return str(value)
        case Mapping():
            mapping = cast("Mapping[str, Any]", value)
            return {str(key): of(item) for key, item in mapping.items()}
        case list() | tuple() | set() | frozenset():
            return [of(item) for item in cast("list[Any]", value)]
        case State():
            # Of a run that was read: it says what is stored, and has no result of its own.
            return _record(value.record())
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _record(value)
        case _:
            return value


def lines(value: Any) -> list[str]:
    """Show a value of ``of`` to people: a mapping or a list line by line."""
    match value:
        case dict():
            items = cast("dict[str, Any]", value).items()
            return [f"{key}: {_inline(item)}" for key, item in items]
        case list():
            return [_inline(item) for item in cast("list[Any]", value)]
        case _:
            return [_inline(value)]


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _record(record: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in JSON_TEXTS:
            shown[field.name] = _values(value)
        elif field.name in JSON_TEXT:
            shown[field.name] = _value(value) if value else None
        elif type(value) in RULES:
            shown[RULES[type(value)]] = of(value)
        else:
            shown[field.name] = of(value)
    return shown


def _values(mapping: Mapping[str, Any]) -> Any:
    if isinstance(mapping, parameters.Values):
        return of(mapping)
    return {name: _value(text) for name, text in mapping.items()}


def _value(text: str) -> Any:
    """Read a JSON text; one that is none is shown as it is, for looking must always work."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _payload(payload: Payload) -> dict[str, Any]:
    """Show what there is of a user's data. The bytes themselves are for their own language."""
    return {
        "serializer": payload.serializer,
        "size_bytes": len(payload.inline) if payload.inline is not None else None,
        "storage_key": payload.storage_key,
    }
