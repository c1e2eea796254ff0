"""Transactions: results that are written together, or not at all.

Each task run is a transaction. A ``with transaction():`` block is one, too, and what runs in it
commits with it; when it fails, the ``on_rollback`` hooks of its tasks are called, the last first::

    with transaction():
        path = write_file()
        check(path)  # raises: write_file is rolled back

With a key, a block that has committed once is not entered for nothing a second time::

    with transaction(key="report-2026-11") as txn:
        if txn.is_committed():
            return
        ...
"""

from __future__ import annotations

import contextlib
import enum
import functools
import logging
import os
import socket
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Self

from headgate import _options
from headgate import context as contexts
from headgate._explaining import explained
from headgate.core import errors
from headgate.engine import effects
from headgate.engine import hooks as hook_calls
from headgate.engine.effects import Call, Steps, Twin

if TYPE_CHECKING:
    from headgate.results import ResultRecord, ResultStore

__all__ = [
    "AsyncTransaction",
    "BaseTransaction",
    "CommitMode",
    "IsolationLevel",
    "Transaction",
    "TransactionState",
    "atransaction",
    "get_transaction",
    "transaction",
]

#: Hears that a transaction was committed or rolled back; may be async.
TransactionHook = Callable[..., Any]


class _Case(enum.StrEnum):
    """Reads its values whatever their case."""

    @classmethod
    def _missing_(cls, value: object) -> _Case | None:
        return next((one for one in cls if one.value == str(value).upper()), None)


class IsolationLevel(_Case):
    """How far transactions with one key are kept apart."""

    READ_COMMITTED = "READ_COMMITTED"
    """They may run at once; what is read was committed."""
    SERIALIZABLE = "SERIALIZABLE"
    """One runs at a time; the others wait, and then find its result."""


class CommitMode(_Case):
    """When a transaction is committed."""

    EAGER = "EAGER"
    """At its end, whatever becomes of the one around it."""
    LAZY = "LAZY"
    """With the one around it; at its end where there is none."""
    OFF = "OFF"
    """When somebody says so; without that it is rolled back."""


