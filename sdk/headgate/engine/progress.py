"""Shows how far a long ``map`` is, to somebody who waits at a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from headgate import settings

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from headgate.futures import Future

__all__ = ["Board", "show"]

#: Fewer calls need no bar.
CALLS_MIN = 10
#: What ends sooner needs none, either.
DELAY_SECONDS = 1.0


def show(name: str, futures: Sequence[Future[Any]]) -> None:
    """Show how many of some runs have ended, if that is wanted, and if it takes long.

    Args:
        name: What runs.
        futures: The runs.
    """
    if len(futures) < CALLS_MIN or not _is_wanted():
        return
    bar = _Bar(_board, name, futures)
    timer = threading.Timer(DELAY_SECONDS, bar.begin)
    timer.daemon = True
    timer.start()


def _is_wanted() -> bool:
    match settings.current().progress:
        case "always":
            return True
        case "never":
            return False
        case _:
            # A process may have none, or have closed it.
            stream: TextIO | None = sys.stderr
            return stream is not None and not stream.closed and stream.isatty()


class Board:
    """The bars of this process, one below the other."""

    def __init__(self) -> None:
        """Show nothing yet."""
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._shown = 0

    def add(self, name: str, total: int) -> tuple[Progress, TaskID]:
        """Show a bar; returns where and which it is."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        with self._lock:
            if self._progress is None:
                self._progress = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    Remaining(compact=True, elapsed_when_finished=True),
                    console=Console(stderr=True),
                )
                self._progress.start()
            self._shown += 1
            return self._progress, self._progress.add_task(name, total=total)

    def remove(self) -> None:
        """Note that a bar is at its end; the last one that is leaves the terminal as it was."""
        with self._lock:
            self._shown -= 1
            if self._shown or self._progress is None:
                return
            progress, self._progress = self._progress, None
            progress.stop()


class _Bar:
    """The bar of one ``map``.

    Args:
        board: Where it is shown.
        name: What runs.
        futures: The runs.
    """

    def __init__(self, board: Board, name: str, futures: Sequence[Future[Any]]) -> None:
        self._board = board
        self._name = name
        self._lock = threading.Lock()
        self._total = len(futures)
        self._ended = 0
        self._where: tuple[Progress, TaskID] | None = None
        for future in futures:
            future.add_done_callback(self._on_ended)

    def begin(self) -> None:
        """Show it, unless all have ended."""
        with self._lock:
            if self._ended == self._total:
                return
            # No bar is worth the failure of a run.
            with contextlib.suppress(Exception):
                self._where = self._board.add(self._name, self._total)
                self._update()

    def _on_ended(self, _future: Future[Any]) -> None:
        with self._lock:
            self._ended += 1
            if self._where is not None:
                with contextlib.suppress(Exception):
                    self._update()

    def _update(self) -> None:
        assert self._where is not None
        progress, number = self._where
        progress.update(number, completed=self._ended)
        if self._ended == self._total:
            self._where = None
            self._board.remove()


_board = Board()
