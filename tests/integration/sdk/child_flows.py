"""Flows that the tests of child processes load."""

import asyncio
import os
import pathlib
import signal
import threading

from headgate import flow, task

_NEVER = threading.Event()


@task
def add(a: int, b: int) -> int:
    return a + b


@flow(log_prints=True)
def works(n: int, b: int = 1) -> int:
    print("at work")
    return add(n, b)


@flow
def fails() -> None:
    raise ValueError("no such thing")


@flow(retries=2, retry_delay_seconds=0.01)
def flaky(folder: str) -> str:
    attempts = pathlib.Path(folder) / "attempts"
    with attempts.open("a") as file:
        file.write("x")
    if len(attempts.read_text()) < 3:
        raise ValueError("again")
    return "done"


def heard(flow, flow_run, state) -> None:
    pathlib.Path(os.environ["HEARD"]).write_text(state.name)


@flow(on_cancellation=[heard], on_crashed=[heard])
def waits(folder: str) -> None:
    (pathlib.Path(folder) / "started").touch()
    _NEVER.wait(30)


@flow(on_cancellation=[heard], on_crashed=[heard])
async def waits_async(folder: str) -> None:
    (pathlib.Path(folder) / "started").touch()
    await asyncio.sleep(30)


@flow
async def hears_on_a_thread() -> None:
    """Get SIGTERM while the loop waits, and on a thread, so that nothing interrupts the wait."""

    def hear() -> None:
        _NEVER.wait(0.2)  # until the loop waits: nobody can be told of that
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Thread(target=hear).start()
    await asyncio.sleep(30)


waits_durably = waits.with_options(name="waits-durably", durable=True)


@flow(flow_run_name="named-{n}")
def named(n: int) -> None: ...
