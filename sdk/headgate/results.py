"""Results that are kept: written by the process of a run, read by any other.

A flow or task with ``persist_result=True`` has its result written to its storage; the server is
told where it is, and never sees it. ``get_result_store()`` is the store of the run that is
executing here.

Results that have expired are not used any more. Those in a folder are deleted by and by, when
others are written there; those that a block keeps, when somebody asks for them and the block has a
``delete_path``.
"""

from __future__ import annotations

import datetime
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from headgate import _options, payloads, serializers, settings
from headgate import _result_cache as caches
from headgate import _result_storage as storages
from headgate import context as contexts
from headgate._explaining import explained
from headgate._result_records import ResultRecord, ResultRecordMetadata
from headgate.core import errors, states
from headgate.serializers import Serializer

if TYPE_CHECKING:
    from headgate.flows import Flow
    from headgate.locking.protocol import LockManager
    from headgate.tasks import Task
    from headgate.transactions import IsolationLevel

__all__ = [
    "ResultRecord",
    "ResultRecordMetadata",
    "ResultStore",
    "get_default_persist_setting",
    "get_default_result_serializer",
    "get_default_result_storage",
    "get_result_store",
    "read_payload",
    "should_persist_result",
]

#: How long a result that is not there is waited for: another machine may have just written it.
READ_TRIES = 10
READ_TRIES_EVERY_SECONDS = 0.25


