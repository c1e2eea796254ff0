"""What gRPC reads from the environment when it is loaded. What is set there already stands."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

__all__ = ["prepare"]

#: Versions that can leave their sockets to the thread that waits for answers, as all did before
#: 1.80, instead of to three threads of their own. A message there and back takes 95 us then, not
#: 170 us, and half of the processor's time (two processes, a Unix socket, grpcio 1.85.1). Newer
#: ones may not know what is set here, and would complain: each is tried before it is added.
_CHOICE_SINCE, _CHOICE_UNTIL = (1, 80), (1, 85)
_OWN_THREADS_OFF = "-event_engine_client,-event_engine_listener"


def prepare() -> None:
    """Set what suits us, where nobody has set it; to be called before gRPC is loaded."""
    # Its handlers around fork() do not work while calls are under way, which is always, and crash
    # the child: a task that uses multiprocessing would die. Without them the child is well as
    # long as it makes no calls itself.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    # What it would write beside our lines, such as a failed handshake at every attempt to connect,
    # is in our errors; who wants to see it sets the variable.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if _CHOICE_SINCE <= _version() <= _CHOICE_UNTIL:
        os.environ.setdefault("GRPC_EXPERIMENTS", _OWN_THREADS_OFF)


def _version() -> tuple[int, int]:
    """Return the version of gRPC without loading it; 0.0 where it cannot be told."""
    # ``importlib.metadata`` would tell, too, and take longer than all else that a run needs.
    spec = importlib.util.find_spec("grpc")
    if spec is None or spec.origin is None:
        return 0, 0
    try:
        text = Path(spec.origin).with_name("_grpcio_metadata.py").read_text(encoding="utf-8")
    except OSError:
        return 0, 0
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
