"""Where results are kept: a folder, or whatever can write and read bytes by a path."""

from __future__ import annotations

import datetime
import hashlib
import inspect
import json
import os
import threading
import uuid
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from headgate import _options, settings
from headgate.core import errors
from headgate.core.clock import process_clock as _clock

__all__ = [
    "BlockStorage",
    "FolderStorage",
    "Place",
    "Places",
    "Storage",
    "WritableStorage",
    "checked_storage",
    "default_storage",
    "expiration_of",
    "read_reference",
    "storage_of",
]

#: Ours among the results: files that are being written, and the notes of what expires when.
_OWN_FOLDER = ".headgate"
#: A file name is at most 255 bytes long on the file systems that we know; less what we append.
_NAME_BYTES_MAX = 200
_HEADER_BYTES_MAX = 64 * 1024
_SWEEP_EVERY_SECONDS = 60.0
#: How many files one sweep deletes at most, so that no write waits long for it.
_SWEEP_FILES_MAX = 500
_TEMPORARY_FOR = datetime.timedelta(hours=1)
_HOUR = 3600
_BLOCK = "block:"
_FOLDERS_MAX = 1_000

#: When this process last swept a folder.
_swept_at: dict[Path, float] = {}


class Storage(Protocol):
    """Keeps bytes under keys."""

    def read(self, key: str) -> bytes | None:
        """Return what is kept under a key; None where there is nothing."""
        ...

    def write(self, key: str, content: bytes, expires: datetime.datetime | None = None) -> None:
        """Keep bytes under a key, in the place of what was there."""
        ...

    def delete(self, key: str) -> None:
        """Delete what is kept under a key, if there is something and that can be done."""
        ...

    def reference(self, key: str) -> str:
        """Return a text by which another process finds what is kept under a key."""
        ...

    def identity(self) -> str:
        """Return what tells this place from others."""
        ...


@runtime_checkable
class WritableStorage(Protocol):
    """Anything with these two, e.g. a block of ``headgate.filesystems``, may keep results.

    The methods may be async. ``delete_path`` or ``exists`` are used where they are there.
    """

    def read_path(self, path: str) -> Any:
        """Return the bytes at a path."""
        ...

    def write_path(self, path: str, content: bytes) -> Any:
        """Write bytes to a path."""
        ...


