"""Tasks wait for slots of the concurrency limits of their tags before their functions are called.

Only tasks that have tags come here, and only those whose tags are limited ask the server: which
tags are is known in this process, because the server tells it with every change.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from headgate.core import errors
from headgate.core.concurrency import TAG_PREFIX, SlotHolder
from headgate.engine.effects import Effect, Steps, Wait

if TYPE_CHECKING:
    from headgate.concurrency._keeper import Hold, Keeper
    from headgate.context import TaskRunContext

__all__ = ["limited"]

LEASE_SECONDS = 60.0
#: How long slots that are given back are waited for: they come back all the same.
_RELEASE_SECONDS = 10.0
_SIGTERM = 15


class _Slots:
    """Wait for slots; a flow run that is stopped ends the wait."""

    def __init__(self, future: Future[Any], look: Callable[[], object]) -> None:
        self._future = future
        self._look = look

    def perform(self) -> Any:
        """Block."""
        from headgate.concurrency import _waiting

        return _waiting.wait(self._future, self._look)

    async def perform_async(self) -> Any:
        """Await."""
        from headgate.concurrency import _waiting

        return await _waiting.wait_async(self._future)


def limited(context: TaskRunContext, call: Effect) -> Steps[Any]:
    """Call a task's function while slots of the limits of its tags are held."""
    flow = context.flow
    if flow is None:
        return (yield call)
    keeper = flow.tag_keeper
    if keeper is None or keeper.is_over:
        from headgate.concurrency import _keeper  # loads the client: only for who has tags

        keeper = flow.tag_keeper = _keeper.current()
    hold = yield from _acquire(context, keeper)
    if hold is None:
        return (yield call)
    try:
        value = yield call
    except Exception:
        yield Wait(hold.release(), _RELEASE_SECONDS)
        raise
    except BaseException:
        hold.release()  # whatever tears the run down does not wait
        raise
    yield Wait(hold.release(), _RELEASE_SECONDS)
    return value


def _acquire(context: TaskRunContext, keeper: Keeper) -> Steps[Hold | None]:
    def look() -> None:
        if context.flow is not None and context.flow.interruption.intent is not None:
            raise errors.TerminationSignal(_SIGTERM)

    limits = keeper.tag_limits
    if limits is None:
        limits = yield _Slots(keeper.submit(keeper.watch_tags()), look)
    names = tuple([TAG_PREFIX + tag for tag in context.run_tags if TAG_PREFIX + tag in limits])
    if not names:
        return None
    from headgate.concurrency import _wants

    want = _wants.Want(
        names=names,
        lease_seconds=LEASE_SECONDS,
        holder=SlotHolder(
            type="task_run",
            id=context.id,
            flow_run_id=context.flow.flow_run.id if context.flow is not None else "",
        ),
        logger=_wants.logger_here(),
        # A limit may be deleted at any time; then there is nothing to warn about.
        is_quiet=True,
    )
    return (yield _Slots(keeper.submit(keeper.acquire(want)), look))