class TransactionState(_Case):
    """Where a transaction stands."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    COMMITTED = "COMMITTED"
    ROLLED_BACK = "ROLLED_BACK"


class BaseTransaction:
    """What the two kinds of transaction have in common; made by ``transaction``.

    Args:
        key: Where its result is kept. Default: nowhere.
        store: Keeps the result.
        commit_mode: When it is committed. Default: as the transaction around it; else lazily.
        isolation_level: How far it is kept apart from others with its key. Default: as the
            transaction around it; else ``READ_COMMITTED``.
        overwrite: Whether an earlier result under the key counts for nothing.
        write_on_commit: Whether the result is written.
        logger: Takes what is logged of it.
        parent: The transaction around it.
        metadata: For users.
    """

    #: What to do where nothing locks the key of a serializable one.
    lock_remedy = (
        "give the store a lock manager, as in ResultStore(lock_manager=MemoryLockManager())"
    )

    def __init__(
        self,
        *,
        key: str | None = None,
        store: ResultStore | None = None,
        commit_mode: CommitMode | None = None,
        isolation_level: IsolationLevel | None = None,
        overwrite: bool = False,
        write_on_commit: bool = True,
        logger: Any = None,
        parent: BaseTransaction | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Make a transaction that has not begun.

        Raises:
            ConfigurationError: It is to be serializable, and nothing can lock its key.
        """
        self.key = key
        self.store = store
        self.parent = parent
        self.commit_mode = commit_mode or (parent.commit_mode if parent else CommitMode.LAZY)
        self.isolation_level = isolation_level or _inherited_level(parent, store)
        self.overwrite = overwrite
        self.write_on_commit = write_on_commit
        self.metadata = metadata or {}
        self.state = TransactionState.PENDING
        self.children: list[BaseTransaction] = []
        self.on_commit_hooks: list[TransactionHook] = []
        self.on_rollback_hooks: list[TransactionHook] = []
        self._logger = logger
        self._values: dict[str, Any] = {}
        self._staged: Any = None
        self._found: ResultRecord[Any] | None = None
        self._is_locked = False
        self._ending = threading.Lock()
        self._before: Any = None
        # Not the thread: coroutines share one, and a commit may come from another.
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        if self._is_serializable and (
            store is None or not store.supports_isolation_level(self.isolation_level)
        ):
            msg = (
                "A SERIALIZABLE transaction needs something that locks its key; "
                f"{self.lock_remedy}."
            )
            raise errors.ConfigurationError(msg)

    # --- What it knows ---

    def set(self, name: str, value: Any) -> None:
        """Keep a value for its hooks, and for the transactions within it."""
        self._values[name] = value

    def get(self, name: str, default: Any = ...) -> Any:
        """Return a value that was set here or further out.

        Args:
            name: Its name.
            default: Returned where it was not set. Without it that is an error.

        Raises:
            OptionValueError: It was not set, and there is no default.
        """
        around: BaseTransaction | None = self
        while around is not None:
            if name in around._values:
                return around._values[name]
            around = around.parent
        if default is ...:
            msg = f"The transaction has no value {name!r}; set it first, or give a default."
            raise errors.OptionValueError(msg)
        return default

    def get_parent(self) -> BaseTransaction | None:
        """Return the transaction around it."""
        return self.parent

    def is_pending(self) -> bool:
        """Say whether it has not begun."""
        return self.state is TransactionState.PENDING

    def is_active(self) -> bool:
        """Say whether it has begun, and has nothing to commit yet."""
        return self.state is TransactionState.ACTIVE

    def is_staged(self) -> bool:
        """Say whether it has something to commit."""
        return self.state is TransactionState.STAGED

    def is_committed(self) -> bool:
        """Say whether it was committed, by this run or an earlier one."""
        return self.state is TransactionState.COMMITTED

    def is_rolled_back(self) -> bool:
        """Say whether it was rolled back."""
        return self.state is TransactionState.ROLLED_BACK

    def stage(
        self,
        value: Any,
        on_rollback_hooks: Iterable[TransactionHook] | None = None,
        on_commit_hooks: Iterable[TransactionHook] | None = None,
    ) -> None:
        """Say what is to be written when it is committed.

        Args:
            value: The result, or a record of it.
            on_rollback_hooks: Called with the transaction when it is rolled back.
            on_commit_hooks: Called with the transaction when it is committed.
        """
        if self.is_committed():
            return
        self._staged = value
        self.on_rollback_hooks += on_rollback_hooks or []
        self.on_commit_hooks += on_commit_hooks or []
        self.state = TransactionState.STAGED

    @property
    def _is_serializable(self) -> bool:
        return self.key is not None and self.isolation_level is IsolationLevel.SERIALIZABLE

    @property
    def _is_over(self) -> bool:
        return self.state in (TransactionState.COMMITTED, TransactionState.ROLLED_BACK)

    # --- Its life, for both kinds ---

    def begin_steps(self) -> Steps[None]:
        """Begin: wait for the lock where it is serializable, and look for an earlier result."""
        self.state = TransactionState.ACTIVE
        store, key = self.store, self.key
        if store is None or key is None:
            return
        if self._is_serializable:
            self.admit(self)
            self._is_locked = yield Twin(store.acquire_lock, store.aacquire_lock, key, self.holder)
        if self.overwrite:
            return
        try:
            self._found = yield Twin(store.find, store.afind, key)
        except BaseException:
            yield from self._unlock()
            raise
        if self._found is not None:
            self.state = TransactionState.COMMITTED
            # What is there does not change any more.
            yield from self._unlock()

    def read_steps(self) -> Steps[ResultRecord[Any] | None]:
        """Read the result that is under the key."""
        if self._found is not None:
            return self._found
        if self.store is None or self.key is None:
            return None
        return (yield Twin(self.store.read, self.store.aread, self.key, self.holder))

    def end_steps(self, *, failed: bool) -> Steps[None]:
        """End the body: commit, roll back, or leave that to the transaction around."""
        if failed:
            yield from self.rollback_steps()
        elif self.commit_mode is CommitMode.EAGER:
            yield from self.commit_steps()
        parent = self.parent
        if parent is None:
            yield from self._end_alone()
            return
        if self.is_rolled_back():
            yield from parent.rollback_steps()
        elif not parent.adopt(self):
            # Submitted, and not waited for: the one around has ended without it.
            done = parent.is_committed()
            yield from self.commit_steps() if done else self.rollback_steps()

    def _end_alone(self) -> Steps[None]:
        if self.commit_mode is CommitMode.OFF:
            yield from self.rollback_steps()
        elif self.commit_mode is CommitMode.LAZY:
            yield from self.commit_steps()

    def adopt(self, child: BaseTransaction) -> bool:
        """Take a transaction that has ended, to be committed with this one, if that is to come."""
        with self._ending:
            if self._is_over and not self._was_found:
                return False
            self.children.append(child)
            return True

    @property
    def _was_found(self) -> bool:
        """Whether it was committed before it began; its body runs all the same."""
        return self._found is not None

    def admit(self, child: BaseTransaction) -> None:
        """Check, before it locks its key, that a transaction can end within this one.

        Raises:
            ConfigurationError: It cannot.
        """
        if self.parent is not None:
            self.parent.admit(child)

    def commit_steps(self) -> Steps[bool]:
        """Commit what is within, then this one; says whether it is committed."""
        if self._is_over:
            if self._was_found:
                yield from self._commit_children()
            yield from self._unlock()
            return False
        try:
            yield from self._commit_children()
            yield from self._run_hooks(self.on_commit_hooks, "commit")
            if self.write_on_commit and self.store is not None and self.key is not None:
                yield from self._write(self.store, self.key)
        except Exception as error:  # hooks and storages are code of the user's
            self.log(
                logging.ERROR,
                "Transaction %s could not be committed and is rolled back: %s",
                self.key or "without a key",
                error,
                exc_info=error,
            )
            yield from self.rollback_steps()
            return False
        self._finish(TransactionState.COMMITTED)
        yield from self._unlock()
        return True

    def _commit_children(self) -> Steps[None]:
        for child in self.children:
            yield from child.commit_steps()

    def _write(self, store: ResultStore, key: str) -> Steps[None]:
        from headgate.results import ResultRecord

        record = self._staged
        if not isinstance(record, ResultRecord):
            yield Twin(store.write, store.awrite, record, key, None, self.holder)
            return
        persist = functools.partial(store.persist_result_record, record, self.holder, key=key)
        apersist = functools.partial(store.apersist_result_record, record, self.holder, key=key)
        yield Twin(persist, apersist)

    def rollback_steps(self) -> Steps[bool]:
        """Roll back this one, then what is within, the last first; says whether it is."""
        if self.is_rolled_back() or (self._is_over and not self._was_found):
            return False
        if not self._was_found:
            yield from self._run_hooks(list(reversed(self.on_rollback_hooks)), "rollback")
            self._finish(TransactionState.ROLLED_BACK)
        for child in reversed(self.children):
            yield from child.rollback_steps()
        yield from self._unlock()
        return not self._was_found

    def _finish(self, state: TransactionState) -> None:
        with self._ending:
            self.state = state
        self._staged = None

    def _unlock(self) -> Steps[None]:
        if self._is_locked and self.store is not None and self.key is not None:
            self._is_locked = False
            try:
                yield Twin(self.store.release_lock, None, self.key, self.holder)
            except errors.LockError as error:
                self.log(logging.WARNING, "%s", error)

    def _run_hooks(self, hooks: list[TransactionHook], kind: str) -> Steps[None]:
        for hook in hooks:
            name = getattr(getattr(hook, "func", hook), "__name__", type(hook).__name__)
            try:
                yield Call(hook, (self,))
            except Exception as error:  # a hook is code of the user's
                wrong = hook_calls.misfit(hook, "transaction")
                if wrong is not None:
                    if kind == "commit":
                        raise errors.OptionTypeError(f"The on_commit hook {wrong}") from None
                    self.log(logging.ERROR, "The on_%s hook %s", kind, wrong)
                else:
                    text = "The on_%s hook %r raised: %s"
                    self.log(logging.ERROR, text, kind, name, error, exc_info=error)
                if kind == "commit":
                    raise

    def log(self, level: int, text: str, *args: Any, exc_info: BaseException | None = None) -> None:
        """Log something about the transaction, with the run that it belongs to."""
        logger = self._logger
        if logger is None:
            from headgate.logging import get_logger, get_run_logger

            try:
                logger = get_run_logger()
            except errors.MissingContextError:
                logger = get_logger("headgate.transactions")
        logger.log(level, text, *args, exc_info=exc_info)

    def _enter(self) -> None:
        self._before = contexts.enter_transaction(self)

    def _leave(self) -> None:
        contexts.enter_transaction(self._before)
        self._before = None

    @classmethod
    def get_active(cls) -> BaseTransaction | None:
        """Return the transaction that is under way here."""
        return get_transaction()


