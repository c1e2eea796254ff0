"""The JSON Schema of parameters, for ``headgate.parameters``; loaded when needed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pydantic
from pydantic import json_schema

__all__ = ["ParameterSchema", "argument_descriptions", "schema"]

_REFERENCE = "#/definitions/{model}"


class ParameterSchema(dict[str, Any]):
    """The JSON Schema of the parameters of a function; its parts are attributes, too."""

    @property
    def title(self) -> str:
        """``Parameters``."""
        return self["title"]

    @property
    def type(self) -> str:
        """``object``."""
        return self["type"]

    @property
    def properties(self) -> dict[str, Any]:
        """The schema of each parameter by its name, with its ``position``."""
        return self["properties"]

    @property
    def required(self) -> list[str]:
        """The parameters without default."""
        return self.get("required", [])

    @property
    def definitions(self) -> dict[str, Any]:
        """The schemas of models, to which those of parameters refer."""
        return self.get("definitions", {})

    def model_dump(self, **_options: Any) -> dict[str, Any]:
        """Return it as a plain dictionary, with those parts that it has none of."""
        return {"required": [], "definitions": {}, **self}

    def model_dump_for_openapi(self) -> dict[str, Any]:
        """Return it as a plain dictionary."""
        return dict(self)


class _LenientSchema(json_schema.GenerateJsonSchema):
    """Says "anything" of a type without JSON Schema, instead of failing."""

    def handle_invalid_for_json_schema(
        self, schema: Any, error_info: str
    ) -> json_schema.JsonSchemaValue:
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Pass over defaults without JSON form: the schema is then without the default."""


def schema(
    made: type[pydantic.BaseModel], fn: Callable[..., Any], signature: inspect.Signature
) -> ParameterSchema:
    """Return the JSON Schema of the parameters of a function."""
    raw = made.model_json_schema(ref_template=_REFERENCE, schema_generator=_LenientSchema)
    definitions = raw.pop("$defs", None)
    descriptions = argument_descriptions(inspect.getdoc(fn) or "")
    properties: dict[str, dict[str, Any]] = {}
    for position, name in enumerate(signature.parameters):
        entry: dict[str, Any] = dict(raw.get("properties", {}).get(name, {}))
        entry["position"] = position
        if name in descriptions and "description" not in entry:
            entry["description"] = descriptions[name]
        properties[name] = entry
    document = ParameterSchema(title="Parameters", type="object", properties=properties)
    if raw.get("required"):
        document["required"] = raw["required"]
    if definitions:
        document["definitions"] = {
            name: _with_reference(definition) for name, definition in definitions.items()
        }
    return document


def _with_reference(definition: dict[str, Any]) -> dict[str, Any]:
    """Let a saved block be named, as ``{"$ref": ...}``, where its fields could be given."""
    if "block_type_slug" not in definition or "required" not in definition:
        return definition
    required = definition["required"]
    rest = {key: value for key, value in definition.items() if key != "required"}
    return {**rest, "if": {"required": ["$ref"]}, "then": {}, "else": {"required": required}}


_GOOGLE_SECTION = re.compile(r"^(Args|Arguments|Parameters|Params):\s*$")
_GOOGLE_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_SPHINX_ENTRY = re.compile(r"^:param\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)$")


def argument_descriptions(docstring: str) -> dict[str, str]:
    """Read what a docstring says of each argument, in the form of Google or of Sphinx."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    section_indent: int | None = None
    entry_indent: int | None = None
    for line in docstring.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if not text:
            continue
        sphinx = _SPHINX_ENTRY.match(text)
        if sphinx:
            current = found.setdefault(sphinx[1], [sphinx[2]])
            entry_indent = indent
            continue
        if _GOOGLE_SECTION.match(text):
            section_indent, entry_indent, current = indent, None, None
            continue
        if section_indent is not None and indent <= section_indent:
            section_indent, current = None, None
        if section_indent is not None and (entry_indent is None or indent <= entry_indent):
            google = _GOOGLE_ENTRY.match(text)
            entry_indent = indent
            current = found.setdefault(google[1], [google[2]]) if google else None
        elif current is not None and entry_indent is not None and indent > entry_indent:
            current.append(text)
    return {name: " ".join(filter(None, parts)) for name, parts in found.items()}
