"""Asks for slots, waits for them, renews their leases, and gives them back.

One thread per process and server, with an event loop of its own: code that blocks and coroutines
alike hand their wishes over and wait for a future. So a lease is renewed while the code that
holds it keeps its thread, or its event loop, busy.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from headgate import settings
from headgate.client.orchestration import HeadgateClient
from headgate.concurrency._wants import Want
from headgate.core import concurrency, errors, ids
from headgate.core.concurrency import SlotAnswer, SlotRequest

T = TypeVar("T")

#: How long one call waits for slots; the place in line is kept from one to the next.
_ROUND_SECONDS = 20.0
#: How much of a lease's time passes before it is renewed.
_RENEW_AT = 0.75
_PAUSE_SECONDS = 0.5
#: How long the end of the process waits for slots to be given back.
_EXIT_SECONDS = 5.0
#: What trying again may mend.
_PASSING = (
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.ResourceExhausted,
    errors.Internal,
)


class Hold:
    """Slots that are held.

    Attributes:
        lease_id: The lease; empty where there is nothing to give back.
        want: What was wanted.
        lost: Why the lease is lost, if it is.
        missing_names: Limits that were wanted and do not exist.
    """

    def __init__(self, keeper: Keeper, want: Want, lease_id: str) -> None:
        """Note that slots are held; ``release`` gives them back."""
        self._keeper = keeper
        self.want = want
        self.lease_id = lease_id
        self.lost: errors.HeadgateError | None = None
        self.missing_names: Sequence[str] = ()
        self.renewing: asyncio.Task[None] | None = None
        self._on_lost: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def release(self) -> Future[None]:
        """Give the slots back; twice does no harm."""
        return self._keeper.submit(self._keeper.release(self))

    def when_lost(self, call: Callable[[], object] | None) -> None:
        """Call back, from another thread, when the lease is lost; at once if it is."""
        with self._lock:
            self._on_lost = call
            lost = self.lost is not None
        if lost and call is not None:
            call()

    def lose(self, error: errors.HeadgateError) -> None:
        """Note that the lease is lost."""
        with self._lock:
            self.lost = error
            call = self._on_lost
        if call is not None:
            call()


class Keeper:
    """Keeps the slots of this process on one server.

    Args:
        client: Makes a client for that server.
    """

    def __init__(self, client: Callable[[], HeadgateClient]) -> None:
        """Make it; ``start`` starts it."""
        self._make_client = client
        self._thread = threading.Thread(target=self._main, name="headgate-slots", daemon=True)
        self._has_loop = threading.Event()
        self._lock = threading.Lock()
        #: What was asked for and not answered, from any thread.
        self._asked: set[Future[Any]] = set()
        self._was_connected = False
        self._watching: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._renewals: set[asyncio.Task[None]] = set()
        self._giving_back: set[asyncio.Task[None]] = set()
        #: The limits of tags that are active; None: not known yet.
        self.tag_limits: frozenset[str] | None = None
        #: Whether it has ended, or could not begin; then another one is made.
        self.is_over = False

    # --- Called from any thread ---

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._has_loop.wait()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Let a coroutine of this keeper run; to cancel the future cancels it."""
        future: Future[T] = Future()
        with self._lock:
            if not self.is_over:
                self._asked.add(future)
                self._loop.call_soon_threadsafe(self._begin, coroutine, future)
                return future
        coroutine.close()
        future.set_exception(_ended())
        return future

    def close(self, timeout_seconds: float) -> None:
        """End it; what is held and not given back ends with its lease."""
        with self._lock:
            if not self.is_over:
                self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(timeout_seconds)

    # --- On the thread ---

    async def acquire(self, want: Want) -> Hold:
        """Take slots; wait for them.

        Raises:
            ConcurrencySlotAcquisitionError: They cannot be had.
            AcquireConcurrencySlotTimeoutError: They were not free in time.
            ControlPlaneError: The server cannot be asked.
        """
        client = await asyncio.shield(self._client)
        request_id = ids.new_id()
        started = self._loop.time()
        try:
            answer, started = await self._ask(client, want, request_id)
        except (errors.NotFound, errors.FailedPrecondition) as error:
            raise errors.ConcurrencySlotAcquisitionError(
                f"Cannot acquire slots of {_quoted(want.names)}: {error}"
            ) from None  # which says no more, and is not the user's business
        except BaseException as error:
            if isinstance(error, _PASSING) and not self._was_connected:
                raise  # nobody heard of us
            # Whoever is behind in line must not wait for us.
            self._own(self._giving_back, self._give_back(client, request_id))
            raise
        if answer.missing_names and not want.is_quiet:
            want.logger.warning(
                "Concurrency limits %s do not exist, so nothing is limited by them; make them "
                "with `headgate gcl create NAME --limit N`.",
                _quoted(answer.missing_names),
            )
        hold = Hold(self, want, "" if answer.lease is None else answer.lease.id)
        hold.missing_names = answer.missing_names
        if hold.lease_id:
            hold.renewing = self._own(self._renewals, self._renew(client, hold, started))
        return hold

    async def release(self, hold: Hold) -> None:
        """Give slots back."""
        lease_id, hold.lease_id = hold.lease_id, ""
        if hold.renewing is not None:
            hold.renewing.cancel()
        if lease_id and hold.lost is None:
            client = await asyncio.shield(self._client)
            # Goes on if whoever waits for it gives up.
            await asyncio.shield(self._own(self._giving_back, self._give_back(client, lease_id)))

    async def watch_tags(self) -> frozenset[str]:
        """Return which limits of tags are active, and follow from now on which are."""
        client = await asyncio.shield(self._client)
        if self.tag_limits is None:
            if self._watching is None or self._watching.done():
                self._tags_known: asyncio.Future[None] = self._loop.create_future()
                self._watching = self._tasks.create_task(self._watch_tags(client))
            await asyncio.shield(self._tags_known)
        assert self.tag_limits is not None
        return self.tag_limits

    def _main(self) -> None:
        loop = asyncio.new_event_loop()
        # Never closed: grpc.aio has one poller for all loops of a process, and what it has left
        # for a loop that is closed becomes an error of the others, such as the link's.
        _loops.append(loop)
        loop.set_exception_handler(_on_loop_error)
        try:
            loop.run_until_complete(self._run())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            self._end()
            self._has_loop.set()

    def _end(self) -> None:
        """Begin nothing more, and let nobody wait for ever."""
        with self._lock:
            self.is_over = True
            asked, self._asked = self._asked, set()
        for future in asked:
            if future.set_running_or_notify_cancel():
                future.set_exception(_ended())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._client: asyncio.Future[HeadgateClient] = self._loop.create_future()
        async with asyncio.TaskGroup() as self._tasks:
            self._has_loop.set()
            try:
                async with self._make_client() as client:
                    self._client.set_result(client)
                    await self._closing.wait()
                    await self._settle()
            except errors.HeadgateError as error:
                self._client.set_exception(error)
                self._client.exception()  # whether or not somebody waits for it
                with self._lock:
                    self.is_over = True

    async def _settle(self) -> None:
        """Break off what waits, and finish giving back."""
        with self._lock:
            self.is_over = True
            asked = set(self._asked)
        for future in asked:
            future.cancel()
        for task in (*self._renewals, self._watching):
            if task is not None:
                task.cancel()
        for tasks in (self._answering, self._giving_back):  # the first bring some of the second
            if tasks:
                await asyncio.wait(tasks)

    def _begin(self, coroutine: Coroutine[Any, Any, Any], future: Future[Any]) -> None:
        if future.cancelled():
            coroutine.close()
            return
        task = self._own(self._answering, self._answer(coroutine, future))

        def on_done(future: Future[Any]) -> None:
            if future.cancelled():
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(task.cancel)

        future.add_done_callback(on_done)

    async def _answer(self, coroutine: Coroutine[Any, Any, Any], future: Future[Any]) -> None:
        """Run a coroutine and hand its end over; slots that nobody wants are given back."""
        try:
            value = await coroutine
        except BaseException as error:  # handed to who waits
            if not isinstance(error, asyncio.CancelledError) and self._take(future):
                future.set_exception(error)
            return
        if self._take(future):
            future.set_result(value)
        elif isinstance(value, Hold):
            await self.release(value)

    def _take(self, future: Future[Any]) -> bool:
        """Say whether somebody still waits for a future."""
        with self._lock:
            self._asked.discard(future)
        return future.set_running_or_notify_cancel()

    def _own(self, tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> Any:
        task = self._tasks.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def _ask(
        self, client: HeadgateClient, want: Want, request_id: str
    ) -> tuple[SlotAnswer, float]:
        """Ask until slots are given; return the answer and when it was asked for."""
        deadline = (
            None if want.timeout_seconds is None else self._loop.time() + want.timeout_seconds
        )
        rounds = 0
        while True:
            started = self._loop.time()
            left = _ROUND_SECONDS if deadline is None else max(0.0, deadline - started)
            is_last = want.max_retries is not None and rounds >= want.max_retries
            wait_seconds = 0.0 if is_last else min(left, _ROUND_SECONDS)
            try:
                answer = await client.acquire_slots(_request(want, request_id, wait_seconds))
            except _PASSING:
                # Once it was there, a server that is away is waited for, as it is for runs.
                if not self._was_connected or not left:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self._was_connected = True
            if answer.acquired:
                return answer, started
            _refuse(
                want,
                is_last=is_last,
                is_late=deadline is not None and self._loop.time() >= deadline,
            )
            rounds += 1

    async def _renew(self, client: HeadgateClient, hold: Hold, started: float) -> None:
        """Renew a lease until it is cancelled or lost."""
        lease_seconds, lease_id = hold.want.lease_seconds, hold.lease_id
        while True:
            await asyncio.sleep(started + lease_seconds * _RENEW_AT - self._loop.time())
            ends, started = started + lease_seconds, self._loop.time()
            try:
                async with asyncio.timeout_at(ends):
                    await self._renew_once(client, lease_id)
            except TimeoutError:
                self._lose(hold, errors.DeadlineExceeded("The server could not be asked in time."))
                return
            except errors.HeadgateError as error:
                self._lose(hold, error)
                return

    async def _renew_once(self, client: HeadgateClient, lease_id: str) -> None:
        while True:
            try:
                await client.renew_slots(lease_id)
            except _PASSING:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    def _lose(self, hold: Hold, error: errors.HeadgateError) -> None:
        want = hold.want
        if want.raises_on_loss:
            want.logger.error(
                "The slots of %s are lost, and with them what needs them ends: %s",
                _quoted(want.names),
                error,
            )
        else:
            want.logger.warning(
                "The slots of %s are lost; the code that holds them goes on, and the limits may "
                "be exceeded: %s",
                _quoted(want.names),
                error,
            )
        hold.lose(error)

    async def _give_back(self, client: HeadgateClient, lease_id: str) -> None:
        # Slots that cannot be given back come back by themselves when their lease ends.
        with contextlib.suppress(errors.HeadgateError):
            await client.release_slots(lease_id)

    async def _watch_tags(self, client: HeadgateClient) -> None:
        following = client.watch_active_limits(concurrency.TAG_PREFIX)
        try:
            async with contextlib.aclosing(following):
                async for names in following:
                    self.tag_limits = names
                    if not self._tags_known.done():
                        self._tags_known.set_result(None)
        except errors.HeadgateError as error:
            self.tag_limits = None
            if not self._tags_known.done():
                self._tags_known.set_exception(error)


def _request(want: Want, request_id: str, wait_seconds: float) -> SlotRequest:
    return SlotRequest(
        id=request_id,
        names=want.names,
        slots=want.slots,
        mode=want.mode,
        lease_seconds=want.lease_seconds,
        wait_seconds=wait_seconds,
        strict=want.strict,
        holder=want.holder,
    )


def _refuse(want: Want, *, is_last: bool, is_late: bool) -> None:
    if is_late:
        raise errors.AcquireConcurrencySlotTimeoutError(
            f"Slots of {_quoted(want.names)} did not become free within "
            f"{want.timeout_seconds:g} second(s); give it more time, or raise the limit."
        )
    if is_last:
        raise errors.ConcurrencySlotAcquisitionError(
            f"Slots of {_quoted(want.names)} were not free, and max_retries="
            f"{want.max_retries} is used up; allow more, or raise the limit."
        )


def _ended() -> errors.Unavailable:
    return errors.Unavailable("This process is ending; it acquires no more slots.")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)


