"""Whether a client and a server go together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headgate._version import __version__
from headgate.client.rpc import PACKAGE
from headgate.core import errors

if TYPE_CHECKING:
    from headgate.client.schemas import ServerInfo

__all__ = ["check", "is_checked", "remember"]

#: Servers that were looked at in this process.
_checked: set[str] = set()


def is_checked(api_url: str) -> bool:
    """Whether a server was looked at by this process."""
    return api_url in _checked


def remember(api_url: str) -> None:
    """Do not look at a server again."""
    _checked.add(api_url)


def check(info: ServerInfo, api_url: str) -> str | None:
    """Say what is to be said about a server; None if it goes with this client.

    Args:
        info: What the server says of itself.
        api_url: Where it is.

    Raises:
        VersionMismatch: It does not speak the contract of this client.
    """
    if info.api_versions and PACKAGE not in info.api_versions:
        raise errors.VersionMismatch(api_url, info.version, __version__, info.api_versions)
    server, client = _release(info.version), _release(__version__)
    if server is None or client is None or server >= client:
        return None
    return (
        f"The server at {api_url} is of version {info.version}, older than this client "
        f"({__version__}): what is new in the client may not work there. Upgrade the server, or "
        "set HEADGATE_CLIENT_SERVER_VERSION_CHECK_ENABLED=false."
    )


def _release(version: str) -> tuple[int, int] | None:
    """Return the parts of a version that tell what it can do: 0.12.3 is 0.12."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None
