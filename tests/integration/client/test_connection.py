"""What clients send along, how they insist, and whom they trust."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from headgate import flow, settings, task
from headgate._version import __version__
from headgate.api.v1 import server_service_pb2
from headgate.client import channel, compatibility, metadata, orchestration
from headgate.client.calls import artifacts, server, variables
from headgate.client.calls import flows as flow_calls
from headgate.client.schemas import draft_deployment
from headgate.core import errors
from headgate.testing.utilities import headgate_test_harness
from tests.integration.client.scripted import ScriptedServer

INFO = server_service_pb2.GetServerInfoResponse(
    version=__version__, api_versions=["headgate.api.v1"], database="memory"
)


class Listening(ScriptedServer):
    """Remembers what came along with each call."""

    def __init__(self, socket: Path) -> None:
        super().__init__(socket)
        self.metadata: list[dict[str, Any]] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        self.metadata.append(dict(handler_call_details.invocation_metadata or ()))
        return super().service(handler_call_details)


@pytest.fixture(autouse=True)
def unknown_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "_checked", set())
    monkeypatch.setattr(channel, "_told", set())


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Listening]:
    scripted = Listening(tmp_path / "s.sock")
    scripted.answers(server.INFO, lambda _: INFO)
    scripted.start()
    yield scripted
    scripted.stop()


def open_client(api_url: str, **options: Any) -> orchestration.SyncHeadgateClient:
    return orchestration.get_client(sync_client=True, api_url=api_url, **options)


# --- What travels along ---


def test_the_token_and_the_headers_of_the_settings_travel_with_every_call(scripted: Listening):
    updates = {"api_key": "t0ken", "client_custom_headers": {"X-Team": "data"}}
    with settings.temporary_settings(updates), open_client(scripted.api_url) as client:
        client.hello()
    assert scripted.metadata[-1]["authorization"] == "Bearer t0ken"
    assert scripted.metadata[-1]["x-team"] == "data"
    assert scripted.metadata[-1]["user-agent"].startswith(f"headgate-python/{__version__}")


async def test_the_async_client_sends_them_too(scripted: Listening):
    with settings.temporary_settings({"api_auth_string": "user:password"}):
        async with orchestration.get_client(api_url=scripted.api_url) as client:
            await client.hello()
    assert scripted.metadata[-1]["authorization"] == "Basic dXNlcjpwYXNzd29yZA=="


def test_a_client_may_have_headers_and_a_timeout_of_its_own(scripted: Listening):
    given = {"headers": {"x-team": "ops"}, "timeout": 7}
    with open_client(scripted.api_url, httpx_settings=given) as client:
        client.hello()
        assert client._timeout_seconds == 7
    assert scripted.metadata[-1]["x-team"] == "ops"


def test_what_httpx_knows_and_grpc_does_not_is_refused():
    with pytest.raises(errors.InvalidArgument, match=r"httpx_settings\.http2"):
        orchestration.get_client({"http2": True})


@pytest.mark.parametrize("name", ["grpc-x", "x-bin", "a b", "ä", ""])
def test_a_header_that_cannot_be_sent_names_its_setting(name: str):
    with (
        settings.temporary_settings({"client_custom_headers": {name: "x"}}),
        pytest.raises(errors.InvalidArgument, match="HEADGATE_CLIENT_CUSTOM_HEADERS"),
    ):
        metadata.of_process()


def test_a_token_with_a_line_end_is_refused():
    with (
        settings.temporary_settings({"api_key": "abc\n"}),
        pytest.raises(errors.InvalidArgument, match="HEADGATE_API_KEY"),
    ):
        metadata.of_process()


def test_a_client_that_is_made_in_a_run_says_in_which():
    seen: dict[str, str] = {}

    @task
    def look() -> None:
        seen.update(metadata.of_calls(settings.current()))

    @flow(name="Überblick")
    def overview() -> None:
        look()

    with headgate_test_harness(in_memory=True) as harness:
        overview()
        run = harness.most_recent_flow_run()
    assert seen["headgate-flow-run-id"] == run.id
    assert seen["headgate-flow-name"] == "%C3%9Cberblick"
    assert len(seen["headgate-task-run-id"]) == 36


def test_the_process_of_a_leased_run_says_so_on_its_stream(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE__FLOW_RUN_ID", "run-1")
    assert ("headgate-flow-run-id", "run-1") in metadata.of_process()


def test_a_token_in_the_clear_is_warned_of_once(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("headgate.client")
    logger.addHandler(caplog.handler)
    try:
        with settings.temporary_settings({"api_key": "t"}):
            for _ in range(2):
                channel.open_sync_channel("http://headgate.example.com:4200").close()
            channel.open_sync_channel("http://127.0.0.1:4200").close()
    finally:
        logger.removeHandler(caplog.handler)
    assert sum("unencrypted" in message for message in set(caplog.messages)) == 1


# --- Insisting ---


def failing(times: int, error: Exception) -> Any:
    left = [error] * times

    def answer(_: Any) -> Any:
        if left:
            raise left.pop()
        return INFO

    return answer


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from headgate.client import retrying

    monkeypatch.setattr(retrying._Backoff, "__call__", lambda self, state: 0.0)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(("retries", "calls"), [(0, 1), (2, 3), (5, 6)])
def test_a_call_is_repeated_as_often_as_the_settings_say(
    scripted: Listening, retries: int, calls: int
):
    scripted.answers(server.INFO, failing(100, errors.Unavailable("Not yet.")))
    with (
        settings.temporary_settings({"client_max_retries": retries}),
        open_client(scripted.api_url) as client,
        pytest.raises(errors.Unavailable),
    ):
        client.hello()
    assert len(scripted.requests) == calls


@pytest.mark.usefixtures("no_waiting")
def test_further_codes_are_repeated_where_the_settings_name_them(scripted: Listening):
    scripted.answers(server.INFO, failing(1, errors.FailedPrecondition("Not now.")))
    with open_client(scripted.api_url) as client:
        with pytest.raises(errors.FailedPrecondition):
            client.hello()
        scripted.answers(server.INFO, failing(1, errors.FailedPrecondition("Not now.")))
        with settings.temporary_settings({"client_retry_extra_codes": "failed_precondition"}):
            assert client.hello().version == __version__


@pytest.mark.usefixtures("no_waiting")
async def test_a_delete_whose_answer_was_lost_has_deleted(scripted: Listening):
    # The server deleted it and the answer was lost, so the same request finds nothing any more.
    def lost() -> Any:
        first_lost = failing(1, errors.Unavailable("The connection broke."))

        def answer(request: Any) -> Any:
            first_lost(request)
            raise errors.NotFound("variable", "x")

        return answer

    scripted.answers(variables.DELETE, lost())
    with open_client(scripted.api_url) as client:
        client.delete_variable_by_name("x")
        scripted.answers(variables.DELETE, lost())
        async with orchestration.get_client(api_url=scripted.api_url) as async_client:
            await async_client.delete_variable_by_name("x")
        scripted.answers(variables.DELETE, failing(9, errors.NotFound("variable", "x")))
        with pytest.raises(errors.NotFound):
            client.delete_variable_by_name("x")
        scripted.answers(artifacts.GET, lost())
        with pytest.raises(errors.NotFound):
            client.read_artifact("0" * 36)


def test_a_code_that_is_none_is_refused(scripted: Listening):
    scripted.answers(server.INFO, failing(1, errors.FailedPrecondition("Not now.")))
    with (
        settings.temporary_settings({"client_retry_extra_codes": "502"}),
        open_client(scripted.api_url) as client,
        pytest.raises(errors.InvalidArgument, match="502 is no code of gRPC"),
    ):
        client.hello()


# --- Whom they talk to ---


def test_an_older_server_is_warned_of_once(
    scripted: Listening, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    old = server_service_pb2.GetServerInfoResponse(
        version="0.0.9", api_versions=["headgate.api.v1"]
    )
    scripted.answers(server.INFO, lambda _: old)
    logger = logging.getLogger("headgate.client")
    logger.addHandler(caplog.handler)
    try:
        for _ in range(2):
            with open_client(scripted.api_url) as client, pytest.raises(errors.Unsupported):
                client.read_flows()
    finally:
        logger.removeHandler(caplog.handler)
    assert sum("older than this client" in message for message in set(caplog.messages)) == 1
    assert len(scripted.requests) == 1


async def test_a_server_of_another_contract_is_refused_before_anything_is_asked(
    scripted: Listening,
):
    other = server_service_pb2.GetServerInfoResponse(
        version="2.0.0", api_versions=["headgate.api.v2"]
    )
    scripted.answers(server.INFO, lambda _: other)
    async with orchestration.get_client(api_url=scripted.api_url) as client:
        with pytest.raises(errors.VersionMismatch, match=r"2\.0\.0 and serves headgate\.api\.v2"):
            await client.read_flows()
        with pytest.raises(errors.VersionMismatch):
            await client.raise_for_api_version_mismatch()


def test_the_check_can_be_turned_off(scripted: Listening):
    scripted.answers(flow_calls.LIST, lambda _: flow_calls.LIST.response())
    with (
        settings.temporary_settings({"client_server_version_check_enabled": False}),
        open_client(scripted.api_url) as client,
    ):
        assert client.read_flows() == []
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [("0.0.9", False), (__version__, True), ("99.0.0", True), ("unknown", True)],
)
def test_a_server_may_be_newer(scripted: Listening, version: str, is_fine: bool):
    scripted.answers(
        server.INFO, lambda _: server_service_pb2.GetServerInfoResponse(version=version)
    )
    with open_client(scripted.api_url) as client:
        said = compatibility.check(client.server_info(), scripted.api_url)
    assert (said is None) == is_fine


@pytest.mark.usefixtures("no_waiting")
def test_the_health_of_a_server_can_be_asked(scripted: Listening):
    with open_client(scripted.api_url) as client:
        assert client.api_healthcheck() is None
        assert client.api_version() == __version__
        scripted.stop()
        assert isinstance(client.api_healthcheck(), errors.Unavailable)


# --- TLS ---


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of ``headgate.test``, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "headgate.test")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=3650))
        .not_valid_after(now + dt.timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("headgate.test"), x509.IPAddress(ipaddress.ip_address("10.1.2.3"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


@pytest.fixture
def secure_url(scripted: Listening, certificate: tuple[Path, Path]) -> Iterator[str]:
    cert_file, key_file = certificate
    pair = (key_file.read_bytes(), cert_file.read_bytes())
    served = grpc.server(futures.ThreadPoolExecutor(2))
    served.add_generic_rpc_handlers([scripted])
    port = served.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials([pair], cert_file.read_bytes(), require_client_auth=True),
    )
    served.start()
    yield f"https://127.0.0.1:{port}"
    served.stop(None).wait()


def test_a_server_with_a_certificate_of_ones_own_is_trusted_when_told(
    secure_url: str, certificate: tuple[Path, Path]
):
    cert_file, key_file = certificate
    trusting = {
        "api_tls_ca_file": cert_file,
        "api_tls_cert_file": cert_file,
        "api_tls_key_file": key_file,
        "api_tls_server_name": "headgate.test",
        "api_key": "t0ken",
    }
    with settings.temporary_settings(trusting), open_client(secure_url) as client:
        assert client.hello().version == __version__


def test_without_being_told_it_is_not_trusted(secure_url: str):
    with (
        settings.temporary_settings({"client_max_retries": 0}),
        open_client(secure_url) as client,
        pytest.raises(errors.Unavailable),
    ):
        client.hello()


def test_a_file_that_is_not_there_names_its_setting(tmp_path: Path):
    with (
        settings.temporary_settings({"api_tls_ca_file": tmp_path / "none.pem"}),
        pytest.raises(errors.InvalidArgument, match="HEADGATE_API_TLS_CA_FILE"),
    ):
        channel.open_sync_channel("https://headgate.example.com")


def test_a_certificate_goes_with_its_key(certificate: tuple[Path, Path]):
    with (
        settings.temporary_settings({"api_tls_cert_file": certificate[0]}),
        pytest.raises(errors.InvalidArgument, match="HEADGATE_API_TLS_KEY_FILE"),
    ):
        channel.open_sync_channel("https://headgate.example.com")


# --- Labels and idempotency (F36, F37) ---


def test_labels_are_added_and_the_same_key_gives_the_same_run():
    with headgate_test_harness(in_memory=True) as harness, harness.client() as client:
        client.create_deployment(draft_deployment("daily", "etl", entrypoint="x.py:etl"))
        run = client.create_flow_run_from_deployment(
            "etl/daily", labels={"team": "data", "tier": "1"}, idempotency_key="monday"
        )
        again = client.create_flow_run_from_deployment("etl/daily", idempotency_key="monday")
        assert again.id == run.id
        changed = client.update_flow_run_labels(run.id, {"tier": "2", "region": "eu"})
        assert changed.labels == {"team": "data", "tier": "2", "region": "eu"}
