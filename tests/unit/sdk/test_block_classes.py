"""What a class of blocks says of itself, without any server."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from abc import ABC, abstractmethod
from typing import Any

import pydantic
import pytest
from pydantic import SecretBytes, SecretStr

from headgate.blocks import _schemas, _values
from headgate.blocks.abstract import DatabaseBlock, NotificationBlock
from headgate.blocks.core import Block
from headgate.blocks.system import Secret
from headgate.core import errors
from headgate.types import SecretDict


class Credentials(Block):
    """Who may come in.

    And how.

    Attributes:
        user: A name.

    Example:
        ```python
        Credentials.load("me")
        ```
    """

    _block_type_name = "My Credentials"
    _block_schema_capabilities = ["log-in"]  # noqa: RUF012 - a ClassVar of Block

    user: str
    password: SecretStr


class Options(pydantic.BaseModel):
    port: int = 1
    token: SecretStr | None = None


class HTTPSink(Credentials):
    credentials: Credentials | None = None
    others: list[Credentials] = pydantic.Field(default_factory=list)
    options: Options = Options()
    headers: SecretDict = SecretDict({})
    key: SecretBytes | None = None
    any_secret: pydantic.Secret[int] | None = None
    schema_: str = pydantic.Field("public", alias="schema")


def test_names_slugs_and_texts_come_from_the_class():
    assert Credentials.get_block_type_name() == "My Credentials"
    assert Credentials.get_block_type_slug() == "my-credentials"
    assert Credentials.get_description() == "Who may come in.\n\nAnd how."
    assert Credentials.get_code_example() == '```python\nCredentials.load("me")\n```'
    assert Credentials.get_block_schema_version() == "non-versioned"


def test_a_class_that_says_nothing_is_called_by_its_name_and_loaded_by_way_of_example():
    class QuietOne(Block):
        x: int = 0

    assert QuietOne.get_block_type_slug() == "quietone"
    assert QuietOne.get_description() is None
    assert "from test_block_classes import QuietOne" in QuietOne.get_code_example().replace(
        __name__, "test_block_classes"
    )
    assert 'quiet_one = QuietOne.load("BLOCK_NAME")' in QuietOne.get_code_example()


def test_a_block_of_headgates_own_has_its_version():
    assert Secret.get_block_schema_version()[0].isdigit()
    assert Secret.get_description() == (
        "A secret value, encrypted at rest and masked wherever it is shown."
    )


def test_what_a_block_can_do_is_inherited():
    class More(Credentials):
        _block_schema_capabilities = ["dance"]  # noqa: RUF012 - a ClassVar of Block

    assert More.get_block_capabilities() == {"dance", "log-in"}


def test_the_schema_names_secrets_and_nested_blocks_at_any_depth():
    schema = HTTPSink.model_json_schema()
    assert schema["block_type_slug"] == "my-credentials"
    assert schema["secret_fields"] == [
        "password",
        "credentials.password",
        "others.password",
        "options.token",
        "headers.*",
        "key",
        "any_secret",
    ]
    assert schema["block_schema_references"] == {
        "credentials": {"block_type_slug": "my-credentials"},
        "others": {"block_type_slug": "my-credentials"},
    }
    assert "$defs" not in schema
    assert schema["properties"]["options"]["$ref"] == "#/definitions/Options"
    assert _schemas.nested_block_classes(HTTPSink) == [Credentials]


def test_the_checksum_changes_with_the_fields_and_not_with_their_order_or_secrets():
    one = {"properties": {"a": {}, "b": {}}, "secret_fields": ["a"]}
    same = {"properties": {"b": {}, "a": {}}, "secret_fields": []}
    assert _schemas.checksum(one) == _schemas.checksum(same)
    assert _schemas.checksum(one) != _schemas.checksum({"properties": {"a": {}}})
    assert _schemas.checksum(one).startswith("sha256:")


def test_secrets_are_masked_wherever_a_block_is_shown():
    block = HTTPSink(
        user="me",
        password=SecretStr("s3cr3t"),
        headers=SecretDict({"a": "s3cr3t"}),
        options=Options(token=SecretStr("s3cr3t")),
        schema="s",
    )
    for shown in (str(block), repr(block), block.model_dump_json()):
        assert "s3cr3t" not in shown


def test_data_are_json_by_alias_with_secrets_as_they_are():
    block = HTTPSink(
        user="me",
        password=SecretStr("p"),
        headers=SecretDict({"a": 1}),
        options=Options(token=SecretStr("t")),
        key=SecretBytes(b"k"),
        any_secret=pydantic.Secret[int](7),
        schema="s",
        credentials=Credentials(user="you", password=SecretStr("q")),
    )
    data = {name: json.loads(text) for name, text in _values.data_of(block).items()}
    assert data == {
        "user": "me",
        "password": "p",
        "credentials": {"block_type_slug": "my-credentials", "user": "you", "password": "q"},
        "others": [],
        "options": {"port": 1, "token": "t"},
        "headers": {"a": 1},
        "key": "k",
        "any_secret": 7,
        "schema": "s",
    }
    assert HTTPSink.model_validate(data).model_dump() == block.model_dump()


def test_a_value_without_json_form_is_named_before_anything_is_saved():
    class Odd(Block):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        thing: Any = None

    with pytest.raises(errors.BlockError, match="Odd cannot be saved, for a value has no JSON"):
        _values.data_of(Odd(thing=object()))


def test_block_initialization_is_called_however_a_block_is_made():
    class Counting(Block):
        x: int
        _ready: bool = pydantic.PrivateAttr(False)

        def block_initialization(self) -> None:
            self._ready = True

    assert Counting(x=1)._ready
    assert Counting.model_validate({"x": 1})._ready


def test_data_say_which_class_they_are_for_where_an_interface_is_wanted():
    class Speaker(Block, ABC):
        @abstractmethod
        def speak(self) -> str: ...

    class Dog(Speaker):
        name: str

        def speak(self) -> str:
            return f"{self.name}: wuff"

    class Stage(Block):
        speaker: Speaker

    stage = Stage.model_validate({"speaker": {"block_type_slug": "dog", "name": "Rex"}})
    assert stage.speaker.speak() == "Rex: wuff"
    with pytest.raises(pydantic.ValidationError, match="is no Speaker"):
        Stage.model_validate({"speaker": {"block_type_slug": "secret", "value": "x"}})


@pytest.mark.slow
def test_a_type_that_nobody_defined_is_named_and_those_of_headgate_are_found():
    with pytest.raises(errors.UnknownBlockType, match="'no-such-type'; import the module"):
        Block.get_block_class_from_key("no-such-type")
    code = """
        import sys
        from headgate.blocks.core import Block
        found = Block.get_block_class_from_key("slack-webhook")
        assert found.__name__ == "SlackWebhook"
        assert "grpc" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_a_block_that_is_not_saved_has_no_placeholder():
    with pytest.raises(errors.BlockNotSavedError, match="not saved"):
        Secret(value=SecretStr("x")).get_block_placeholder()


