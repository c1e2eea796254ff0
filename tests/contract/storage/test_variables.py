"""Variables, in every storage alike."""

import dataclasses

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate.core.variables import Variable
from headgate_server.storage.interface import Storage
from headgate_server.storage.kinds.variables import VariableFilter
from headgate_server.storage.records import PageRequest
from tests.contract.storage.builders import ALL, START, at


def make_variable(name: str, value: str = "1", tags: tuple[str, ...] = ()) -> Variable:
    return Variable(
        id=ids.new_id(),
        name=name,
        value_json=value,
        tags=tags,
        create_time=START,
        update_time=START,
    )


async def test_a_variable_is_found_by_its_name(storage: Storage):
    variable = make_variable("limit", '{"a": [1, null]}', ("x", "y"))
    await storage.write(lambda t: t.variables.insert(variable))
    assert await storage.read(lambda t: t.variables.get("limit")) == variable
    assert await storage.read(lambda t: t.variables.get("other")) is None
    with pytest.raises(errors.AlreadyExists, match="limit"):
        await storage.write(lambda t: t.variables.insert(make_variable("limit")))


async def test_value_and_tags_are_changed_and_nothing_else(storage: Storage, clock: ManualClock):
    variable = make_variable("limit", tags=("x",))
    await storage.write(lambda t: t.variables.insert(variable))
    clock.advance(3)
    changed = dataclasses.replace(variable, value_json="2", tags=())
    stored = await storage.write(
        lambda t: t.variables.update(dataclasses.replace(changed, id=ids.new_id()))
    )
    assert stored == dataclasses.replace(changed, update_time=at(3))
    assert await storage.read(lambda t: t.variables.get("limit")) == stored


async def test_a_variable_is_deleted_once(storage: Storage):
    await storage.write(lambda t: t.variables.insert(make_variable("limit")))
    assert await storage.write(lambda t: t.variables.delete("limit")) is True
    assert await storage.write(lambda t: t.variables.delete("limit")) is False
    assert await storage.read(lambda t: t.variables.get("limit")) is None


async def test_variables_are_listed_by_name_and_filtered(storage: Storage):
    for name, tags in (("b_1", ("x", "y")), ("a-1", ("y",)), ("c", ())):
        variable = make_variable(name, tags=tags)
        await storage.write(lambda t, v=variable: t.variables.insert(v))

    async def names(page: PageRequest = ALL, **where: object) -> list[str]:
        wanted = VariableFilter(**where)  # pyright: ignore[reportArgumentType]  # given by name
        found = await storage.read(lambda t: t.variables.list(wanted, page))
        return [variable.name for variable in found.items]

    assert await names() == ["a-1", "b_1", "c"]
    assert await names(name_contains="_") == ["b_1"]
    assert await names(tags=("y",)) == ["a-1", "b_1"]
    assert await names(tags=("y", "x")) == ["b_1"]
    assert await names(PageRequest(size=1, after=("a-1",))) == ["b_1"]
