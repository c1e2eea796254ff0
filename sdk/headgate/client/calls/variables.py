"""Variables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.field_mask_pb2 import FieldMask

from headgate.api.v1 import variable_pb2
from headgate.api.v1 import variable_service_pb2 as pb
from headgate.client.rpc import UNCHANGED, Rpc, Steps, Unchanged, pages, texts
from headgate.client.schemas import actions
from headgate.codec import variables as codec
from headgate.core import errors, ids, variables

if TYPE_CHECKING:
    from headgate.client.schemas.actions import VariableCreate, VariableUpdate

SERVICE = "VariableService"
CREATE = Rpc(SERVICE, "CreateVariable", pb.CreateVariableRequest, pb.CreateVariableResponse)
GET = Rpc(SERVICE, "GetVariable", pb.GetVariableRequest, pb.GetVariableResponse)
LIST = Rpc(SERVICE, "ListVariables", pb.ListVariablesRequest, pb.ListVariablesResponse)
UPDATE = Rpc(SERVICE, "UpdateVariable", pb.UpdateVariableRequest, pb.UpdateVariableResponse)
DELETE = Rpc(SERVICE, "DeleteVariable", pb.DeleteVariableRequest, pb.DeleteVariableResponse)


def create_variable(
    name: str | VariableCreate = "",
    value: Any = None,
    *,
    tags: Sequence[str] = (),
    variable: VariableCreate | None = None,
) -> Steps[variables.Variable]:
    """Make a variable.

    Args:
        name: Unique; lower-case letters, digits, ``-`` and ``_``. Or all of it, described as in
            ``headgate.client.schemas.actions``.
        value: What JSON has: texts, numbers, lists, dictionaries, None.
        tags: For grouping and finding.
        variable: The variable as described there, by keyword.

    Raises:
        AlreadyExists: There is one of this name.
        InvalidArgument: A field is wrong, or the value is nothing that JSON has.
    """
    if (described := actions.given(actions.VariableCreate, name, variable)) is not None:
        return (yield from create_variable(**described))
    name = cast("str", name)
    request = pb.CreateVariableRequest(
        variable=variable_pb2.Variable(name=name, value=_json(name, value), tags=texts(tags)),
        request_id=ids.new_id(),
    )
    response = yield from CREATE(request)
    return codec.variable_from_proto(response.variable)


def set_variable(
    name: str, value: Any, *, tags: Sequence[str] | None = None
) -> Steps[variables.Variable]:
    """Make a variable, or change the one of this name.

    Args:
        name: Unique; lower-case letters, digits, ``-`` and ``_``.
        value: What JSON has: texts, numbers, lists, dictionaries, None.
        tags: For grouping and finding; None leaves those there are.

    Raises:
        InvalidArgument: A field is wrong, or the value is nothing that JSON has.
    """
    request = _update_request(name, value, tags)
    request.allow_missing = True
    response = yield from UPDATE(request)
    return codec.variable_from_proto(response.variable)


def read_variable_by_name(name: str) -> Steps[variables.Variable | None]:
    """Return a variable by its name; None if there is none."""
    try:
        response = yield from GET(pb.GetVariableRequest(name=name))
    except errors.NotFound:
        return None
    return codec.variable_from_proto(response.variable)


def read_variables(
    *, name_contains: str = "", tags: Sequence[str] = (), limit: int | None = None
) -> Steps[list[variables.Variable]]:
    """Return variables by name.

    Args:
        name_contains: A part of the name.
        tags: All of these tags.
        limit: How many at most; None for all.
    """
    request = pb.ListVariablesRequest(
        filter=pb.VariableFilter(name_contains=name_contains, tags=texts(tags))
    )
    return (
        yield from pages(LIST, request, lambda r: r.variables, codec.variable_from_proto, limit)
    )


def update_variable(
    name: str | VariableUpdate = "",
    *,
    value: Any | Unchanged = UNCHANGED,
    tags: Sequence[str] | None = None,
    variable: VariableUpdate | None = None,
) -> Steps[variables.Variable]:
    """Change a variable; what is not given stays.

    Args:
        name: The variable. Or all of the change, described as in
            ``headgate.client.schemas.actions``.
        value: What JSON has: texts, numbers, lists, dictionaries, None.
        tags: For grouping and finding.
        variable: The change as described there, by keyword.

    Raises:
        NotFound: There is no such variable.
        InvalidArgument: A field is wrong, or the value is nothing that JSON has.
    """
    if (described := actions.given(actions.VariableUpdate, name, variable)) is not None:
        return (yield from update_variable(**described))
    response = yield from UPDATE(_update_request(cast("str", name), value, tags))
    return codec.variable_from_proto(response.variable)


def delete_variable_by_name(name: str) -> Steps[None]:
    """Delete a variable.

    Raises:
        NotFound: There is no such variable.
    """
    yield from DELETE(pb.DeleteVariableRequest(name=name))


def _update_request(
    name: str, value: Any | Unchanged, tags: Sequence[str] | None
) -> pb.UpdateVariableRequest:
    request = pb.UpdateVariableRequest(
        variable=variable_pb2.Variable(name=name), update_mask=FieldMask()
    )
    if not isinstance(value, Unchanged):
        request.variable.value = _json(name, value)
        request.update_mask.paths.append("value")
    if tags is not None:
        request.variable.tags.extend(texts(tags))
        request.update_mask.paths.append("tags")
    return request


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.InvalidArgument.of(
            "value",
            f"The value of variable {name!r} is nothing that JSON has ({error}); set texts, "
            "numbers, lists, dictionaries or None.",
        ) from error