class FolderStorage:
    """Keeps results in the files of a folder.

    Expired ones are deleted: what expires is noted by the hour, so a sweep looks at nothing else.
    """

    def __init__(self, root: Path) -> None:
        """Use a folder; it is made by the first write."""
        self.root = Path(os.path.abspath(root.expanduser()))

    def read(self, key: str) -> bytes | None:
        """Return the content of a file; None where there is none.

        Raises:
            ResultStorageError: It cannot be read, or the key leads out of the folder.
        """
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed("read", key, error) from error

    def write(self, key: str, content: bytes, expires: datetime.datetime | None = None) -> None:
        """Write a file; others see all of it or nothing.

        Raises:
            ResultStorageError: It cannot be written, or the key leads out of the folder.
        """
        path = self._path(key)
        try:
            self._replace(path, content)
            if expires is not None:
                self._note(key, expires)
            self._sweep_at_times()
        except OSError as error:
            raise self._failed("written", key, error) from error

    def delete(self, key: str) -> None:
        """Delete a file, if it is there."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed("deleted", key, error) from error

    def reference(self, key: str) -> str:
        """Return the whole path."""
        return str(self._path(key))

    def identity(self) -> str:
        """Return the folder."""
        return str(self.root)

    def sweep(self, now: datetime.datetime) -> int:
        """Delete results that have expired, up to a number of them; returns how many."""
        deleted = 0
        for note in self._due_notes(now):
            key = note.read_text(encoding="utf-8")
            deleted += self._delete_expired(self._path(key), now)
            note.unlink(missing_ok=True)
            if deleted >= _SWEEP_FILES_MAX:
                break
        self._remove_left_over(now)
        return deleted

    def _path(self, key: str) -> Path:
        if not isinstance(key, str) or not _options.is_encodable(key):
            msg = f"The key {key!r} is no name of a file; use a text."
            raise errors.ResultStorageError(msg, str(key))
        parts = [_short(part) for part in key.split("/")]
        path = Path(os.path.normpath(self.root.joinpath(*parts)))
        inside = path != self.root and path.is_relative_to(self.root) and key[0] != "/"
        if "\0" in key or not inside or path.relative_to(self.root).parts[0] == _OWN_FOLDER:
            msg = f"The key {key!r} is no place within {self.root}; use a relative path."
            raise errors.ResultStorageError(msg, key)
        return path

    def _replace(self, path: Path, content: bytes) -> None:
        temporary = self.root / _OWN_FOLDER / "writing" / uuid.uuid4().hex
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        try:
            try:
                temporary.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    # --- What expires ---

    def _note(self, key: str, expires: datetime.datetime) -> None:
        """Note when a result expires. The sweep believes the result, not the note."""
        hour = int(expires.timestamp()) // _HOUR
        name = hashlib.sha256(key.encode()).hexdigest()
        note = self.root / _OWN_FOLDER / "expiring" / str(hour) / name
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(key, encoding="utf-8")

    def _due_notes(self, now: datetime.datetime) -> Iterator[Path]:
        folder = self.root / _OWN_FOLDER / "expiring"
        this_hour = int(now.timestamp()) // _HOUR
        hours = sorted(int(name) for name in _names(folder) if name.isdigit())
        for hour in hours:
            # Those of the hour under way may not be due; they are looked at when it is over.
            if hour >= this_hour:
                return
            for name in _names(folder / str(hour)):
                yield folder / str(hour) / name
            _remove_folder(folder / str(hour))

    def _delete_expired(self, path: Path, now: datetime.datetime) -> bool:
        if not _is_expired(path, now):
            return False
        # Moved away first: another process may write it anew at this very moment.
        moved = self.root / _OWN_FOLDER / "writing" / uuid.uuid4().hex
        try:
            moved.parent.mkdir(parents=True, exist_ok=True)
            path.rename(moved)
            if not _is_expired(moved, now):
                os.link(moved, path)
        except OSError:
            # Somebody else has deleted it, or has put a newer one there.
            pass
        finally:
            moved.unlink(missing_ok=True)
        return True

    def _sweep_at_times(self) -> None:
        now = _clock.monotonic()
        swept = _swept_at.get(self.root)
        if swept is None or now - swept >= _SWEEP_EVERY_SECONDS:
            if len(_swept_at) >= _FOLDERS_MAX:
                _swept_at.clear()
            _swept_at[self.root] = now
            self.sweep(_clock.now())

    def _remove_left_over(self, now: datetime.datetime) -> None:
        """Delete what processes that were killed had begun to write."""
        folder = self.root / _OWN_FOLDER / "writing"
        limit = (now - _TEMPORARY_FOR).timestamp()
        for name in _names(folder):
            try:
                if (folder / name).stat().st_mtime < limit:
                    (folder / name).unlink()
            except FileNotFoundError:
                continue

    def _failed(self, what: str, key: str, error: OSError) -> errors.ResultStorageError:
        msg = f"The result {key!r} cannot be {what} in {self.root}: {error}; see to the folder."
        return errors.ResultStorageError(msg, key)


class BlockStorage:
    """Keeps results where a block, or anything like one, writes to."""

    def __init__(self, block: WritableStorage) -> None:
        """Use a block."""
        self.block = block

    def read(self, key: str) -> bytes | None:
        """Return what the block reads.

        Raises:
            ResultStorageError: It fails for another reason than that there is nothing.
        """
        try:
            return cast("bytes", _finished(self.block.read_path(key)))
        except (FileNotFoundError, KeyError):
            return None
        except Exception as error:  # each storage has errors of its own
            if self._is_missing(key, error):
                return None
            raise self._failed("read", key, error) from error

    def _is_missing(self, key: str, error: Exception) -> bool:
        """Say whether a read failed because there is nothing."""
        exists = getattr(self.block, "exists", None)
        if exists is None:
            # What the incumbent's file systems say.
            return isinstance(error, ValueError) and "does not exist" in str(error)
        try:
            return not _finished(exists(key))
        except Exception:  # the first error says more
            return False

    def write(self, key: str, content: bytes, expires: datetime.datetime | None = None) -> None:
        """Have the block write.

        Raises:
            ResultStorageError: It failed.
        """
        try:
            _finished(self.block.write_path(key, content))
        except Exception as error:  # each storage has errors of its own
            raise self._failed("written", key, error) from error

    def delete(self, key: str) -> None:
        """Have the block delete, where it can."""
        delete = getattr(self.block, "delete_path", None)
        if delete is None:
            return
        try:
            _finished(delete(key))
        except FileNotFoundError:
            return
        except Exception as error:  # each storage has errors of its own
            raise self._failed("deleted", key, error) from error

    def reference(self, key: str) -> str:
        """Name the block by its id; only the key, where the block is not saved."""
        document_id = _document_id(self.block)
        return f"{_BLOCK}{document_id}:{key}" if document_id else key

    def identity(self) -> str:
        """Return the id of the block; else which object it is."""
        document_id = _document_id(self.block)
        return f"{_BLOCK}{document_id}" if document_id else f"object:{id(self.block)}"

    def _failed(self, what: str, key: str, error: Exception) -> errors.ResultStorageError:
        kind = type(self.block).__name__
        msg = f"The result {key!r} cannot be {what} by {kind}: {error}; see to that storage."
        return errors.ResultStorageError(msg, key)


class Place:
    """A storage that is opened when it is first used: a block has to be asked for."""

    def __init__(self, given: Any) -> None:
        """Take what was given as a storage; None: what the settings say."""
        self._given = given
        self._storage: Storage | None = None
        self._by_server = False
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as what was given: what is open here is not so there."""
        return Place, (self._given,)

    @property
    def is_default(self) -> bool:
        """Whether no storage was named, nor is one in the settings.

        Once it is open this also says that the server names none.
        """
        if self._given is not None or self._by_server:
            return False
        return not settings.current().results_default_storage_block

    @property
    def is_open(self) -> bool:
        """Whether the storage is at hand."""
        return self._storage is not None

    def opened(self) -> Storage:
        """Return the storage.

        Raises:
            HeadgateError: The block cannot be loaded.
        """
        if self._storage is None:
            with self._opening:
                if self._storage is None:
                    self._storage = self._open()
        return self._storage

    def _open(self) -> Storage:
        if self._given is not None:
            return storage_of(self._given)
        chosen = _by_server()
        self._by_server = chosen is not None
        return chosen or _by_settings()


