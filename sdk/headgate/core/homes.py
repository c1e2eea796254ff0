"""Where a user's Headgate keeps what the SDK and the server must both find."""

from __future__ import annotations

import os
from pathlib import Path

from headgate.core import configuration

#: The database of a server that is told of no other.
DATABASE_FILE = "headgate.db"
#: Where the server of that database listens for the processes of its user.
SOCKET_FILE = "server.sock"
#: Locked by who starts a server for that socket: one at a time.
START_LOCK_FILE = "server.lock"

#: The kernel's limit for the path of a unix socket, less the closing zero and a dot for luck.
_SOCKET_PATH_BYTES_MAX = 100


def default_home() -> Path:
    """Return the folder of the user's Headgate: ``HEADGATE_HOME``, else ``~/.headgate``."""
    return configuration.home()


def socket_path(home: Path) -> Path:
    """Return where the server of a home folder listens.

    In the folder itself; where that has too long a name for a unix socket, in a folder of this
    user's own among the temporary files.
    """
    path = home / SOCKET_FILE
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        return path
    # Here, because hardly any home needs them.
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"headgate-{os.getuid()}" / f"{digest}.sock"


__all__ = ["DATABASE_FILE", "SOCKET_FILE", "START_LOCK_FILE", "default_home", "socket_path"]
