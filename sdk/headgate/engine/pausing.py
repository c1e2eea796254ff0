"""Pauses: who waits at which gate, and what lets them go on.

Each flow run has a gate. It is closed before a pause is proposed, or when the server says that
somebody paused the run; no task of the run begins while it is closed. When somebody resumes the
run the server says so, on the link's thread; one proposal asks to enter Running again, and the
answer opens the gate for all who wait.
"""

from __future__ import annotations

import signal
import threading
from concurrent.futures import Future

from headgate import states
from headgate.core import errors
from headgate.core.states import StateType, Verdict, VerdictKind
from headgate.engine import hooks, process
from headgate.engine.effects import Steps, Wait
from headgate.engine.recording import Answer, Recorder

__all__ = ["Gate", "pause", "suspend"]


class Gate:
    """What a flow run passes before each task. Its methods may be called from any thread.

    Args:
        flow_run_id: The run.
        recorder: By which the run asks to go on.
        parent: The gate of the run that called this one: while that is paused, so is this.
    """

    __slots__ = ("_flow_run_id", "_lock", "_opening", "_recorder", "_suspended", "parent")

    def __init__(self, flow_run_id: str, recorder: Recorder, parent: Gate | None = None) -> None:
        """Make an open gate."""
        self.parent = parent
        self._flow_run_id = flow_run_id
        self._recorder = recorder
        self._lock = threading.Lock()
        self._opening: Future[None] | None = None
        self._suspended: errors.Pause | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the run, or one around it, is paused."""
        gate: Gate | None = self
        while gate is not None:
            if gate._opening is not None:
                return True
            gate = gate.parent
        return False

    def close(self) -> None:
        """Let nobody pass until it opens."""
        with self._lock:
            if self._opening is None:
                self._opening = Future()

    def suspend(self, message: str) -> None:
        """Let nobody pass any more: the process is to end."""
        self._suspended = errors.Pause(message, flow_run_id=self._flow_run_id)
        self.close()
        self._release(self._suspended)

    def open(self) -> None:
        """Let all pass who wait, and all who come."""
        self._release(None)

    def fail(self, error: BaseException) -> None:
        """Let nobody wait any more; all who do get the error."""
        self._release(error)

    def _release(self, error: BaseException | None) -> None:
        with self._lock:
            opening = self._opening
            if self._suspended is None:
                self._opening = None
        if opening is None or opening.done():
            return
        if error is None:
            opening.set_result(None)
        else:
            opening.set_exception(error)

    def ask_to_go_on(self) -> None:
        """Ask to run again, because somebody resumed the run; the answer opens the gate."""
        if self._opening is not None:
            proposal = self._recorder.propose(states.Running().record())
            proposal.add_done_callback(self._on_answer)

    def _on_answer(self, proposal: Future[Answer]) -> None:
        error = proposal.exception()
        if error is not None:
            self.fail(error)
            return
        verdict = proposal.result().verdict
        match verdict.kind:
            case VerdictKind.ACCEPT:
                self.open()
            case VerdictKind.WAIT:
                timer = threading.Timer(verdict.delay_seconds, self.ask_to_go_on)
                timer.daemon = True
                timer.start()
            case VerdictKind.ABORT:
                self.fail(errors.Abort(verdict.reason))
            case VerdictKind.REJECT:
                self._on_rejection(verdict)

    def _on_rejection(self, verdict: Verdict) -> None:
        state = verdict.state
        if state is None or state.type is StateType.RUNNING:
            self.open()
        elif state.is_terminal:
            self.fail(errors.FlowPauseTimeout(state.message or verdict.reason))
        # Else it was paused again, or is being cancelled: word of that comes by itself.

    def passed(
        self, timeout_seconds: float | None = None, told_seconds: float = 0.0
    ) -> Steps[None]:
        """Wait until the run, and those around it, are not paused.

        Args:
            timeout_seconds: How long. Default: for ever; the server ends pauses that are too long.
            told_seconds: What of that is told, for some of it has passed already.

        Raises:
            Pause: The run was suspended.
            FlowPauseTimeout: Nobody resumed the run in time.
        """
        gate: Gate | None = self
        while gate is not None:
            while (opening := gate._opening) is not None:
                yield from _wait(opening, timeout_seconds, told_seconds)
            gate = gate.parent


def _wait(opening: Future[None], timeout_seconds: float | None, told_seconds: float) -> Steps[None]:
    try:
        yield Wait(opening, timeout_seconds)
    except TimeoutError:
        if opening.done():
            raise
        said = hooks.shown_seconds(told_seconds)
        msg = f"The flow run was paused and never resumed within {said} s."
        raise errors.FlowPauseTimeout(msg) from None


def pause(gate: Gate, recorder: Recorder, state: states.State[object]) -> Steps[bool]:
    """Pause a run, and wait until somebody resumes it.

    Args:
        gate: The run's.
        recorder: The run's.
        state: The paused state.

    Returns:
        Whether the run was paused; False: this pause has fired before.

    Raises:
        FlowPauseTimeout: Nobody resumed the run in time.
        FlowPauseError: The run cannot be paused.
    """
    gate.close()  # first: word of a resume may come as soon as the pause is stored
    try:
        is_new = yield from _propose(recorder, state)
        if is_new:
            end = state.details.pause_expire_time
            whole = 0.0 if end is None else (end - state.timestamp).total_seconds()
            yield from gate.passed(_seconds_left(state), whole)
    except BaseException:
        gate.open()
        raise
    if not is_new:
        gate.open()
    return is_new


def suspend(gate: Gate, recorder: Recorder, state: states.State[object]) -> Steps[None]:
    """Suspend a run: its process ends, and resuming starts it anew.

    Returns:
        Only where this pause has fired before.

    Raises:
        Pause: The run is suspended; ends the process.
        FlowPauseError: The run cannot be suspended.
    """
    if (yield from _propose(recorder, state)):
        gate.suspend("The flow run suspended itself.")
        yield from gate.passed()


def _seconds_left(state: states.State[object]) -> float | None:
    end = state.details.pause_expire_time
    return None if end is None else max(0.0, (end - process.clock.now()).total_seconds())


def _propose(recorder: Recorder, state: states.State[object]) -> Steps[bool]:
    """Propose a pause; returns whether the run is paused now, False where it was before."""
    answer: Answer = yield Wait(recorder.propose(state.record()))
    verdict = answer.verdict
    if verdict.kind is VerdictKind.ACCEPT:
        return True
    stands = verdict.state
    if verdict.kind is VerdictKind.REJECT and stands is not None:
        if stands.type is StateType.RUNNING:
            return False
        if stands.type is StateType.CANCELLING or stands.is_terminal:
            raise errors.TerminationSignal(signal.SIGTERM)
    msg = verdict.reason or f"The flow run cannot enter {state.name}."
    raise errors.FlowPauseError(msg)