class Transaction(BaseTransaction):
    """A transaction of sync code; also a ``with`` block by itself."""

    def begin(self) -> None:
        """Begin; waits for the lock where it is serializable."""
        effects.drive(self.begin_steps())

    def read(self) -> ResultRecord[Any] | None:
        """Return the record under the key; None where there is no key.

        Raises:
            MissingResult: There is none yet.
        """
        return effects.drive(self.read_steps())

    def commit(self) -> bool:
        """Commit what is within, and this; says whether it is committed now by that."""
        return effects.drive(self.commit_steps())

    def rollback(self) -> bool:
        """Roll back this, and what is within; says whether it is rolled back now by that."""
        return effects.drive(self.rollback_steps())

    def __enter__(self) -> Self:
        """Begin."""
        self.begin()
        self._enter()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Commit, or roll back because of an exception."""
        self._leave()
        effects.drive(self.end_steps(failed=error is not None))


class AsyncTransaction(BaseTransaction):
    """A transaction of async code; also an ``async with`` block by itself."""

    async def begin(self) -> None:
        """Begin; waits for the lock where it is serializable."""
        await effects.drive_async(self.begin_steps())

    async def read(self) -> ResultRecord[Any] | None:
        """Return the record under the key; None where there is no key.

        Raises:
            MissingResult: There is none yet.
        """
        return await effects.drive_async(self.read_steps())

    async def commit(self) -> bool:
        """Commit what is within, and this; says whether it is committed now by that."""
        return await effects.drive_async(self.commit_steps())

    async def rollback(self) -> bool:
        """Roll back this, and what is within; says whether it is rolled back now by that."""
        return await effects.drive_async(self.rollback_steps())

    async def __aenter__(self) -> Self:
        """Begin."""
        await self.begin()
        self._enter()
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """Commit, or roll back because of an exception."""
        self._leave()
        await effects.drive_async(self.end_steps(failed=error is not None))


def get_transaction() -> BaseTransaction | None:
    """Return the transaction that is under way here: a block's, or that of the task run."""
    found = contexts.current_transaction()
    task = contexts.TaskRunContext.get()
    if task is None or (found is not None and found is not task.around):
        return found
    from headgate.engine import task_transactions

    # A plain task has none until somebody asks.
    return task_transactions.of(task)


