"""What a server does about another one that has its database."""

import fcntl
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate_server import succession
from headgate_server.storage.holding import Hold, Holder, HolderKind
from headgate_server.storage.memory import MemoryStorage
from headgate_server.succession import PATIENCE_SECONDS, Move, Succession, decide

HERE = "unix:///home/ann/.headgate/server.sock"
ELSEWHERE = "unix:///home/bob/.headgate/server.sock"
TCP = "http://127.0.0.1:4200"


def holder(kind: HolderKind, *addresses: str) -> Holder:
    return Holder(pid=7, kind=kind, addresses=addresses)


SERVER, EMBEDDED, MAINTENANCE = HolderKind


@pytest.mark.parametrize(
    ("other", "address", "move"),
    [
        (None, HERE, Move.WAIT),
        (None, None, Move.WAIT),
        (holder(EMBEDDED, HERE), HERE, Move.ASK_TO_END),
        (holder(EMBEDDED), HERE, Move.WAIT),
        (holder(EMBEDDED, ELSEWHERE), HERE, Move.GIVE_UP),
        (holder(EMBEDDED, HERE), None, Move.GIVE_UP),
        (holder(SERVER, TCP, HERE), HERE, Move.GIVE_UP),
        (holder(SERVER), HERE, Move.GIVE_UP),
        (holder(MAINTENANCE), HERE, Move.GIVE_UP),
    ],
)
def test_a_server_that_was_started_by_hand(other: Holder | None, address: str | None, move: Move):
    assert decide(other, embedded=False, address=address) is move


@pytest.mark.parametrize(
    ("other", "move"),
    [
        (None, Move.WAIT),
        (holder(EMBEDDED), Move.WAIT),
        (holder(EMBEDDED, HERE), Move.WAIT),
        (holder(EMBEDDED, ELSEWHERE), Move.GIVE_UP),
        (holder(SERVER), Move.WAIT),
        (holder(SERVER, TCP, HERE), Move.WAIT),
        (holder(SERVER, TCP), Move.GIVE_UP),
        (holder(MAINTENANCE), Move.WAIT),
    ],
)
def test_an_embedded_server(other: Holder | None, move: Move):
    assert decide(other, embedded=True, address=HERE) is move


def test_nobody_but_an_embedded_server_is_ever_asked_to_end():
    for kind, addresses, embedded, address in itertools.product(
        HolderKind, [(), (HERE,), (ELSEWHERE,), (TCP, HERE)], [True, False], [HERE, None]
    ):
        move = decide(holder(kind, *addresses), embedded=embedded, address=address)
        if move is Move.ASK_TO_END:
            assert (kind, embedded, address) == (EMBEDDED, False, HERE)
            assert HERE in addresses


class HeldStorage(MemoryStorage):
    """Starts where nobody has the database; does a step whenever somebody has."""

    def __init__(self, hold: Hold, step: Callable[[], object]) -> None:
        super().__init__(ManualClock(), ids.new_id)
        self._hold = hold
        self._step = step

    async def start(self) -> None:
        try:
            self._hold.acquire()
        except errors.DatabaseInUse:
            self._step()
            raise


class Scene:
    """A database file that somebody has, and a server that wants it."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "headgate.db"
        self.socket = folder / "server.sock"
        self.start_lock = folder / "server.lock"
        self.clock = ManualClock()
        self.stopping = anyio.Event()
        self.said: list[str] = []
        self.holds: list[Hold] = []

    def held_by(self, kind: HolderKind, *, ready: bool = True) -> Hold:
        """Let somebody have the file."""
        hold = self._hold(kind)
        hold.acquire()
        if ready:
            hold.announce([f"unix://{self.socket}"])
        return hold

    async def open(self, kind: HolderKind, step: Callable[[], object]) -> bool:
        """Let a server of this kind come; do a step whenever it finds that somebody has it."""
        one = Succession(
            self.database,
            embedded=kind is EMBEDDED,
            socket=self.socket,
            start_lock=self.start_lock if kind is SERVER else None,
            clock=self.clock,
            stopping=self.stopping,
            tell=self.said.append,
        )
        with one:
            return await one.open(HeldStorage(self._hold(kind), step))

    def _hold(self, kind: HolderKind) -> Hold:
        self.holds.append(Hold(self.database, kind=kind))
        return self.holds[-1]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for hold in made.holds:
        hold.release()


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals that were sent; none arrives, for the holder is this process."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(succession.os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def in_turn(*steps: Callable[[], Any]) -> Callable[[], object]:
    """Do one step after the other, one each time, and the last one again and again."""
    left = list(steps)
    return lambda: (left.pop(0) if len(left) > 1 else left[0])()


async def test_an_embedded_server_is_asked_once_and_followed(
    scene: Scene, killed: list[tuple[int, int]]
):
    hold = scene.held_by(EMBEDDED)
    assert await scene.open(SERVER, in_turn(int, int, hold.release))
    assert killed == [(os.getpid(), signal.SIGTERM)]
    assert scene.said == [f"Took over from the embedded server (process {os.getpid()})."]


async def test_one_that_does_not_end_is_given_up_with_the_remedy(
    scene: Scene, killed: list[tuple[int, int]]
):
    scene.held_by(EMBEDDED)
    late = in_turn(int, lambda: scene.clock.advance(PATIENCE_SECONDS + 1))
    with pytest.raises(errors.DatabaseInUse, match=f"kill -9 {os.getpid()}"):
        await scene.open(SERVER, late)
    assert len(killed) == 1


async def test_one_that_still_starts_is_not_disturbed(scene: Scene, killed: list[tuple[int, int]]):
    hold = scene.held_by(EMBEDDED, ready=False)
    assert await scene.open(SERVER, in_turn(int, hold.release))
    assert (killed, scene.said) == ([], [])


async def test_an_embedded_server_waits_for_one_that_is_about_to_end(
    scene: Scene, killed: list[tuple[int, int]]
):
    hold = scene.held_by(SERVER)
    assert await scene.open(EMBEDDED, in_turn(int, int, hold.release))
    assert killed == []


async def test_a_server_that_is_stopped_waits_no_longer(scene: Scene):
    scene.held_by(SERVER)
    assert not await scene.open(EMBEDDED, scene.stopping.set)


async def test_nobody_else_starts_a_server_meanwhile(scene: Scene, killed: list[Any]):
    hold = scene.held_by(EMBEDDED)

    def is_locked() -> bool:
        with scene.start_lock.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    seen: list[bool] = []
    assert await scene.open(SERVER, in_turn(lambda: seen.append(is_locked()), hold.release))
    assert seen == [True]
    assert not is_locked()


async def test_a_start_that_somebody_else_has_begun_is_waited_for_but_not_for_ever(
    scene: Scene,
):
    with scene.start_lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.open, SERVER, int)
            await anyio.wait_all_tasks_blocked()
            assert not scene.database.with_name("headgate.db.lock").exists()
            scene.clock.advance(PATIENCE_SECONDS + 1)
