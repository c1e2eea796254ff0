"""Settings that are made while the server runs, in every storage alike."""

import contextlib

from headgate_server.storage.interface import Storage


async def test_a_value_is_there_until_it_is_deleted(storage: Storage):
    assert await storage.read(lambda t: t.configuration.get("a")) is None
    await storage.write(lambda t: t.configuration.set("a", "1"))
    await storage.write(lambda t: t.configuration.set("b", "other"))
    await storage.write(lambda t: t.configuration.set("a", "2"))
    assert await storage.read(lambda t: t.configuration.get("a")) == "2"
    assert await storage.write(lambda t: t.configuration.delete("a")) is True
    assert await storage.write(lambda t: t.configuration.delete("a")) is False
    assert await storage.read(lambda t: t.configuration.get("a")) is None
    assert await storage.read(lambda t: t.configuration.get("b")) == "other"


async def test_what_fails_changes_nothing(storage: Storage):
    await storage.write(lambda t: t.configuration.set("a", "1"))

    def change(t) -> None:
        t.configuration.set("a", "2")
        raise RuntimeError

    with contextlib.suppress(RuntimeError):
        await storage.write(change)
    assert await storage.read(lambda t: t.configuration.get("a")) == "1"
