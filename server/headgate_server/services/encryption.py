"""Encryption of what must not be read off a disk: Fernet, under keys from one of three places.

The first key that there is seals, all open: the keys of the setting, then the key file beside
an SQLite database, else the key in the database itself, where replicas share it. So a key is
exchanged by putting the new one before the old one.
"""

from __future__ import annotations

import base64
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headgate.core import errors
from headgate_server.storage.interface import Transaction

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_KEY_BYTES = 32
_SETTING = "HEADGATE_SERVER_ENCRYPTION_KEY"


class Unreadable(Exception):
    """What was sealed with another key than those the server has."""


class Encryption:
    """Seals and opens texts.

    Args:
        keys: The keys of the setting.
        key_file: Where the key is kept where the setting has none; None: in the database.
    """

    def __init__(self, keys: Sequence[str] = (), *, key_file: Path | None = None) -> None:
        """Make it; a key is read, or made, when it is first needed."""
        self._keys = tuple(keys)
        self._file = key_file

    def seal(self, tx: Transaction, text: str) -> str:
        """Encrypt a text; makes a key, in a transaction that writes, if there is none.

        Raises:
            FailedPrecondition: The key file cannot be read or written.
        """
        keys = self._known(tx) or (self._make(tx),)
        return _fernet(keys).encrypt(text.encode()).decode()

    def open(self, tx: Transaction, sealed: str) -> str:
        """Decrypt what was sealed.

        Raises:
            Unreadable: None of the keys fits.
            FailedPrecondition: The key file cannot be read.
        """
        from cryptography.fernet import InvalidToken  # loaded when a block is first read

        keys = self._known(tx)
        if not keys:
            raise Unreadable
        try:
            return _fernet(keys).decrypt(sealed).decode()
        except InvalidToken:
            raise Unreadable from None

    def _known(self, tx: Transaction) -> tuple[str, ...]:
        kept = _read(self._file) if self._file is not None else tx.blocks.encryption_key()
        return self._keys if kept is None else (*self._keys, kept)

    def _make(self, tx: Transaction) -> str:
        key = base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode()
        if self._file is None:
            tx.blocks.keep_encryption_key(key)
            return key
        _write(self._file, key)
        return key


def parse_keys(text: str) -> tuple[str, ...]:
    """Read the keys of the setting: one, or several by commas.

    Raises:
        ValueError: One of them is no key.
    """
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    for key in keys:
        if not _is_key(key):
            msg = (
                f"{_SETTING} wants 32 random bytes in URL-safe base64, 44 characters, or several "
                "such keys by commas; make one with: python -c 'import base64, os; "
                "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
            )
            raise ValueError(msg)
    return keys


def _is_key(key: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(key)) == _KEY_BYTES
    except ValueError:
        return False


@functools.lru_cache(maxsize=8)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    from cryptography.fernet import Fernet, MultiFernet  # loaded when a block is first read

    return MultiFernet([Fernet(key) for key in keys])


def _read(file: Path) -> str | None:
    try:
        key = file.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise _trouble(file, f"cannot be read ({problem})") from problem
    if not _is_key(key):
        raise _trouble(file, "does not hold a key")
    return key


def _write(file: Path, key: str) -> None:
    """Make the file, for this user alone, whole or not at all."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, f"{key}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # One server has the database, so nobody else makes the file meanwhile.
        draft.replace(file)
    except OSError as problem:
        raise _trouble(file, f"cannot be written ({problem})") from problem
    finally:
        draft.unlink(missing_ok=True)


def _trouble(file: Path, fact: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"The key that encrypts blocks, {file}, {fact}; put it right, or set {_SETTING}.",
        "encryption key",
        str(file),
    )


__all__ = ["Encryption", "Unreadable", "parse_keys"]
