"""Result stores: what is written is read, by this process and by others, until it expires."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headgate import _result_cache, _result_records, _result_storage, exceptions, results, settings
from headgate.core import clock, states
from headgate.engine import sleeping
from headgate.locking.memory import MemoryLockManager
from headgate.results import ResultRecord, ResultStore
from headgate.transactions import IsolationLevel

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def manual(monkeypatch: Any) -> clock.ManualClock:
    moved = clock.ManualClock(NOON)
    monkeypatch.setattr(_result_records, "_clock", moved)
    monkeypatch.setattr(_result_storage, "_clock", moved)
    monkeypatch.setattr(_result_storage, "_swept_at", {})
    return moved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def files(folder: Path) -> list[str]:
    """The results that are there, without what is ours among them."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.parts[0] != ".headgate")


class Bucket:
    """Keeps bytes in a dictionary, as a block would in a service."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def read_path(self, path: str) -> bytes:
        return self.content[path]

    def write_path(self, path: str, content: bytes) -> None:
        self.content[path] = content


class AsyncBucket(Bucket):
    async def read_path(self, path: str) -> bytes:
        return self.content[path]

    async def write_path(self, path: str, content: bytes) -> None:
        self.content[path] = content

    async def delete_path(self, path: str) -> None:
        del self.content[path]


class BrokenBucket(Bucket):
    def read_path(self, path: str) -> bytes:
        raise ConnectionError("no route")

    def write_path(self, path: str, content: bytes) -> None:
        raise ConnectionError("no route")


@pytest.fixture(params=["folder", "block", "async block"])
def storage(request: pytest.FixtureRequest, folder: Path) -> Any:
    return {"folder": folder, "block": Bucket(), "async block": AsyncBucket()}[request.param]


def test_what_is_written_is_read_by_another_store(storage: Any):
    record = ResultStore(result_storage=storage).write({"a": [1]}, key="k")
    read = ResultStore(result_storage=storage).read("k")
    assert read.result == {"a": [1]}
    assert read == record
    assert read.metadata.storage_key == "k"


async def test_the_async_twins_do_the_same(storage: Any):
    one, other = ResultStore(result_storage=storage), ResultStore(result_storage=storage)
    assert not await other.aexists("k")
    await one.awrite(7, key="k")
    assert await other.aexists("k")
    assert (await other.aread("k")).result == 7
    record = one.create_result_record(8, "k2")
    await one.apersist_result_record(record)
    assert (await other.afind("k2")) == record


def test_what_is_not_there_is_missing(storage: Any):
    store = ResultStore(result_storage=storage)
    assert not store.exists("k")
    assert store.find("k") is None
    with pytest.raises(exceptions.MissingResult, match="no result under 'k'"):
        store.read("k")


def test_a_result_without_a_key_is_given_one(folder: Path):
    store = ResultStore(result_storage=folder)
    one, other = store.write(1), store.write(1)
    assert one.metadata.storage_key != other.metadata.storage_key
    assert files(folder) == sorted([one.metadata.storage_key, other.metadata.storage_key])


def test_a_file_is_a_line_of_json_and_the_bytes(folder: Path):
    ResultStore(result_storage=folder, serializer="json").write({"a": 1}, key="k")
    line, _, content = (folder / "k").read_bytes().partition(b"\n")
    assert content == b'{"a": 1}'
    metadata = json.loads(line)
    assert metadata["serializer"] == {"type": "json"}
    assert metadata["storage_key"] == "k"
    assert metadata["headgate_version"]


def test_what_says_how_it_was_written_is_the_record_and_not_the_store(folder: Path):
    ResultStore(result_storage=folder, serializer="compressed/json").write((1, 2), key="k")
    assert ResultStore(result_storage=folder, serializer="pickle").read("k").result == [1, 2]


def test_a_record_can_be_taken_apart_and_put_together():
    store = ResultStore(result_storage=Bucket(), serializer="json")
    record = store.create_result_record([1], "k", NOON)
    again = ResultRecord[Any].deserialize_from_result_and_metadata(
        record.serialize_result(), record.serialize_metadata()
    )
    assert again == record
    assert again.expiration == NOON


def test_later_changes_of_a_result_are_not_written(folder: Path):
    store = ResultStore(result_storage=folder)
    value = [1]
    record = store.create_result_record(value, "k")
    record.serialize_result()
    value.append(2)
    store.persist_result_record(record)
    assert ResultStore(result_storage=folder).read("k").result == [1]


@pytest.mark.parametrize("key", ["a", "a/b/c", "ü/ß", "x" * 2_000, "y" * 300 + "/z"])
def test_a_key_may_have_folders_and_be_long(folder: Path, key: str):
    ResultStore(result_storage=folder).write(1, key=key)
    assert ResultStore(result_storage=folder).read(key).result == 1


@pytest.mark.parametrize(
    "key", ["../x", "/etc/passwd", "a/../../x", "", ".", "a\0b", ".headgate/x"]
)
def test_a_key_does_not_lead_out_of_the_folder(folder: Path, key: str):
    store = ResultStore(result_storage=folder)
    with pytest.raises(exceptions.ResultStorageError, match="is no place within") as caught:
        store.write(1, key=key)
    assert caught.value.key == key


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    store = ResultStore(result_storage=tmp_path / "file" / "results")
    with pytest.raises(exceptions.ResultStorageError, match=r"cannot be written in .*see to"):
        store.write(1, key="k")


def test_a_block_that_fails_is_named():
    store = ResultStore(result_storage=BrokenBucket())
    with pytest.raises(exceptions.ResultStorageError, match="cannot be read by BrokenBucket"):
        store.exists("k")
    with pytest.raises(exceptions.ResultStorageError, match="cannot be written by BrokenBucket"):
        store.write(1, key="k")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]\n", b"{}\nabc", b'{"storage_key": 1}\n'])
def test_a_file_that_is_no_result_is_refused(folder: Path, content: bytes):
    folder.mkdir()
    (folder / "k").write_bytes(content)
    with pytest.raises(exceptions.SerializationError, match="is no result of Headgate's"):
        ResultStore(result_storage=folder).exists("k")


@pytest.mark.parametrize("wrong", [3, "name", "/a/b", "a/b/c", object()])
def test_what_keeps_no_results_is_refused(wrong: Any):
    with pytest.raises(TypeError, match="result_storage is"):
        ResultStore(result_storage=wrong)


def test_a_killed_writer_leaves_no_half_of_a_result(folder: Path, monkeypatch: Any):
    store = ResultStore(result_storage=folder)
    store.write("old", key="k")

    def die(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        store.write("new", key="k")
    assert ResultStore(result_storage=folder).read("k").result == "old"


# --- Expiration ---


def test_an_expired_result_is_not_there_any_more(storage: Any, manual: clock.ManualClock):
    store = ResultStore(result_storage=storage)
    store.write(1, key="k", expiration=NOON + timedelta(seconds=10))
    assert store.exists("k")
    manual.advance(10)
    assert not store.exists("k")
    assert not ResultStore(result_storage=storage).exists("k")


def test_an_expired_result_is_deleted_when_it_is_met(folder: Path, manual: clock.ManualClock):
    ResultStore(result_storage=folder).write(1, key="k", expiration=NOON + timedelta(seconds=10))
    manual.advance(10)
    assert not ResultStore(result_storage=folder).exists("k")
    assert files(folder) == []


def test_expired_results_are_deleted_although_nobody_asks_for_them(
    folder: Path, manual: clock.ManualClock
):
    store = ResultStore(result_storage=folder)
    for number in range(5):
        store.write(number, key=f"old/{number}", expiration=NOON + timedelta(minutes=number))
    store.write("later", key="later", expiration=NOON + timedelta(days=2))
    store.write("kept", key="kept")
    manual.advance(2 * 3_600)
    ResultStore(result_storage=folder).write("new", key="new")
    assert files(folder) == ["kept", "later", "new"]


def test_a_result_that_was_written_anew_is_not_swept_away(folder: Path, manual: clock.ManualClock):
    store = ResultStore(result_storage=folder)
    store.write("old", key="k", expiration=NOON + timedelta(minutes=1))
    store.write("new", key="k", expiration=NOON + timedelta(days=1))
    manual.advance(2 * 3_600)
    store.write("x", key="x")
    assert ResultStore(result_storage=folder).read("k").result == "new"
    manual.advance(26 * 3_600)
    store.write("x", key="x")
    assert files(folder) == ["x"]


def test_one_sweep_deletes_only_so_many(folder: Path, manual: clock.ManualClock, monkeypatch: Any):
    monkeypatch.setattr(_result_storage, "_SWEEP_FILES_MAX", 2)
    store = ResultStore(result_storage=folder)
    for number in range(3):
        store.write(number, key=str(number), expiration=NOON + timedelta(minutes=1))
    manual.advance(2 * 3_600)
    kept = _result_storage.FolderStorage(folder)
    assert kept.sweep(manual.now()) == 2
    assert kept.sweep(manual.now()) == 1
    assert files(folder) == []


def test_what_killed_writers_left_is_removed(folder: Path):
    kept = _result_storage.FolderStorage(folder)
    kept.write("k", b"x")
    left = folder / ".headgate" / "writing" / "left"
    left.write_bytes(b"half")
    written = datetime.fromtimestamp(left.stat().st_mtime, UTC)
    kept.sweep(written + timedelta(minutes=59))
    assert left.exists()
    kept.sweep(written + timedelta(minutes=61))
    assert not left.exists()


def test_an_expiration_has_a_time_zone():
    with pytest.raises(ValueError, match="without a time zone"):
        ResultStore().create_result_record(1, "k", NOON.replace(tzinfo=None))


# --- In memory ---


def test_a_result_used_last_is_not_read_again(folder: Path):
    store = ResultStore(result_storage=folder)
    value = object()
    store.write(value, key="k")
    assert store.read("k").result is value
    forgetful = ResultStore(result_storage=folder, cache_result_in_memory=False)
    forgetful.write([1], key="l")
    assert forgetful.read("l").result is not forgetful.read("l").result


def test_the_memory_is_bounded_by_number_and_by_bytes():
    cache = _result_cache.ResultCache()
    for number in range(_result_cache.RECORDS_MAX + 1):
        cache.put("here", str(number), number, 1)
    assert cache.get("here", "0") is None
    assert cache.get("here", "1") == 1
    cache.put("here", "too big", 1, _result_cache.RECORD_BYTES_MAX + 1)
    assert cache.get("here", "too big") is None
    big = _result_cache.RECORD_BYTES_MAX
    for number in range(_result_cache.BYTES_MAX // big + 1):
        cache.put("there", str(number), number, big)
    assert cache.get("there", "0") is None
    assert cache.get("there", "1") == 1


# --- Metadata apart, locks, settings ---


def test_metadata_can_be_kept_apart(tmp_path: Path):
    store = ResultStore(result_storage=tmp_path / "results", metadata_storage=tmp_path / "keys")
    store.write([1], key="k")
    assert files(tmp_path / "keys") == ["k"]
    [name] = files(tmp_path / "results")
    assert name != "k"
    other = ResultStore(result_storage=tmp_path / "results", metadata_storage=tmp_path / "keys")
    assert other.read("k").result == [1]
    other.delete("k")
    assert files(tmp_path / "keys") == files(tmp_path / "results") == []


def test_a_locked_result_is_written_by_the_holder_only(folder: Path):
    store = ResultStore(result_storage=folder, lock_manager=MemoryLockManager())
    key = str(folder)[-30:].strip("/")
    assert store.acquire_lock(key, "a")
    with pytest.raises(exceptions.LockError, match="another run holds its lock"):
        store.write(1, key=key, holder="b")
    store.write(1, key=key, holder="a")
    assert store.read(key, holder="a").result == 1
    assert store.is_locked(key)
    assert store.is_lock_holder(key, "a")
    assert not store.is_lock_holder(key)
    assert not store.wait_for_lock(key, timeout=0)
    store.release_lock(key, "a")
    assert store.read(key).result == 1


async def test_locks_of_a_store_have_async_twins(folder: Path):
    store = ResultStore(result_storage=folder, lock_manager=MemoryLockManager())
    assert await store.aacquire_lock("async", "a")
    assert not await store.await_for_lock("async", timeout=0)
    store.release_lock("async", "a")
    assert await store.await_for_lock("async")


def test_a_store_without_locks_says_so():
    store = ResultStore()
    assert not store.is_locked("k")
    assert store.supports_isolation_level(IsolationLevel.READ_COMMITTED)
    assert not store.supports_isolation_level(IsolationLevel.SERIALIZABLE)
    with pytest.raises(exceptions.ConfigurationError, match="no lock manager"):
        store.acquire_lock("k")


def test_settings_say_where_and_how(tmp_path: Path):
    with settings.temporary_settings({"home": tmp_path}):
        assert results.get_default_result_storage().identity() == str(tmp_path / "storage")
        assert not results.should_persist_result()
    changed = {
        "results_local_storage_path": tmp_path / "mine",
        "results_default_serializer": "json",
        "results_persist_by_default": True,
    }
    with settings.temporary_settings(changed):
        store = results.get_result_store()
        assert store.result_storage.identity() == str(tmp_path / "mine")
        assert store.serializer.type == "json"
        assert results.should_persist_result()


# --- What the server was told ---


def test_a_reference_leads_to_the_result_from_anywhere(folder: Path):
    store = ResultStore(result_storage=folder, serializer="json")
    payload = store.reference(store.write([1], key="a/b"))
    assert payload == states.Payload(serializer="json", storage_key=str(folder / "a" / "b"))
    assert results.read_payload(payload) == [1]


def test_a_result_that_is_gone_is_looked_for_ten_times(folder: Path):
    tries: list[float] = []

    class Counting:
        def sleep(self, seconds: float) -> None:
            tries.append(seconds)

        async def sleep_async(self, seconds: float) -> None:
            raise NotImplementedError

    payload = states.Payload(serializer="pickle", storage_key=str(folder / "k"))
    before = sleeping.use(Counting())
    try:
        with pytest.raises(exceptions.MissingResult, match="there is no result at"):
            results.read_payload(payload)
        assert tries == [0.25] * 9
        with pytest.raises(exceptions.MissingResult):
            results.read_payload(payload, retry=False)
        assert len(tries) == 9
    finally:
        sleeping.use(before)


def test_a_result_that_has_expired_says_so(folder: Path, manual: clock.ManualClock):
    store = ResultStore(result_storage=folder)
    payload = store.reference(store.write(1, key="k", expiration=NOON + timedelta(seconds=1)))
    manual.advance(1)
    with pytest.raises(exceptions.MissingResult, match="has expired"):
        results.read_payload(payload)
