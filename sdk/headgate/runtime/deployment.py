"""Facts about the deployment whose run is executing here.

Attributes:
    id: UUID text.
    name: Its name, without that of the flow.
    version: Its version; asked from the server.
    flow_run_id: UUID text of the run.
    parameters: As the run was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headgate.runtime import flow_run as _flow_run
from headgate.runtime._facts import Facts

if TYPE_CHECKING:
    from headgate.core.runs import FlowRun

    flow_run_id: str | None
    id: str | None
    name: str | None
    parameters: dict[str, Any]
    version: str | None

__all__ = ["flow_run_id", "id", "name", "parameters", "version"]


def _run() -> FlowRun | None:
    run = _flow_run._run()  # pyright: ignore[reportPrivateUsage]  # the same package
    return run if run is not None and run.deployment_id is not None else None


def _id() -> str | None:
    run = _run()
    return run.deployment_id if run is not None else None


def _name() -> str | None:
    run = _run()
    if run is None or run.deployment_name is None:
        return None
    return run.deployment_name.rpartition("/")[2]


def _version() -> str | None:
    run = _run()
    if run is None or run.deployment_id is None:
        return None
    from headgate.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_deployment(run.deployment_id).version or None


def _parameters() -> dict[str, Any]:
    run = _run()
    if run is None:
        return {}
    from headgate import parameters as codec

    return codec.decode(run.parameters)


_facts = Facts(
    "deployment",
    {
        "flow_run_id": (lambda: _flow_run.id, str),
        "id": (_id, str),
        "name": (_name, str),
        "parameters": (_parameters, dict),
        "version": (_version, str),
    },
)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return _facts.read(name)


def __dir__() -> list[str]:
    return _facts.names()