@pytest.mark.parametrize(
    ("given", "got"),
    [("text", "text"), ("12", 12), ('{"a": 1}', {"a": 1}), ({"a": [1]}, {"a": [1]}), (7, 7)],
)
def test_a_secret_returns_what_was_put_in_and_reads_json(given: Any, got: Any):
    assert Secret(value=given).get() == got


def test_blocks_pickle_with_their_secrets():
    block = pickle.loads(pickle.dumps(Secret(value=SecretStr("x"))))
    assert block.get() == "x"


async def test_awaiting_a_block_returns_it():
    block = Secret(value=SecretStr("x"))
    assert await block is block


def test_an_interface_is_no_block_to_be_made():
    with pytest.raises(TypeError, match="abstract"):
        NotificationBlock()  # pyright: ignore[reportAbstractUsage]  # what is tested

    class Database(DatabaseBlock):
        def fetch_one(self, operation: str, parameters: Any = None, **options: Any) -> Any: ...
        def fetch_many(
            self, operation: str, parameters: Any = None, size: Any = None, **options: Any
        ) -> Any: ...
        def fetch_all(self, operation: str, parameters: Any = None, **options: Any) -> Any: ...
        def execute(self, operation: str, parameters: Any = None, **options: Any) -> Any: ...
        def execute_many(self, operation: str, seq_of_parameters: Any, **options: Any) -> Any: ...

    with pytest.raises(NotImplementedError, match="Database cannot be used by `with`"), Database():
        pass
