"""The demo's stage: a folder with a server, a runner and the deployed pipeline."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headgate import settings
from headgate.cli import deploy, following
from headgate.cli.app import App
from headgate.cli.demo import processes
from headgate.client import embedded
from headgate.core import deployments, errors, runs

if TYPE_CHECKING:
    from headgate.client.orchestration import SyncHeadgateClient

PIPELINE = Path(__file__).with_name("pipeline.py")
FLOW = "measure_library"
NAME = "demo"
POOL = "default"
START_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A folder in which a server and a runner are up.

    Attributes:
        folder: Where everything goes. It has the form of a Headgate home, so that an embedded
            server finds the runs of the demo later.
        api_url: Where the server listens.
        client: A client of it.
        processes: What has to stay alive.
    """

    app: App
    folder: Path
    api_url: str
    client: SyncHeadgateClient
    processes: tuple[processes.Process, ...]

    def deploy(self) -> deployments.Deployment:
        """Put the pipeline into the folder and deploy it from there."""
        file = Path(shutil.copy(PIPELINE, self.folder))
        return deploy.apply(self.app, f"{file.name}:{FLOW}", NAME, POOL, path=str(self.folder))

    def ask(self, deployment: deployments.Deployment) -> runs.FlowRun:
        """Ask for a run that writes its report into the folder."""
        parameters = {"folder": str(self.folder / "report")}
        return self.client.create_flow_run_from_deployment(
            deployment.full_name, parameters=parameters
        )

    def transitions(self, run: runs.FlowRun) -> Iterator[runs.TransitionRecord]:
        """Give the transitions of a run until it has ended.

        They are received in a thread, so that a server or a runner that dies is noticed here.

        Raises:
            click.ClickException: One of them died.
        """
        received: queue.SimpleQueue[runs.TransitionRecord | Exception | None]
        received = queue.SimpleQueue()

        def receive() -> None:
            try:
                for record in following.transitions(self.client, run):
                    received.put(record)
                received.put(None)
            except Exception as error:  # whatever it is, it is raised where it is noticed
                received.put(error)

        threading.Thread(target=receive, name="headgate-demo-watch", daemon=True).start()
        while True:
            try:
                item = received.get(timeout=_LOOK_EVERY_SECONDS)
            except queue.Empty:
                for process in self.processes:
                    process.check()
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item


@contextlib.contextmanager
def set_up(
    app: App, folder: Path, tell: Callable[[str, str], None]
) -> Generator[Stage, None, None]:
    """Start a server and a runner in a folder; stop them in the end, whatever happens.

    Args:
        app: The outside world.
        folder: Where everything goes.
        tell: Called with the name of a part and what there is to say, when it is up.

    Raises:
        click.ClickException: One of them did not come up.
    """
    listen_at = embedded.socket_path(folder)
    listen_at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if processes.listens(listen_at):
        msg = f"A server runs in {folder} already; stop it, or choose another folder."
        raise click.ClickException(msg)
    api_url = f"unix://{listen_at}"
    environment = {"HEADGATE_HOME": str(folder), "HEADGATE_API_URL": api_url}
    with contextlib.ExitStack() as stack:
        stack.enter_context(settings.temporary_settings({"home": folder, "api_url": api_url}))
        server = processes.server(folder, listen_at, environment)
        stack.callback(server.stop)
        client = stack.enter_context(app.client())
        processes.wait_until(
            lambda: processes.listens(listen_at) and _answers(client),
            server,
            clock=app.clock,
            timeout_seconds=START_SECONDS,
            what="the server answers",
        )
        tell("server", api_url)
        runner = processes.runner(folder, environment)
        stack.callback(runner.stop)
        processes.wait_until(
            lambda: bool(_runners(client)),
            server,
            runner,
            clock=app.clock,
            timeout_seconds=START_SECONDS,
            what="the runner connects",
        )
        tell("runner", f"{_runners(client)[0].name}, serving the work pool {POOL!r}")
        yield Stage(
            app=app, folder=folder, api_url=api_url, client=client, processes=(server, runner)
        )


def _answers(client: SyncHeadgateClient) -> bool:
    """Say whether the server answers; it may listen while it still opens its database."""
    try:
        client.server_info()
    except errors.Unavailable:
        return False
    return True


def _runners(client: SyncHeadgateClient) -> list[deployments.Runner]:
    return client.read_runners(POOL, online_only=True)
