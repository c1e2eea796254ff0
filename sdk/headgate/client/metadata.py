"""What travels with every call and stream: who calls, for which run, and what users add."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from headgate import settings
from headgate.core import errors

__all__ = ["Metadata", "of_calls", "of_process"]

Metadata: TypeAlias = tuple[tuple[str, str], ...]

#: What gRPC takes as a key. Keys that end in -bin carry bytes, those that begin with grpc- are its
#: own.
_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
_VALUE = re.compile(r"[\x20-\x7e]*")
_FLOW_RUN_VARIABLE = "HEADGATE__FLOW_RUN_ID"


def of_process(now: settings.Settings | None = None) -> Metadata:
    """Return what travels with the streams of this process.

    Args:
        now: The settings. Default: those that hold.

    Raises:
        InvalidArgument: A header or token cannot be sent; its setting is named.
    """
    now = now or settings.current()
    found = [*_authorization(now), *_custom(dict(now.client_custom_headers))]
    flow_run_id = os.environ.get(_FLOW_RUN_VARIABLE)
    if flow_run_id:
        found.append(("headgate-flow-run-id", flow_run_id))
    return tuple(found)


def of_calls(now: settings.Settings, more: Mapping[str, str] | None = None) -> Metadata:
    """Return what travels with the calls of a client that is made here.

    Args:
        now: The settings.
        more: More headers; they take the place of those of the settings.

    Raises:
        InvalidArgument: A header or token cannot be sent; its setting is named.
    """
    own = dict([*_authorization(now), *_custom(dict(now.client_custom_headers)), *_run()])
    return tuple({**own, **dict(_custom(more or {}))}.items())


def _authorization(now: settings.Settings) -> Metadata:
    if now.api_key:
        if _VALUE.fullmatch(now.api_key) is None:
            msg = "has characters that no token has; copy it again."
            raise errors.InvalidArgument.of("HEADGATE_API_KEY", msg)
        return (("authorization", f"Bearer {now.api_key}"),)
    if now.api_auth_string:
        encoded = base64.b64encode(now.api_auth_string.encode()).decode()
        return (("authorization", f"Basic {encoded}"),)
    return ()


def _custom(headers: Mapping[str, str]) -> Metadata:
    found: list[tuple[str, str]] = []
    for name, value in headers.items():
        key = name.lower()
        if _KEY.fullmatch(key) is None or _VALUE.fullmatch(value) is None:
            msg = (
                f"{name!r} cannot be sent: names are of letters, digits, '_', '.' and '-', do not "
                "begin with 'grpc-' nor end with '-bin', and values are of plain ASCII."
            )
            raise errors.InvalidArgument.of("HEADGATE_CLIENT_CUSTOM_HEADERS", msg)
        found.append((key, value))
    return tuple(found)


class _Nowhere:
    """Stands for contexts that were never loaded."""

    @staticmethod
    def get() -> None: ...


def _run() -> Metadata:
    """Say for which run a client calls that is made within one, so that logs can tell."""
    contexts: Any = sys.modules.get("headgate.context")  # who has not loaded it is in no run
    flow = getattr(contexts, "FlowRunContext", _Nowhere).get()
    if flow is None:
        flow_run_id = os.environ.get(_FLOW_RUN_VARIABLE)
        return (("headgate-flow-run-id", flow_run_id),) if flow_run_id else ()
    run = flow.flow_run
    facts = {
        "headgate-flow-run-id": run.id,
        "headgate-flow-name": quote(run.flow_name),
        "headgate-deployment-id": run.deployment_id,
    }
    task = getattr(contexts, "TaskRunContext", _Nowhere).get()
    if task is not None:
        facts["headgate-task-run-id"] = task.id
    return tuple((name, value) for name, value in facts.items() if value)
