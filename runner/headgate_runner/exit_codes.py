"""What the exit code of a child process says, in words for people."""

from __future__ import annotations

import signal

#: Codes with a meaning of their own; those of signals are made from the signal's name.
_MEANINGS = {
    0: "ended without reporting a final state, as os._exit(0) does",
    1: "failed before it could report a final state; its last lines of output tell why",
    2: "was called the wrong way; check the entrypoint of the deployment",
    125: "could not be started by its container engine",
    126: "could not be executed: permission denied",
    127: "could not be executed: command not found",
    # Some systems report a child killed for memory by this code instead of the signal.
    247: "was killed, often a sign that memory ran out",
}

_SIGNAL_MEANINGS = {
    signal.SIGKILL: "often a sign that memory ran out",
    signal.SIGTERM: "it was asked to end by somebody else than its runner",
    signal.SIGSEGV: "a crash in native code of a library",
    signal.SIGBUS: "a crash in native code, or a full disk under a mapped file",
    signal.SIGABRT: "a library gave up",
    signal.SIGFPE: "a crash in native code: wrong arithmetic",
    signal.SIGILL: "a library was built for another processor",
    signal.SIGINT: "it was interrupted from the keyboard",
    signal.SIGHUP: "its terminal was closed",
}


def signal_of(code: int) -> signal.Signals | None:
    """Name the signal behind an exit code: -9, or 128 + 9 where a shell stood in between."""
    number = -code if code < 0 else code - 128
    if number <= 0:
        return None
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def explain(code: int) -> str:
    """Say in one sentence what the exit code of a child process means.

    Args:
        code: As ``subprocess`` gives it: negative where a signal ended the process.
    """
    if code in _MEANINGS:
        return f"The process of the run {_MEANINGS[code]} (exit code {code})."
    ended_by = signal_of(code)
    if ended_by is not None:
        meaning = _SIGNAL_MEANINGS.get(ended_by)
        because = f", {meaning}" if meaning else ""
        return f"The process of the run was killed by {ended_by.name} (exit code {code}){because}."
    return f"The process of the run ended with exit code {code} without reporting a final state."
