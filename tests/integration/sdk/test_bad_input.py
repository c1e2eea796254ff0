"""What is wrong is said by an error of ours, in the place of the user, with what to do about it."""

import asyncio
import dataclasses
import errno
import os
import pathlib
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pydantic
import pytest

from headgate import context, flow, settings, task, transactions
from headgate import parameters as parameter_codec
from headgate.api.v1 import server_service_pb2
from headgate.blocks.system import Secret
from headgate.client import channel, compatibility, orchestration
from headgate.core import errors
from headgate.deployments import run_deployment
from headgate.engine import claimed, process
from headgate.engine.creation import LOSSY_LABEL
from headgate.logging import handlers
from headgate.task_runners import ProcessPoolTaskRunner
from headgate_server.app import App
from headgate_server.settings import Settings
from tests import processes

HERE = __file__


@task
def adds(x: int) -> int:
    return x + 1


@flow
def etl(x: int = 1) -> int:
    return adds(x)


# --- Servers that are not there, or are no servers of ours --------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults: Any = process.link.__kwdefaults__
    monkeypatch.setitem(defaults, "connect_timeout_seconds", 0.05)
    monkeypatch.setattr(compatibility, "_checked", set())


@pytest.fixture
def at(impatient: None) -> Iterator[Callable[[str], Any]]:
    """Returns settings for a server at an address; ends what was begun with it."""
    used: list[str] = []

    def make(api_url: str) -> Any:
        used.append(api_url)
        return settings.temporary_settings({"api_url": api_url})

    yield make
    for api_url in used:
        process.stop_links(0.1, api_url=api_url)


