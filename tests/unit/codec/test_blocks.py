"""Blocks go to the wire and come back whole."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate.codec import blocks as codec
from headgate.core import blocks

NOW = datetime(2026, 5, 4, 3, 2, 1, 123_456, tzinfo=UTC)
TYPE = blocks.BlockType(
    id="type",
    slug="slack-webhook",
    name="Slack Webhook",
    logo_url="https://x/logo.png",
    documentation_url="https://x/docs",
    description="Tells people.",
    code_example="SlackWebhook.load('x')",
    create_time=NOW,
    update_time=NOW + timedelta(hours=1),
)
SCHEMA = blocks.BlockSchema(
    id="schema",
    checksum="sha256:0",
    block_type_slug="slack-webhook",
    fields='{"type":"object"}',
    capabilities=("read-path",),
    version="1.0",
    create_time=NOW,
)
DOCUMENT = blocks.BlockDocument(
    id="document",
    name="main",
    block_type_slug="slack-webhook",
    block_schema_id="schema",
    data={"url": '"x"'},
    is_anonymous=True,
    data_unreadable=True,
    create_time=NOW,
    update_time=NOW + timedelta(hours=1),
)


@pytest.mark.parametrize(
    ("record", "encode", "decode"),
    [
        (TYPE, codec.block_type_to_proto, codec.block_type_from_proto),
        (SCHEMA, codec.block_schema_to_proto, codec.block_schema_from_proto),
        (DOCUMENT, codec.block_document_to_proto, codec.block_document_from_proto),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_full_record_comes_back_whole(
    record: Any, encode: Callable[..., Any], decode: Callable[..., Any]
):
    for field in dataclasses.fields(record):
        assert getattr(record, field.name) != field.default, f"{field.name} is not tested"
    assert decode(encode(record)) == record


def test_a_schema_that_does_not_say_its_version_has_none():
    message = codec.block_schema_to_proto(SCHEMA)
    message.ClearField("version")
    assert codec.block_schema_from_proto(message).version == blocks.NO_VERSION