_loops: list[asyncio.AbstractEventLoop] = []


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of what the poller has for the closed loop of somebody else."""
    error = context.get("exception")
    if not (isinstance(error, RuntimeError) and "closed" in str(error)):
        loop.default_exception_handler(context)


# --- The keepers of this process ------------------------------------------------------------

_lock = threading.Lock()
#: By what the settings said: the API URL, or the home folder of the embedded server.
_keepers: dict[str, Keeper] = {}


def current() -> Keeper:
    """Return the keeper for the server of the current settings; started if there is none."""
    now = settings.current()
    key = now.api_url or f"embedded:{now.home}"
    found = _keepers.get(key)
    if found is not None and not found.is_over:
        return found
    with _lock:
        found = _keepers.get(key)
        if found is not None and not found.is_over:
            return found
        if not _keepers:
            atexit.register(close_all)
        api_url = now.api_url
        made = Keeper(lambda: HeadgateClient(api_url))
        made.start()
        _keepers[key] = made
        return made


def close_all(timeout_seconds: float = _EXIT_SECONDS) -> None:
    """End all keepers; at the end of the process by itself."""
    with _lock:
        keepers = list(_keepers.values())
        _keepers.clear()
    atexit.unregister(close_all)
    for keeper in keepers:
        keeper.close(timeout_seconds)


def _forget() -> None:
    """Begin anew in a fork: threads and connections stayed with the parent."""
    global _lock
    _lock = threading.Lock()
    _keepers.clear()


os.register_at_fork(after_in_child=_forget)

__all__ = ["Hold", "Keeper", "close_all", "current"]
