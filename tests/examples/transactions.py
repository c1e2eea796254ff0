"""Transactions: tasks that take effect together, or are rolled back together.

Run it: ``python transactions.py``
"""

from __future__ import annotations

import pathlib
import tempfile

from headgate import flow, task
from headgate.transactions import transaction

FOLDER = pathlib.Path(tempfile.mkdtemp())


@task
def write(name: str, text: str) -> pathlib.Path:
    """Write a file."""
    path = FOLDER / name
    path.write_text(text)
    return path


@write.on_rollback
def remove(txn) -> None:
    """Undo it: what was written is removed again."""
    path = FOLDER / txn.get("name")
    path.unlink()
    print(f"Removed {path.name}")


@task
def check(path: pathlib.Path) -> None:
    """Refuse what is too short."""
    if len(path.read_text()) < 5:
        raise ValueError(f"{path.name} is too short")


@flow(log_prints=True)
def publish(name: str, text: str) -> None:
    """Write a file that stays only if it passes its check."""
    with transaction() as txn:
        txn.set("name", name)  # the hooks of tasks within see it
        check(write(name, text))


if __name__ == "__main__":
    publish("good.txt", "long enough")
    publish("bad.txt", "no", return_state=True)
    print("What stays:", sorted(path.name for path in FOLDER.iterdir()))
