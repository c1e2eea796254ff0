"""What the children of a fork server do in tests, in place of executing a flow run."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys

from headgate.core import ids


def main() -> int:
    """Do what the entrypoint of the deployment says."""
    return globals()[os.environ["HEADGATE__ENTRYPOINT"]]()


def hear() -> str:
    """Read what was said on the control socket; empty if nothing was."""
    descriptor = int(os.environ["HEADGATE__CONTROL_FD"])
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 100).decode().strip()
    except BlockingIOError:
        return ""


def send_receipt(type: str = "COMPLETED", name: str = "Completed") -> None:
    line = json.dumps({"receipt": {"type": type, "name": name}}) + "\n"
    os.write(int(os.environ["HEADGATE__CONTROL_FD"]), line.encode())


def succeed() -> int:
    print("hello")
    print("careful", file=sys.stderr)
    send_receipt()
    return 0


def environment() -> int:
    print(json.dumps({"env": dict(os.environ), "pid": os.getpid(), "sid": os.getsid(0)}))
    print(ids.new_id())
    send_receipt()
    return 0


def leave_with_3() -> int:
    atexit.register(print, "an exit handler ran")
    sys.exit(3)


def raise_something() -> int:
    raise ValueError("broken")


def kill_self() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def wait_for_sigterm() -> None:
    # Blocked, not handled: a handler that sets an event waits for ever for the lock of the very
    # wait it has interrupted.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    print("waiting")
    signal.sigwait({signal.SIGTERM})


def wait_for_stop() -> int:
    """Print the intent that comes before SIGTERM, and end as a good child does."""
    wait_for_sigterm()
    print(hear())
    send_receipt("CANCELLED", "Cancelled")
    return 0


def ignore_stop() -> int:
    """Ignore SIGTERM, with a process of its own that does, too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    own = subprocess.Popen([sys.executable, "-c", "print('own', flush=True); input()"], stdin=-1)
    print(f"waiting {own.pid}")
    own.wait()
    return 0


def leave_somebody_behind() -> int:
    """End while a process that holds the output open lives on."""
    own = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
    print(own.pid)
    send_receipt()
    os._exit(0)


def wait_quietly() -> int:
    """Print the intent that comes before SIGTERM, and end without a receipt."""
    wait_for_sigterm()
    print(hear())
    return 1