class ResultStore:
    """Writes and reads results.

    Args:
        result_storage: Where they are kept: a folder as ``Path``, a block, or the name of one as
            ``type/name``. Default: by the settings, else ``storage`` in the home folder.
        metadata_storage: Where their metadata is kept apart from them. Default: with them.
        lock_manager: Locks keys, for isolation between runs.
        cache_result_in_memory: Whether results last used are kept in memory, too.
        serializer: How they are written, or its type. Default: by the settings, else ``pickle``.
        storage_key_fn: Makes the keys of results that were given none.
    """

    @explained
    def __init__(
        self,
        *,
        result_storage: Any = None,
        metadata_storage: Any = None,
        lock_manager: LockManager | None = None,
        cache_result_in_memory: bool = True,
        serializer: Serializer[Any] | str | None = None,
        storage_key_fn: Callable[[], str] | None = None,
    ) -> None:
        """Make a store; the storage is opened when it is first used."""
        self._places = storages.Places()
        self._place = self._places.of(storages.checked_storage(result_storage, saved=False))
        apart = storages.checked_storage(metadata_storage, saved=False)
        self._metadata_place = None if apart is None else self._places.of(apart)
        self.lock_manager = lock_manager
        self.cache_result_in_memory = cache_result_in_memory
        self.serializer = (
            get_default_result_serializer()
            if serializer is None
            else serializers.resolve_serializer(serializer)
        )
        self.storage_key_fn = storage_key_fn or _new_key
        self._cache = caches.ResultCache()

    # --- Variants of it ---

    def update_for_flow(self, flow: Flow[..., Any]) -> ResultStore:
        """Return the store of a flow: with what the flow sets, and else what is set here."""
        return self._variant(
            storage=flow.result_storage,
            serializer=flow.result_serializer,
            cache_result_in_memory=flow.cache_result_in_memory,
        )

    def update_for_task(self, task: Task[..., Any]) -> ResultStore:
        """Return the store of a task: with what the task sets, and else what is set here."""
        policy = task.cache_policy
        return self._variant(
            storage=task.result_storage,
            serializer=task.result_serializer,
            cache_result_in_memory=task.cache_result_in_memory,
            metadata_storage=policy.key_storage if policy is not None else None,
            lock_manager=policy.lock_manager if policy is not None else None,
        )

    def _variant(
        self,
        *,
        storage: Any,
        serializer: Serializer[Any] | None,
        cache_result_in_memory: bool,
        metadata_storage: Any = None,
        lock_manager: LockManager | None = None,
    ) -> ResultStore:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made.cache_result_in_memory = cache_result_in_memory
        if storage is not None:
            made._place = self._places.of(storage)
        if serializer is not None:
            made.serializer = serializer
        if metadata_storage is not None:
            made._metadata_place = self._places.of(storages.checked_storage(metadata_storage))
        if lock_manager is not None:
            made.lock_manager = lock_manager
        return made

    # --- Where things are ---

    @property
    def result_storage(self) -> storages.Storage:
        """Where results are kept.

        Raises:
            HeadgateError: The block that keeps them cannot be loaded.
        """
        return self._place.opened()

    @property
    def metadata_storage(self) -> storages.Storage | None:
        """Where metadata is kept apart from results; None: with them."""
        return None if self._metadata_place is None else self._metadata_place.opened()

    @property
    def is_default(self) -> bool:
        """Whether neither flow, task nor settings name a storage."""
        return self._place.is_default

    @property
    def is_open(self) -> bool:
        """Whether the storages are at hand: a block has to be asked for."""
        return self._place.is_open and (
            self._metadata_place is None or self._metadata_place.is_open
        )

    def open(self) -> None:
        """Open the storages; done by itself when they are first used.

        Raises:
            HeadgateError: The block that keeps results cannot be loaded.
        """
        self._place.opened()
        if self._metadata_place is not None:
            self._metadata_place.opened()

    async def aopen(self) -> None:
        """Do what ``open`` does, in a coroutine."""
        await _in_thread(self.open)

    def reference(self, record: ResultRecord[Any]) -> states.Payload:
        """Return what the server is told of a record."""
        return states.Payload(
            serializer=record.metadata.serializer.type,
            storage_key=self.result_storage.reference(record.metadata.storage_key),
        )

    # --- Reading and writing ---

    def find(self, key: str) -> ResultRecord[Any] | None:
        """Return the record under a key; None where there is none, or an expired one.

        Raises:
            HeadgateError: It cannot be read.
        """
        _options.checked_text(key, "key")
        place = (self.metadata_storage or self.result_storage).identity()
        record: ResultRecord[Any] | None = self._cache.get(place, key)
        if record is None:
            record = self._load(key)
            if record is not None:
                self._remember(place, key, record)
        if record is not None and record.metadata.is_expired:
            self._cache.pop(place, key)
            self._delete(key, record)
            return None
        return record

    async def afind(self, key: str) -> ResultRecord[Any] | None:
        """Do what ``find`` does, in a coroutine."""
        return await _in_thread(self.find, key)

    def exists(self, key: str) -> bool:
        """Say whether there is a result under a key that may be used.

        Raises:
            HeadgateError: It cannot be read.
        """
        return self.find(key) is not None

    async def aexists(self, key: str) -> bool:
        """Do what ``exists`` does, in a coroutine."""
        return await _in_thread(self.exists, key)

    def read(self, key: str, holder: str | None = None) -> ResultRecord[Any]:
        """Return the record under a key; waits for whoever holds its lock.

        Args:
            key: The key.
            holder: Who reads; does not wait for itself.

        Raises:
            MissingResult: There is none, or it has expired.
            HeadgateError: It cannot be read.
        """
        if self.lock_manager is not None and not self.is_lock_holder(key, holder):
            self.wait_for_lock(key)
        record = self.find(key)
        if record is None:
            msg = f"There is no result under {key!r}, or it has expired; run again what makes it."
            raise errors.MissingResult(msg)
        return record

    async def aread(self, key: str, holder: str | None = None) -> ResultRecord[Any]:
        """Do what ``read`` does, in a coroutine."""
        return await _in_thread(self.read, key, holder)

    def create_result_record(
        self, obj: Any, key: str | None = None, expiration: datetime.datetime | None = None
    ) -> ResultRecord[Any]:
        """Make a record; nothing is written yet.

        Args:
            obj: The result.
            key: Where it will be found. Default: a new one.
            expiration: Until when it may be used, with a time zone. Default: for ever.
        """
        _options.checked_time(expiration, "expiration")
        if expiration is not None and expiration.tzinfo is None:
            msg = f"expiration is {expiration!r}, without a time zone; use e.g. tzinfo=UTC."
            raise errors.OptionValueError(msg)
        _options.checked_text(key, "key")
        apart = self.metadata_storage is not None
        identity = self.result_storage.identity()
        block_id = identity.removeprefix("block:") if identity.startswith("block:") else None
        metadata = ResultRecordMetadata(
            storage_key=self.storage_key_fn() if apart or key is None else key,
            expiration=expiration,
            serializer=self.serializer,
            storage_block_id=block_id,
            encoded=settings.current().results_payload_codec is not None,
        )
        return ResultRecord(metadata=metadata, result=obj)

    def write(
        self,
        obj: Any,
        key: str | None = None,
        expiration: datetime.datetime | None = None,
        holder: str | None = None,
    ) -> ResultRecord[Any]:
        """Write a result; see ``create_result_record`` and ``persist_result_record``.

        Returns:
            The record; its key is ``record.metadata.storage_key``.
        """
        record = self.create_result_record(obj, key, expiration)
        self.persist_result_record(record, holder, key=key)
        return record

    async def awrite(
        self,
        obj: Any,
        key: str | None = None,
        expiration: datetime.datetime | None = None,
        holder: str | None = None,
    ) -> ResultRecord[Any]:
        """Do what ``write`` does, in a coroutine."""
        return await _in_thread(self.write, obj, key, expiration, holder)

    def persist_result_record(
        self, record: ResultRecord[Any], holder: str | None = None, *, key: str | None = None
    ) -> None:
        """Write a record.

        Args:
            record: The record.
            holder: Who writes.
            key: Where its metadata is to be found, if that is kept apart.

        Raises:
            LockError: Somebody else holds the lock of its key.
            SerializationError: The result has no bytes.
            ResultStorageError: It cannot be written.
        """
        at = record.metadata.storage_key if key is None else key
        if self.is_locked(at) and not self.is_lock_holder(at, holder):
            msg = f"The result {at!r} cannot be written: another run holds its lock; wait for it."
            raise errors.LockError(msg, at)
        expires = record.metadata.expiration
        apart = self.metadata_storage
        self.result_storage.write(record.metadata.storage_key, record.serialize(), expires)
        if apart is not None:
            # After the result: who finds the metadata must find the result, too.
            apart.write(at, record.serialize_metadata(), expires)
        self._remember((apart or self.result_storage).identity(), at, record)
        record.content = None

    async def apersist_result_record(
        self, record: ResultRecord[Any], holder: str | None = None, *, key: str | None = None
    ) -> None:
        """Do what ``persist_result_record`` does, in a coroutine."""

        def persist() -> None:
            self.persist_result_record(record, holder, key=key)

        await _in_thread(persist)

    def delete(self, key: str) -> None:
        """Delete the result under a key, if there is one and its storage can."""
        record = self._load(key)
        self._cache.pop((self.metadata_storage or self.result_storage).identity(), key)
        if record is not None:
            self._delete(key, record)

    def _load(self, key: str) -> ResultRecord[Any] | None:
        apart = self.metadata_storage
        if apart is not None:
            line = apart.read(key)
            if line is None:
                return None
            key = ResultRecordMetadata.load_bytes(line).storage_key
        data = self.result_storage.read(key)
        if data is None:
            return None
        record = ResultRecord[Any].deserialize(data)
        record.content = data
        return record

    def _remember(self, place: str, key: str, record: ResultRecord[Any]) -> None:
        if self.cache_result_in_memory:
            size = len(record.content) if record.content is not None else 0
            self._cache.put(place, key, record, size)
        else:
            self._cache.pop(place, key)
        record.content = None

    def _delete(self, key: str, record: ResultRecord[Any]) -> None:
        apart = self.metadata_storage
        if apart is not None:
            apart.delete(key)
        self.result_storage.delete(record.metadata.storage_key)

    # --- Locks ---

    @staticmethod
    def generate_default_holder() -> str:
        """Return a name for who holds a lock: this thread of this process."""
        return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"

    def supports_isolation_level(self, level: IsolationLevel) -> bool:
        """Say whether transactions on this store can be isolated so far."""
        from headgate.transactions import IsolationLevel

        return level is IsolationLevel.READ_COMMITTED or self.lock_manager is not None

    def acquire_lock(
        self, key: str, holder: str | None = None, timeout: float | None = None
    ) -> bool:
        """Lock a key, waiting so many seconds for whoever holds it; says whether that worked.

        Raises:
            ConfigurationError: The store has no lock manager.
        """
        return self._locks().acquire_lock(key, self._holder(holder), timeout)

    async def aacquire_lock(
        self, key: str, holder: str | None = None, timeout: float | None = None
    ) -> bool:
        """Do what ``acquire_lock`` does, in a coroutine."""
        return await self._locks().aacquire_lock(key, self._holder(holder), timeout)

    def release_lock(self, key: str, holder: str | None = None) -> None:
        """Unlock a key.

        Raises:
            ConfigurationError: The store has no lock manager.
            LockError: The holder does not hold it.
        """
        self._locks().release_lock(key, self._holder(holder))

    def is_locked(self, key: str) -> bool:
        """Say whether somebody holds the lock of a key."""
        return self.lock_manager is not None and self.lock_manager.is_locked(key)

    def is_lock_holder(self, key: str, holder: str | None = None) -> bool:
        """Say whether a holder, by default this thread, has the lock of a key."""
        manager = self.lock_manager
        return manager is not None and manager.is_lock_holder(key, self._holder(holder))

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody holds the lock of a key; says whether that came within the timeout.

        Raises:
            ConfigurationError: The store has no lock manager.
        """
        return self._locks().wait_for_lock(key, timeout)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Do what ``wait_for_lock`` does, in a coroutine."""
        return await self._locks().await_for_lock(key, timeout)

    def _holder(self, holder: str | None) -> str:
        return self.generate_default_holder() if holder is None else holder

    def _locks(self) -> LockManager:
        if self.lock_manager is None:
            msg = "This result store has no lock manager; make it with lock_manager=..."
            raise errors.ConfigurationError(msg)
        return self.lock_manager


