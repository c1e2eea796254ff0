"""Transactions of tasks that execute in another process.

The run of an isolated task, and so its transaction, is here; its function is there. What is called
there and has something to commit or to roll back is handed over as soon as it has ended, so that it
is committed or rolled back with the transaction here, even if the process there is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from headgate import context as contexts
from headgate import results
from headgate.core import errors
from headgate.engine import effects, shipping, task_transactions
from headgate.engine.effects import Steps
from headgate.engine.task_transactions import TaskTransaction
from headgate.transactions import (
    BaseTransaction,
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionHook,
    TransactionState,
)

if TYPE_CHECKING:
    from headgate.engine.ports import Port

__all__ = ["CarriedTask", "answer", "facts_of", "stand_in"]


class CarriedTask(contexts.TaskRunContext):
    """A task run of another process, as code in this one sees it."""

    __slots__ = ("stand_in",)

    #: Stands for its transaction, which is made where it had none.
    stand_in: BaseTransaction | None


# --- Where the function is called -----------------------------------------------------------


class StandIn(BaseTransaction):
    """Stands for the transaction of a task run in the process where its function is called.

    Args:
        port: The way to the process that has the run.
        facts: What ``facts_of`` returned there.
    """

    def __init__(self, port: Port, facts: Mapping[str, Any]) -> None:
        """Know what was set before."""
        super().__init__(
            commit_mode=CommitMode(facts["commit_mode"]),
            isolation_level=IsolationLevel(facts["isolation_level"]),
        )
        self.state = TransactionState.ACTIVE
        self._port = port
        for name, value in facts["values"].items():
            self._values[name] = shipping.load(value)

    def set(self, name: str, value: Any) -> None:
        """Keep a value, here and there."""
        self._tell(f"Value {name!r}", "set", name, value)
        super().set(name, value)

    def stage(
        self,
        value: Any,
        on_rollback_hooks: Iterable[TransactionHook] | None = None,
        on_commit_hooks: Iterable[TransactionHook] | None = None,
    ) -> None:
        """Say what is to be written when it is committed."""
        hooks = list(on_rollback_hooks or ()), list(on_commit_hooks or ())
        self._tell("What was staged in the transaction", "stage", value, *hooks)
        self.state = TransactionState.STAGED

    def admit(self, child: BaseTransaction) -> None:
        """Refuse a lock that the process of the flow run could not see, nor give back."""
        from headgate.locking.memory import MemoryLockManager

        if child.store is not None and isinstance(child.store.lock_manager, MemoryLockManager):
            msg = (
                "A SERIALIZABLE transaction within an isolated task ends in another process, so "
                "a lock in memory is not enough; use a FileSystemLockManager, or a task that is "
                "not isolated."
            )
            raise errors.ConfigurationError(msg)

    def adopt(self, child: BaseTransaction) -> bool:
        """Hand over a transaction that has ended here."""
        if not child.children and (child.is_committed() or child.is_rolled_back()):
            return True  # nothing is left to do about it
        what = "The transaction of a task" if isinstance(child, TaskTransaction) else "Transaction"
        return self._tell(what, "adopt", _packed(child))

    def rollback_steps(self) -> Steps[bool]:
        """Roll back there."""
        if self.is_rolled_back():
            return False
        self.state = TransactionState.ROLLED_BACK
        return self._tell("Transaction", "rollback")
        yield  # a generator, like all steps

    def _tell(self, what: str, verb: str, *arguments: Any) -> Any:
        data = shipping.dump_part(f"{what} within an isolated task", arguments)
        return self._port.ask("", "transaction", verb, data).result()


def stand_in(task: CarriedTask, port: Port, facts: Mapping[str, Any]) -> None:
    """Let a task run that executes here be part of its transaction there."""
    task.stand_in = StandIn(port, facts)
    if facts["is_open"]:
        task.transaction = cast("TaskTransaction", task.stand_in)


# --- Between both ---------------------------------------------------------------------------


def _packed(transaction: BaseTransaction) -> dict[str, Any]:
    """Return a transaction that waits for the one around it, as facts."""
    # What is private is so to users; this is the engine.
    one: Any = transaction
    made: dict[str, Any] = {
        "task": None,
        "options": {
            "key": one.key,
            "store": one.store,
            "commit_mode": one.commit_mode,
            "isolation_level": one.isolation_level,
            "overwrite": one.overwrite,
            "write_on_commit": one.write_on_commit,
            "metadata": one.metadata,
        },
        "attributes": {
            "state": one.state,
            "holder": one.holder,
            "on_commit_hooks": one.on_commit_hooks,
            "on_rollback_hooks": one.on_rollback_hooks,
            "_values": one._values,
            "_staged": _lean(one._staged),
            "_found": _lean(one._found),
            "_is_locked": one._is_locked,
        },
        "children": [_packed(child) for child in one.children],
    }
    if isinstance(transaction, TaskTransaction):
        from headgate.engine import carrying

        # Its arguments are of no use any more, and need not be fit to travel.
        made["task"] = {**carrying.task_facts(one.context), "args": (), "kwargs": {}}
        made["attributes"]["is_reported"] = True  # by the time that somebody looks
    return made


def _lean(staged: Any) -> Any:
    """Return a record without its result where its bytes are at hand."""
    record = cast("results.ResultRecord[Any]", staged)
    if isinstance(staged, results.ResultRecord) and record.content is not None:
        return results.ResultRecord(metadata=record.metadata, result=None, content=record.content)
    return record


def _unpacked(
    facts: Mapping[str, Any], parent: BaseTransaction, flow: contexts.FlowRunContext | None
) -> BaseTransaction:
    from headgate.engine import carrying

    options = dict(facts["options"])
    if options["store"] is not None:
        # Of the result only the bytes came along.
        options["store"].cache_result_in_memory = False
    made: BaseTransaction
    if facts["task"] is None:
        made = Transaction(parent=parent, **options)
    else:
        made = TaskTransaction(carrying.task_context(facts["task"], flow), **options)
        made.parent = parent
    for name, value in facts["attributes"].items():
        setattr(made, name, value)
    made.children = [_unpacked(child, made, flow) for child in facts["children"]]
    return made


# --- Where the run is -----------------------------------------------------------------------


def facts_of(task: contexts.TaskRunContext) -> dict[str, Any]:
    """Return what its stand-in must know of the transaction of a task run."""
    transaction = task.transaction
    values: dict[str, bytes] = {}
    around: BaseTransaction | None = transaction
    while around is not None:
        for name, value in cast("Any", around)._values.items():
            data = values.get(name) or shipping.try_dump(value)
            if data is not None:  # else it is not known there
                values[name] = data
        around = around.parent
    if transaction is None:
        mode, level = CommitMode.LAZY, IsolationLevel.READ_COMMITTED
    else:
        mode, level = transaction.commit_mode, transaction.isolation_level
    return {
        "is_open": transaction is not None,
        "commit_mode": mode.value,
        "isolation_level": level.value,
        "values": values,
    }


def answer(task: contexts.TaskRunContext | None, verb: str, data: bytes) -> Any:
    """Do what a stand-in says.

    Args:
        task: The run whose function is called there.
        verb: What to do.
        data: With what.

    Raises:
        MissingContextError: No task run is called there.
    """
    if task is None:
        msg = "There is no transaction in the process that has the flow run."
        raise errors.MissingContextError(msg)
    transaction = task_transactions.of(task)
    arguments: Sequence[Any] = shipping.load(data)
    match verb:
        case "set":
            transaction.set(*arguments)
            return None
        case "stage":
            transaction.stage(*arguments)
            return None
        case "adopt":
            return transaction.adopt(_unpacked(arguments[0], transaction, task.flow))
        case _:
            return effects.drive(transaction.rollback_steps())