class Places:
    """The storages that the stores of one flow run have in common: each is opened once."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[object, Place] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without what is open here."""
        return Places, ()

    def of(self, given: Any) -> Place:
        """Return the place for what was given as a storage."""
        if given is None or isinstance(given, (str, Path)):
            return self._known.setdefault(given, Place(given))
        return self._known.setdefault(id(given), Place(given))


def checked_storage(storage: Any, *, saved: bool = True) -> Any:
    """Return a ``result_storage`` that a flow or task may have.

    Args:
        storage: What was given.
        saved: Whether a block must be saved.

    Raises:
        OptionTypeError: It is something else, or a block that is not saved, which no other process
            would find.
    """
    if storage is None or isinstance(storage, (Path, FolderStorage, BlockStorage)):
        return storage
    if isinstance(storage, str):
        if storage.count("/") != 1 or storage.startswith("/") or storage.endswith("/"):
            msg = (
                f"result_storage is {storage!r}; name a saved block as in 's3-bucket/results', or "
                "give a folder as Path(...)."
            )
            raise errors.OptionTypeError(msg)
        return storage
    if not isinstance(storage, WritableStorage):
        msg = (
            f"result_storage is {storage!r}; give a saved block such as LocalFileSystem, its name "
            "as in 'local-file-system/results', or a Path."
        )
        raise errors.OptionTypeError(msg)
    if saved and hasattr(storage, "_block_document_id") and _document_id(storage) is None:
        msg = (
            f"result_storage is a {type(storage).__name__} that is not saved, so no other process "
            "finds it; call its save('a-name') first."
        )
        raise errors.OptionTypeError(msg)
    return storage