class OfAnotherVersion(grpc.GenericRpcHandler):
    """Says that it speaks another contract, and knows nothing else."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        if not handler_call_details.method.endswith("/GetServerInfo"):
            return None
        answer = server_service_pb2.GetServerInfoResponse(
            version="9.0.0", api_versions=["headgate.api.v9"]
        )
        return grpc.unary_unary_rpc_method_handler(
            lambda _request, _context: answer,
            request_deserializer=server_service_pb2.GetServerInfoRequest.FromString,
            response_serializer=server_service_pb2.GetServerInfoResponse.SerializeToString,
        )


@pytest.fixture
def newer(tmp_path: Path) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[OfAnotherVersion()])
    server.add_insecure_port(f"unix:{tmp_path / 's'}")
    server.start()
    yield f"unix://{tmp_path / 's'}"
    server.stop(0).wait()


@pytest.fixture
def web_server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_flow_without_its_server_says_where_it_looked_and_what_to_do(at: Any, tmp_path: Path):
    with at(f"unix://{tmp_path / 'nobody'}"), pytest.raises(errors.Unavailable) as caught:
        etl()
    assert f"unix://{tmp_path / 'nobody'} cannot be reached" in str(caught.value)
    assert "check that it runs, and that HEADGATE_API_URL is its address" in str(caught.value)
    assert places(caught.value) == [
        (HERE, "test_a_flow_without_its_server_says_where_it_looked_and_what_to_do")
    ]
    assert "direct cause" not in shown(caught.value)


@pytest.mark.parametrize(
    "api_url", ["htp://127.0.0.1:4200", "127.0.0.1:99999", "http://h/api", "unix://", "http://a b"]
)
def test_an_address_with_a_typo_is_shown_with_good_ones(at: Any, api_url: str):
    with at(api_url):
        with pytest.raises(errors.InvalidArgument, match=r"http://127\.0\.0\.1:4200") as caught:
            etl()
        assert repr(api_url) in str(caught.value)
        with (
            pytest.raises(errors.InvalidArgument, match="api_url"),
            orchestration.get_client(sync_client=True),
        ):
            pass


def test_a_flow_at_a_server_of_another_version_says_which(at: Any, newer: str):
    with at(newer), pytest.raises(errors.VersionMismatch, match=r"9\.0\.0 .*headgate\.api\.v9"):
        etl()


def test_a_call_to_a_server_of_another_version_says_which(at: Any, newer: str):
    with (
        at(newer),
        orchestration.get_client(sync_client=True) as client,
        pytest.raises(errors.VersionMismatch, match="install a version of headgate that fits"),
    ):
        client.read_flows()


def test_a_method_that_is_not_there_is_told_with_the_server(newer: str):
    updates = {"api_url": newer, "client_server_version_check_enabled": False}
    with (
        settings.temporary_settings(updates),
        orchestration.get_client(sync_client=True) as client,
        pytest.raises(errors.Unsupported, match="of another version, or no server of Headgate"),
    ):
        client.read_flows()


@pytest.mark.parametrize(
    ("scheme", "said"),
    [("http", "does not speak HTTP/2"), ("https", "does not speak TLS; use http://")],
)
def test_another_server_at_the_address_is_told_from_one_of_ours(
    at: Any, web_server: str, scheme: str, said: str
):
    with at(f"{scheme}://{web_server}"), pytest.raises(errors.Unavailable, match=said):
        etl()


def test_a_certificate_that_is_not_trusted_leads_to_the_setting():
    class Failed(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAVAILABLE

        def details(self) -> str:
            return (
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls "
                "handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: "
                "CERTIFICATE_VERIFY_FAILED: self signed certificate: OK"
            )

    said = str(channel.error_of(Failed(), "https://h"))
    assert "the certificate is not accepted" in said
    assert "HEADGATE_API_TLS_CA_FILE" in said


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.read_flow_runs(state_types="x y"), "read_flow_runs was given something"),
        (lambda c: c.create_variable(name=object(), value=1), "use a VariableCreate of"),
        (lambda c: c.read_flow(flow=1), "argument 'flow'; the call is read_flow"),
        (lambda c: c.read_flow(), "missing 1 .*; the call is read_flow"),
    ],
)
def test_what_a_call_of_the_client_cannot_send_is_an_error_of_ours(
    server: Any, call: Callable[[Any], Any], said: str
):
    with pytest.raises(errors.HeadgateError, match=said) as caught:
        call(server)
    assert isinstance(caught.value, TypeError)


def test_a_client_that_is_not_open_says_how_to_open_it():
    with pytest.raises(errors.UsageError, match="use it in a `with` block"):
        orchestration.get_client(sync_client=True, api_url="unix:///x").read_flows()


# --- Settings and databases ---------------------------------------------------------------------


def run_script(folder: Path, **environment: str) -> str:
    """Run a script with a flow in a folder; return what it prints."""
    script = folder / "script.py"
    script.write_text("from headgate import flow\n\n@flow\ndef f(): ...\n\nf()\n")
    ran = processes.Process(
        [str(script)],
        log=folder / "log",
        env={"HEADGATE_HOME": str(folder / "home"), "PYTHONPATH": str(folder), **environment},
    )
    with processes.running(ran):
        assert ran.wait() == 1
        return ran.output()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HEADGATE_PROFILE": "nope"}, "NotFound: There is no profile 'nope'; `headgate profile"),
        ({"HEADGATE_LOGGING_LEVEL": "LOUD"}, "HEADGATE_LOGGING_LEVEL: must be one of CRITICAL"),
        ({"HEADGATE_TASKS_DEFAULT_RETRIES": "x"}, "RETRIES: must be a whole number, not 'x'"),
        ({"HEADGATE_HOME": "/proc/nowhere"}, "The folder /proc/nowhere cannot be written"),
        ({"HEADGATE_SERVER_DATABASE_URL": "sqlite:////tmp"}, "/tmp is a folder; name a file in"),
    ],
)
def test_a_script_with_a_wrong_setting_ends_with_its_name_and_no_page_of_ours(
    tmp_path: Path, environment: dict[str, str], said: str
):
    output = run_script(tmp_path, **environment)
    assert said in output
    assert output.count("Traceback") == 1
    first = output.partition("Traceback")[2].splitlines()[1]
    assert "script.py" in first
    assert output.count("sdk/headgate/") <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content"),
    [("profiles.toml", b'active = "x'), ("profiles.toml", b"\xff\xfe"), ("profiles.toml", None)],
    ids=["no TOML", "no text", "a folder"],
)
def test_a_file_of_settings_that_cannot_be_read_is_named(
    tmp_path: Path, file: str, content: bytes | None
):
    home = tmp_path / "home"
    home.mkdir()
    if content is None:
        (home / file).mkdir()
    else:
        (home / file).write_bytes(content)
    output = run_script(tmp_path, HEADGATE_PROFILE="mine")
    assert f"{home / file}: cannot be read" in output
    assert "mend it, or move it away" in output


async def opens(url: str, folder: Path) -> None:
    """Start a server on a database, and stop it; what is raised comes out of its groups."""
    problem: Exception | None = None
    try:
        async with App(Settings(database_url=url, unix_socket=folder / "s")).running():
            pass
    except Exception as raised:
        problem = raised
    while isinstance(problem, ExceptionGroup):
        problem = problem.exceptions[0]
    if problem is not None:
        raise problem


async def test_a_database_that_cannot_be_one_is_named_with_the_reason(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("nothing that a database begins with " * 100)
    with pytest.raises(errors.InvalidArgument, match=f"{tmp_path} is a folder; name a file in it"):
        await opens(f"sqlite:///{tmp_path}", tmp_path)
    with pytest.raises(errors.InvalidArgument, match="see to its folder, or name a file elsewhere"):
        await opens(f"sqlite:///{file}/db", tmp_path)
    with pytest.raises(errors.Unavailable, match="is no database of SQLite; name another file"):
        await opens(f"sqlite:///{file}", tmp_path)


# --- What cannot be sent or kept ----------------------------------------------------------------


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


@dataclasses.dataclass
class Account:
    login: Login


SECRET = pydantic.SecretStr("hunter2")


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (SECRET, r"Secret\(value=...\).save\('a-name'\)"),
        ([{"a": SECRET}], "pass that block"),
        (Login(password=SECRET), "pass that block"),
        (Account(Login(password=SECRET)), "pass that block"),
        (pydantic.SecretBytes(b"hunter2"), "pass that block"),
        (pydantic.Secret[int](7), "pass that block"),
        (Secret(value=SECRET), r"this Secret is not saved, .* call its save\('a-name'\) first"),
        ({"a": [Secret(value=SECRET)]}, "is not saved"),
    ],
    ids=["str", "nested", "model", "dataclass", "bytes", "int", "block", "nested block"],
)
def test_a_secret_is_not_sent_masked_but_refused(value: Any, remedy: str):
    with pytest.raises(errors.ParameterTypeError, match=f"Parameter 'token' .*{remedy}") as caught:
        run_deployment("etl/nightly", parameters={"token": value})
    assert "hunter2" not in str(caught.value)


def test_ten_stars_that_are_no_secret_are_sent():
    stars = "*" * 10
    sent = parameter_codec.encode({"a": stars, "b": {"c": [stars]}, "d": Path(stars)})
    assert parameter_codec.decode(sent) == {"a": stars, "b": {"c": [stars]}, "d": stars}


@pytest.mark.usefixtures("server")
def test_a_run_by_hand_takes_a_secret_and_is_not_gone_on_with_by_its_mask():
    @flow
    def logs_in(token: pydantic.SecretStr) -> tuple[str, Any]:
        run = context.FlowRunContext.get()
        assert run is not None
        return token.get_secret_value(), run.flow_run

    value, run = logs_in(SECRET)
    assert value == "hunter2"
    assert run.parameters == {"token": '"**********"'}
    assert run.labels[LOSSY_LABEL] == "token"
    with pytest.raises(errors.ParameterTypeError, match="called with token"):
        claimed.check(run)


def test_an_argument_that_cannot_be_sent_is_named():
    lock = threading.Lock()
    with pytest.raises(errors.ParameterTypeError, match=r"Parameter 'x' .* lock has no JSON form"):
        run_deployment("etl/nightly", parameters={"x": lock})
    with pytest.raises(errors.SerializationError, match="Argument 'x' of task 'adds'") as told:
        adds.delay(lock)  # pyright: ignore[reportArgumentType]  # wrong on purpose
    assert "direct cause" not in shown(told.value)


def kept_by(storage: Path) -> Any:
    @task(persist_result=True, result_storage=storage, result_storage_key="kept")
    def keeps() -> str:
        return "made"

    @flow
    def keeping() -> str:
        return keeps()

    return keeping


def logged(capsys: pytest.CaptureFixture[str], run: Callable[[], Any]) -> tuple[Any, str]:
    handlers.set_up(force=True)
    result = run()
    return result, capsys.readouterr().err


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("content", [b"", b"garbage", b'{"metadata', None])
def test_a_kept_result_that_is_damaged_is_made_anew_and_told_of(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
):
    if content is None:
        (tmp_path / "kept").mkdir()
    else:
        (tmp_path / "kept").write_bytes(content)
    result, said = logged(capsys, kept_by(tmp_path))
    assert result == "made"
    assert "An earlier result is not used: " in said
    assert "WARNING" in said


@pytest.mark.usefixtures("server")
def test_a_place_for_results_that_is_no_folder_is_told_of_and_the_result_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("")
    result, said = logged(capsys, kept_by(tmp_path / "file" / "results"))
    assert result == "made"
    assert f"cannot be written in {tmp_path / 'file' / 'results'}" in said


@pytest.mark.usefixtures("server")
def test_a_full_disk_costs_the_kept_result_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    write = pathlib.Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.is_relative_to(tmp_path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    result, said = logged(capsys, kept_by(tmp_path))
    assert result == "made"
    assert "The result is not kept: " in said
    assert "No space left on device" in said


# --- Tracebacks ---------------------------------------------------------------------------------


def places(error: BaseException) -> list[tuple[str, str]]:
    return [(f.filename, f.name) for f in traceback.extract_tb(error.__traceback__)]


def shown(error: BaseException) -> str:
    """The exception as Python shows it where nobody handles it."""
    return "".join(traceback.format_exception(error))


@task
def breaks() -> None:
    raise KeyError("broken")


@task
async def abreaks() -> None:
    raise KeyError("broken")


@task
def yields() -> Generator[int]:
    yield 1
    raise KeyError("broken")


@task
async def ayields() -> AsyncGenerator[int]:
    yield 1
    raise KeyError("broken")


@task(isolate=True)
def isolated() -> None:
    raise KeyError("broken")


@flow
def calls() -> None:
    breaks()


@flow
def submits() -> None:
    breaks.submit().result()


@flow
def maps() -> None:
    loud.map([1, 2]).result()


@task
def loud(x: int) -> None:
    raise KeyError(x)


@flow
def calls_flow() -> None:
    calls()


@flow
def submits_flow() -> None:
    calls.submit().result()


@flow
async def awaits() -> None:
    await abreaks()


@flow
async def awaits_future() -> None:
    await abreaks.submit()


@flow
def generates() -> Generator[int]:
    yield 1
    breaks()


@flow
async def agenerates() -> AsyncGenerator[int]:
    yield 1
    await abreaks()


@flow
def isolates() -> None:
    isolated()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def pools() -> None:
    breaks.submit().result()


@flow
def commits() -> None:
    with transactions.transaction():
        breaks()


async def taken(items: Any) -> None:
    async for _ in items:
        pass


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "a task outside of flows": (breaks, "breaks"),
    "an async task outside of flows": (lambda: asyncio.run(abreaks()), "abreaks"),
    "a generator task": (lambda: list(yields()), "yields"),
    "an async generator task": (lambda: asyncio.run(taken(ayields())), "ayields"),
    "a flow": (calls, "calls breaks"),
    "a submitted task": (submits, "submits breaks"),
    "mapped tasks": (maps, "maps loud"),
    "a subflow": (calls_flow, "calls_flow calls breaks"),
    "a submitted subflow": (submits_flow, "submits_flow calls breaks"),
    "a submitted flow": (lambda: calls.submit().result(), "calls breaks"),
    "an async flow": (lambda: asyncio.run(awaits()), "awaits abreaks"),
    "an awaited future": (lambda: asyncio.run(awaits_future()), "awaits_future abreaks"),
    "a generator flow": (lambda: list(generates()), "generates breaks"),
    "an async generator flow": (
        lambda: asyncio.run(taken(agenerates())),
        "agenerates abreaks",
    ),
    "a state": (lambda: breaks(return_state=True).result(), "breaks"),
    "a transaction": (commits, "commits breaks"),
    "an isolated task": (isolates, "isolates isolated"),
    "a task in a pool of processes": (pools, "pools breaks"),
}


OF_PROCESSES = ("isolated task", "pool of processes")


def of_users(error: BaseException) -> list[str]:
    """The functions in what Python shows, from the first one that is not this test's."""
    names = [
        line.rpartition(" in ")[2]
        for line in shown(error).splitlines()
        if line.startswith('  File "') and f'"{HERE}"' in line
    ]
    return [name for name in names if name not in ("<lambda>", "taken") and "test_" not in name]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name.endswith(OF_PROCESSES) else ())
        for name in CALLS
    ],
)
def test_what_user_code_raises_is_shown_without_a_frame_of_ours(name: str):
    call, expected = CALLS[name]
    with pytest.raises(KeyError) as caught:
        call()
    assert of_users(caught.value) == expected.split()
    assert "sdk/headgate/" not in shown(caught.value)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "call",
    [
        lambda: breaks(1),  # pyright: ignore[reportCallIssue]  # wrong on purpose
        lambda: etl("x"),  # pyright: ignore[reportArgumentType]  # wrong on purpose
        lambda: etl(y=1),  # pyright: ignore[reportCallIssue]  # wrong on purpose
        lambda: flow(name="late", flow_run_name="{nope}")(adds.fn)(1),
    ],
    ids=["arguments of a task", "a type", "a name", "the name of the run"],
)
def test_a_wrong_call_is_shown_at_its_line_alone(call: Callable[[], Any]):
    with pytest.raises(errors.HeadgateError) as caught:
        call()
    assert {file for file, _ in places(caught.value)} == {HERE}
    assert "sdk/headgate/" not in shown(caught.value)