@explained
@contextlib.contextmanager
def transaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: Any = None,
) -> Generator[Transaction]:
    """Open a transaction for the length of a ``with`` block.

    Args:
        key: Where its result is kept, and an earlier one is found. Default: nowhere.
        store: Keeps the result. Default: the store of the run that is executing here.
        commit_mode: When it is committed. Default: as the transaction around it; else lazily.
        isolation_level: How far it is kept apart from others with its key. Default: as the
            transaction around it; else ``READ_COMMITTED``.
        overwrite: Whether an earlier result under the key counts for nothing.
        write_on_commit: Whether the result is written.
        logger: Takes what is logged of it. Default: that of the run.

    Yields:
        The transaction.

    Raises:
        ConfigurationError: It is to be serializable, and nothing can lock its key.
    """
    made = Transaction(
        key=_options.checked_text(key, "key"),
        store=_store(key, store),
        commit_mode=_options.one_of(commit_mode, CommitMode, "commit_mode"),
        isolation_level=_options.one_of(isolation_level, IsolationLevel, "isolation_level"),
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        logger=logger,
        parent=get_transaction(),
    )
    with made:
        yield made


@explained
@contextlib.asynccontextmanager
async def atransaction(
    key: str | None = None,
    store: ResultStore | None = None,
    commit_mode: CommitMode | None = None,
    isolation_level: IsolationLevel | None = None,
    overwrite: bool = False,
    write_on_commit: bool = True,
    logger: Any = None,
) -> AsyncGenerator[AsyncTransaction]:
    """Open a transaction for the length of an ``async with`` block; see ``transaction``.

    Yields:
        The transaction.
    """
    made = AsyncTransaction(
        key=_options.checked_text(key, "key"),
        store=_store(key, store),
        commit_mode=_options.one_of(commit_mode, CommitMode, "commit_mode"),
        isolation_level=_options.one_of(isolation_level, IsolationLevel, "isolation_level"),
        overwrite=overwrite,
        write_on_commit=write_on_commit,
        logger=logger,
        parent=get_transaction(),
    )
    async with made:
        yield made


def _store(key: str | None, store: ResultStore | None) -> ResultStore | None:
    if key is None and store is None:
        return None
    from headgate.results import ResultStore, get_result_store

    if store is not None:
        if not isinstance(store, ResultStore):
            msg = f"store is {store!r}; use a ResultStore of headgate.results."
            raise errors.OptionTypeError(msg)
        return store

    return get_result_store()


def _inherited_level(parent: BaseTransaction | None, store: ResultStore | None) -> IsolationLevel:
    """Return the level of the transaction around, where the store can do it."""
    level = parent.isolation_level if parent is not None else IsolationLevel.READ_COMMITTED
    if store is None or not store.supports_isolation_level(level):
        return IsolationLevel.READ_COMMITTED
    return level