def storage_of(given: Any) -> Storage:
    """Return the storage that a Path, a block or the name of one means.

    Raises:
        OptionTypeError: It is nothing of the kind.
        HeadgateError: The block cannot be loaded.
    """
    if isinstance(given, (FolderStorage, BlockStorage)):
        return given
    if isinstance(given, Path):
        return FolderStorage(given)
    if isinstance(given, str):
        from headgate.blocks.core import Block

        given = _finished(cast("Any", Block).load(given))
    folder = getattr(given, "basepath", None)
    kind = cast("Any", type(given))
    if folder is not None and getattr(kind, "_block_type_slug", "") == "local-file-system":
        return FolderStorage(Path(str(folder)))
    if isinstance(given, WritableStorage):
        return BlockStorage(given)
    msg = f"{given!r} keeps no results: it has no read_path and write_path; use a file system."
    raise errors.OptionTypeError(msg)


def default_storage() -> Storage:
    """Return the storage of those that name none: by the settings, or else by the server."""
    return _by_server() or _by_settings()


def _by_server() -> Storage | None:
    """Return the storage that the server names, where the settings name none."""
    if settings.current().results_default_storage_block:
        return None
    from headgate import _server_result_storage

    document_id = _server_result_storage.block_id()
    return None if document_id is None else _of_document(document_id)


def _by_settings() -> Storage:
    now = settings.current()
    if now.results_default_storage_block:
        return storage_of(now.results_default_storage_block)
    return FolderStorage(now.results_local_storage_path or now.home / "storage")


def read_reference(reference: str) -> bytes | None:
    """Return the bytes that ``Storage.reference`` named; None where there is nothing any more.

    Raises:
        ResultStorageError: They cannot be read.
        HeadgateError: The block cannot be loaded.
    """
    if reference.startswith(_BLOCK):
        document_id, _, key = reference.removeprefix(_BLOCK).partition(":")
        return _of_document(document_id).read(key)
    path = Path(reference)
    if path.is_absolute():
        return FolderStorage(path.parent).read(path.name)
    return default_storage().read(reference)


def _of_document(document_id: str) -> Storage:
    from headgate.blocks.core import Block

    return storage_of(_finished(cast("Any", Block).load_from_ref(document_id)))


def expiration_of(header: bytes) -> datetime.datetime | None:
    """Return when a stored result expires, by its first line."""
    try:
        text = json.loads(header).get("expiration")
        return datetime.datetime.fromisoformat(text) if text else None
    except (ValueError, AttributeError):
        return None


def _is_expired(path: Path, now: datetime.datetime) -> bool:
    try:
        with path.open("rb") as file:
            expires = expiration_of(file.readline(_HEADER_BYTES_MAX))
    except OSError:
        return False
    return expires is not None and expires <= now


def _document_id(block: Any) -> str | None:
    found = getattr(block, "_block_document_id", None)
    return str(found) if found else None


def _finished(value: Any) -> Any:
    """Return what a method returned, awaited where it is async."""
    if not inspect.iscoroutine(value):
        return value
    from headgate.engine import effects

    return effects.run(cast("Coroutine[Any, Any, Any]", value))


def _short(part: str) -> str:
    raw = os.fsencode(part)
    if len(raw) <= _NAME_BYTES_MAX:
        return part
    start = raw[: _NAME_BYTES_MAX // 2].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(raw).hexdigest()}"


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove_folder(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # Notes are left, or came just now; the next sweep sees to them.
        return
