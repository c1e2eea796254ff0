"""Parameters of runs, and the JSON Schema that a deployment may hold them to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from headgate.core import errors
from headgate_server.domain import checks, parameter_templates

#: The only key of the object that stands for an encoded parameter; see ``headgate.payloads``.
_ENCODED_KEY = "__headgate_encoded__"


def check_schema(schema: str, field: str) -> list[errors.Violation]:
    """Say what is wrong with a schema; an empty text means that anything goes."""
    if not schema:
        return []
    # Imported where it is needed: it takes as long to load as all else that a server needs
    # to answer its first call.
    import jsonschema

    try:
        parsed = checks.parse_json(schema)
        jsonschema.Draft202012Validator.check_schema(parsed)
    except ValueError as error:
        return [errors.Violation(field, f"The schema is not a JSON text: {error}")]
    except jsonschema.SchemaError as error:
        return [errors.Violation(field, f"The schema is not a JSON Schema: {error.message}")]
    if not isinstance(parsed, dict):
        return [errors.Violation(field, "The schema of parameters is a JSON object.")]
    return []


def check(
    parameters: Mapping[str, str], schema: str, field: str, *, complete: bool = True
) -> list[errors.Violation]:
    """Say which parameters do not fit the schema.

    Args:
        parameters: Name to JSON text; all of them parse.
        schema: The schema, known to be one; empty: anything goes.
        field: The path of the parameters in the request.
        complete: Whether required parameters must be there.
    """
    if not schema:
        return []
    import jsonschema

    parsed = checks.parse_json(schema)
    values = {name: checks.parse_json(text) for name, text in parameters.items()}
    violations = [
        errors.Violation(f"{field}[{name!r}]", f"There is no parameter {name!r}; check its name.")
        for name in _unknown(values, parsed)
    ]
    validator = jsonschema.Draft202012Validator(parsed)
    try:
        for error in _errors(validator, values):
            name = str(error.path[0]) if error.path else ""
            if name and (_is_encoded(values.get(name)) or _is_open(parameters.get(name, ""))):
                continue
            if error.validator == "required" and not error.path:
                if complete:
                    violations.append(errors.Violation(field, f"{error.message}."))
                continue
            path = "".join(f"[{part!r}]" for part in error.path)
            violations.append(errors.Violation(f"{field}{path}", f"{error.message}."))
    except Exception as error:
        return [errors.Violation(field, f"The schema cannot be applied: {error}")]
    return violations


def _errors(validator: Any, values: Mapping[str, Any]) -> Iterator[Any]:
    yield from sorted(validator.iter_errors(values), key=lambda error: list(map(str, error.path)))


def _is_encoded(value: Any) -> bool:
    """Say whether a payload codec went over a parameter, so that nobody here can read it."""
    return isinstance(value, dict) and list(cast("dict[str, Any]", value)) == [_ENCODED_KEY]


def _is_open(text: str) -> bool:
    """Say whether nobody knows yet what a parameter will be: it has templates in it."""
    return parameter_templates.has_templates(text)


def check_frozen(
    given: Mapping[str, str], defaults: Mapping[str, str], schema: str, field: str
) -> list[errors.Violation]:
    """Say which parameters are given though the schema says that they stay as they are.

    Args:
        given: Name to JSON text; all of them parse.
        defaults: Those of the deployment.
        schema: The schema, known to be one; empty: nothing is frozen.
        field: The path of the parameters in the request.
    """
    if '"readOnly"' not in schema or not given:
        return []
    parsed: Any = checks.parse_json(schema)
    properties: Any = parsed.get("properties")
    if not isinstance(properties, dict):
        return []
    return [
        errors.Violation(
            f"{field}[{name!r}]", f"Parameter {name!r} is frozen by its deployment; leave it away."
        )
        for name, text in given.items()
        if _is_read_only(cast("dict[str, Any]", properties).get(name))
        and (name not in defaults or checks.parse_json(text) != checks.parse_json(defaults[name]))
    ]


def _is_read_only(described: Any) -> bool:
    return isinstance(described, dict) and cast("dict[str, Any]", described).get("readOnly") is True


def _unknown(values: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return the names that a schema which lists its properties does not list."""
    known = schema.get("properties")
    if not isinstance(known, dict) or "additionalProperties" in schema:
        return []
    return [name for name in values if name not in known]
