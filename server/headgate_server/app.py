"""A server: the composition root, the one file that knows which storage there is."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable

import anyio
import anyio.abc

from headgate.core import clock as clocks
from headgate.core import homes, ids
from headgate.core.clock import Clock
from headgate_server.parts import make_parts
from headgate_server.services import usage
from headgate_server.settings import Settings
from headgate_server.storage.holding import Hold, HolderKind
from headgate_server.storage.interface import Storage
from headgate_server.succession import Succession
from headgate_server.transport.activity import Activity
from headgate_server.transport.server import ListenError, Server

_log = logging.getLogger("headgate.server")

_MEMORY = "memory://"


class App:
    """A server: made, run, stopped. Tests run it within their own process.

    Args:
        settings: How it runs.
        clock: Where time comes from.
        new_id: Makes ids.
        rng: Where chance comes from.
        storage: Where records are kept. Default: the one that the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        new_id: Callable[[], str] = ids.new_id,
        rng: random.Random | None = None,
        storage: Storage | None = None,
    ) -> None:
        """Make it; nothing is opened yet."""
        self.settings = settings
        self._clock = clock or clocks.SystemClock()
        self._hold = _make_hold(settings) if storage is None else None
        self.storage = storage or _open(settings, self._clock, new_id, self._hold)
        self.parts = make_parts(
            settings, self.storage, self._clock, new_id=new_id, rng=rng or random.Random()
        )
        self.activity = Activity(self._clock)
        self._stopping = anyio.Event()
        self._addresses: list[str] = []

    @property
    def addresses(self) -> list[str]:
        """The addresses that it listens on, as ``HEADGATE_API_URL`` takes them."""
        return list(self._addresses)

    @property
    def target(self) -> str:
        """One address, the first."""
        return self._addresses[0]

    def stop(self) -> None:
        """Ask it to stop; ``run`` returns soon after."""
        self._stopping.set()

    async def run(
        self,
        *,
        on_ready: Callable[[], object] = lambda: None,
        tell: Callable[[str], object] = _log.info,
    ) -> None:
        """Open the database, listen, and serve until ``stop`` is called.

        Args:
            on_ready: Called when calls are answered.
            tell: Called with lines for people about what else happens at the start.

        Raises:
            DatabaseInUse: Another server has the database file.
            ListenError: An address cannot be listened on.
        """
        server = Server(self.parts.servicers, self.activity)
        # First: who finds an address taken must not have touched the database.
        self._listen_on_port(server)
        self._check_socket(server)
        try:
            with self._succession(tell) as succession:
                if not await succession.open(self.storage):
                    return
                unlisten = self.parts.notifier.attach(self.storage)
                try:
                    # Sockets only now: whoever can connect to one finds a server with a database.
                    self._listen_on_sockets(server)
                    await self._serve(server, succession, on_ready)
                finally:
                    unlisten()
        finally:
            with anyio.CancelScope(shield=True):
                await server.stop(0)
                await self.storage.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[App]:
        """Run it in the background of a block, for tests."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._run_in_group)
            try:
                yield self
            finally:
                self.stop()

    async def _run_in_group(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        await self.run(on_ready=task_status.started)

    async def _serve(
        self, server: Server, succession: Succession, on_ready: Callable[[], object]
    ) -> None:
        async with anyio.create_task_group() as tasks:
            for loop in self.parts.loops:
                tasks.start_soon(loop)
            if self.settings.idle_timeout_seconds is not None:
                tasks.start_soon(self._stop_when_idle, self.settings.idle_timeout_seconds)
            await server.start()
            if self._hold is not None:
                self._hold.announce(self._addresses)
            succession.end()
            on_ready()
            await self._stopping.wait()
            with anyio.CancelScope(shield=True):
                await server.say_not_serving()
                await self.parts.connected.drain()
                await server.stop(self.settings.shutdown_grace_seconds)
            tasks.cancel_scope.cancel()

    def _succession(self, tell: Callable[[str], object]) -> Succession:
        settings = self.settings
        # Whoever starts an embedded server has the start lock.
        is_for_home = settings.home_socket is not None and not settings.embedded
        return Succession(
            self._hold.database if self._hold is not None else None,
            embedded=settings.embedded,
            socket=settings.unix_socket if settings.embedded else settings.home_socket,
            start_lock=homes.default_home() / homes.START_LOCK_FILE if is_for_home else None,
            clock=self._clock,
            stopping=self._stopping,
            tell=tell,
        )

    def _listen_on_port(self, server: Server) -> None:
        settings = self.settings
        if settings.listens_on_tcp:
            port = server.listen_tcp(settings.host, settings.port)
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            self._addresses.append(f"http://{host}:{port}")

    def _check_socket(self, server: Server) -> None:
        settings, path = self.settings, self.settings.unix_socket
        # An embedded server at home may be there still, to be taken over from.
        if path is not None and (settings.embedded or path != settings.home_socket):
            server.check_unix(path)

    def _listen_on_sockets(self, server: Server) -> None:
        given, home = self.settings.unix_socket, self.settings.home_socket
        if given is not None:
            server.listen_unix(given)
            self._addresses.append(f"unix://{given}")
        if home is not None and home != given and not self.settings.embedded:
            try:
                server.listen_unix(home, private=True)
            except ListenError as error:
                _log.warning("Runs without HEADGATE_API_URL do not find this server. %s", error)
            else:
                self._addresses.append(f"unix://{home}")

    async def _stop_when_idle(self, timeout_seconds: float) -> None:
        while True:
            left = timeout_seconds - self.activity.idle_seconds
            if left > 0:
                await anyio.sleep(left)
            elif await self.storage.read(usage.is_in_use):
                await anyio.sleep(timeout_seconds)
            else:
                _log.info("Nobody has used the server for %g s; it stops.", timeout_seconds)
                self.stop()
                return


def _make_hold(settings: Settings) -> Hold | None:
    file = settings.database_file
    kind = HolderKind.EMBEDDED if settings.embedded else HolderKind.SERVER
    return Hold(file, kind=kind) if file is not None else None


def _open(
    settings: Settings, clock: Clock, new_id: Callable[[], str], hold: Hold | None
) -> Storage:
    url = settings.database
    if url == _MEMORY:
        from headgate_server.storage.memory import MemoryStorage

        return MemoryStorage(clock, new_id)
    # Imported here: SQLAlchemy is most of what a start takes, and a fake needs none of it.
    from headgate_server.storage.sql import open_storage

    if not settings.database_url:
        homes.default_home().mkdir(parents=True, exist_ok=True, mode=0o700)
    return open_storage(
        url,
        clock=clock,
        ids=new_id,
        migrate=settings.migrate_on_start,
        full_sync=settings.sqlite_full_sync,
        hold=hold,
    )


def upgrade_database(settings: Settings, revision: str = "head") -> str | None:
    """Bring the schema up to a revision; return the one it is at then."""
    from headgate_server.storage.sql import maintenance

    return maintenance.upgrade(settings.database, revision)


def downgrade_database(settings: Settings, revision: str) -> str | None:
    """Take the schema back to a revision; return the one it is at then."""
    from headgate_server.storage.sql import maintenance

    return maintenance.downgrade(settings.database, revision)


def reset_database(settings: Settings) -> str | None:
    """Remove all tables and make them anew; return the revision they are at."""
    from headgate_server.storage.sql import maintenance

    return maintenance.reset(settings.database)


def write_database_revision(settings: Settings, message: str) -> None:
    """Write a revision file with what the tables in the code have and the database has not."""
    from headgate_server.storage.sql import maintenance

    maintenance.new_revision(settings.database, message)


__all__ = [
    "App",
    "downgrade_database",
    "reset_database",
    "upgrade_database",
    "write_database_revision",
]