@pytest.mark.usefixtures("server")
def test_hooks_of_transactions_are_logged_with_the_users_code_first(
    capsys: pytest.CaptureFixture[str],
):
    @task
    def hooked() -> int:
        return 1

    @hooked.on_commit
    def fails(_transaction: Any) -> None:
        raise KeyError("in the hook")

    @flow
    def hooks() -> None:
        with transactions.transaction():
            hooked()

    _, said = logged(capsys, hooks)
    first = said.partition("Traceback")[2].splitlines()[1]
    assert first.endswith(", in fails")
    assert "sdk/headgate/" not in said


@pytest.mark.usefixtures("server")
def test_why_a_run_did_not_begin_is_logged_once(capsys: pytest.CaptureFixture[str]):
    state, said = logged(capsys, lambda: flow(adds.fn, name="adds")("x", return_state=True))
    assert state.is_failed()
    assert said.count("The flow run did not begin: ParameterTypeError") == 1
    assert said.count("ParameterTypeError") == 1


@pytest.mark.usefixtures("server")
def test_a_hook_that_takes_something_else_is_told_what_hooks_take(
    capsys: pytest.CaptureFixture[str],
):
    def wrong(_one: Any) -> None: ...

    async def later(_one: Any) -> None: ...

    def nothing() -> None: ...

    not_hooks: Any = [wrong, later]
    not_a_condition: Any = wrong

    @task(on_running=not_hooks, on_commit=[nothing])
    def hooked() -> None: ...

    @task(retries=1, retry_condition_fn=not_a_condition)
    def tried() -> None:
        raise ValueError("no")

    @flow(on_running=not_hooks[:1])
    def hooks() -> None:
        hooked(return_state=True)
        tried(return_state=True)

    _, said = logged(capsys, hooks)
    for_tasks = "make it a function of (task, task_run, state)."
    place = f"({HERE}:{wrong.__code__.co_firstlineno})"
    assert f"Hook 'wrong' {place} takes (_one: Any) -> None, so it could not" in said
    assert f"retry_condition_fn 'wrong' {place} takes" in said
    assert "The on_commit hook 'nothing'" in said
    assert "make it a function of (transaction)." in said
    assert said.count(for_tasks) == 3
    assert said.count("make it a function of (flow, flow_run, state).") == 1
    assert "sdk/headgate/" not in said


@pytest.mark.usefixtures("server")
def test_a_fault_of_ours_keeps_the_frames_that_lead_to_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("headgate.engine.resolve.find", None)
    with pytest.raises(TypeError, match="not callable") as caught:
        etl()
    assert "flow_engine.py" in shown(caught.value)


@pytest.mark.usefixtures("server")
def test_what_led_to_an_error_of_ours_is_shown_where_it_is_code_of_the_users(tmp_path: Path):
    from headgate import entrypoints

    (tmp_path / "broken.py").write_text("def make():\n    return 1 / 0\n\nmake()\n")

    @flow
    def loads() -> None:
        entrypoints.load("broken.py:etl", tmp_path)

    with pytest.raises(errors.ScriptError) as caught:
        loads()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "in make" in shown(caught.value)
    assert "sdk/headgate/" not in shown(caught.value)