def get_result_store() -> ResultStore:
    """Return the store of the task run, or else the flow run, that is executing here.

    Outside of runs it is the one that the settings describe.
    """
    task = contexts.TaskRunContext.get()
    flow = contexts.current_flow()
    store = ResultStore() if flow is None else flow.result_store
    return store if task is None else store.update_for_task(task.task)


def should_persist_result() -> bool:
    """Say whether the result of the task run, or else the flow run, executing here is kept."""
    task = contexts.TaskRunContext.get()
    if task is not None:
        return task.persist_result
    flow = contexts.current_flow()
    return flow.persist_result if flow is not None else get_default_persist_setting()


def get_default_persist_setting() -> bool:
    """Say whether results are kept where neither flow nor task says."""
    return settings.current().results_persist_by_default


def get_default_result_serializer() -> Serializer[Any]:
    """Return the serializer of those that name none, by the settings.

    Raises:
        ConfigurationError: There is no such serializer.
    """
    return serializers.resolve_serializer(settings.current().results_default_serializer)


def get_default_result_storage() -> storages.Storage:
    """Return the storage of those that name none, by the settings."""
    return storages.default_storage()


def read_payload(payload: states.Payload, *, retry: bool = True) -> Any:
    """Return the value that a state on the server tells of.

    Args:
        payload: What the server was told.
        retry: Look again for a while where it is not there.

    Raises:
        MissingResult: It is not there any more, or has expired.
        HeadgateError: It cannot be read.
    """
    if payload.inline is not None:
        return payloads.load(payload)
    reference = payload.storage_key or ""
    data = _read_patiently(reference, READ_TRIES if retry else 1)
    if data is None:
        msg = (
            f"The run completed, and there is no result at {reference!r}; read it where that "
            "storage is, or run again what makes it."
        )
        raise errors.MissingResult(msg)
    line, _, content = data.partition(b"\n")
    metadata = ResultRecordMetadata.load_bytes(line)
    if metadata.is_expired:
        msg = f"The result at {reference!r} has expired; run again what makes it."
        raise errors.MissingResult(msg)
    return metadata.loads(content)


def _read_patiently(reference: str, tries: int) -> bytes | None:
    from headgate.engine import sleeping

    for attempt in range(tries):
        try:
            data = storages.read_reference(reference)
        except errors.ResultStorageError:
            if attempt == tries - 1:
                raise
            data = None
        if data is not None:
            return data
        if attempt < tries - 1:
            sleeping.sleep(READ_TRIES_EVERY_SECONDS)
    return None


def format_storage_key(template: str, parameters: Mapping[str, Any]) -> str:
    """Return the key that a ``result_storage_key`` means for a run. For the engine.

    Raises:
        ResultStorageError: The template names something that is not there.
    """
    from headgate.runtime import deployment, flow_run, task_run

    try:
        return template.format(
            deployment=deployment, flow_run=flow_run, task_run=task_run, parameters=parameters
        )
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        msg = (
            f"result_storage_key {template!r} does not fit ({type(error).__name__}: {error}); use "
            "names such as {parameters[day]} or {flow_run.name}."
        )
        raise errors.ResultStorageError(msg) from error


def _new_key() -> str:
    return uuid.uuid4().hex


async def _in_thread(fn: Callable[..., Any], *args: Any) -> Any:
    import asyncio

    return await asyncio.to_thread(fn, *args)
