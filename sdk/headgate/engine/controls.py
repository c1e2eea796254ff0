"""What the server asks of a run in the middle of it."""

from __future__ import annotations

import signal

from headgate.codec import session as frames
from headgate.core import errors
from headgate.core import states as core_states
from headgate.core.states import StateType
from headgate.engine.interruption import Interruption
from headgate.engine.pausing import Gate

__all__ = ["Controls"]


class Controls:
    """Does what the server asks for in the middle of a run; on the link's thread.

    Args:
        interruption: Ends the run.
        gate: Holds it up.
    """

    def __init__(self, interruption: Interruption, gate: Gate) -> None:
        """Control one run."""
        self._interruption = interruption
        self._gate = gate

    def __call__(self, event: frames.Event) -> None:
        """Do what an event asks for."""
        match event:
            case frames.CancelRequested():
                self._cancel(event.reason)
            case frames.PauseRequested():
                self._pause(suspend=event.suspend)
            case frames.ResumeRequested():
                self._gate.ask_to_go_on()
            case frames.Reopened():
                self._catch_up(event.state)
            case _:
                pass

    def _cancel(self, reason: str) -> None:
        self._interruption.cancel(reason)
        # Who waits at the gate on a thread of a task runner hears no signal.
        self._gate.fail(errors.TerminationSignal(signal.SIGTERM))

    def _pause(self, *, suspend: bool) -> None:
        if suspend:
            self._gate.suspend("The flow run was suspended.")
        else:
            self._gate.close()

    def _catch_up(self, state: core_states.State) -> None:
        """Do what was asked for while nobody could say so."""
        match state.type:
            case StateType.CANCELLING:
                self._cancel(state.message)
            case StateType.PAUSED:
                self._pause(suspend=state.details.pause_reschedule)
            case StateType.SCHEDULED if state.name == "Resuming":
                self._gate.ask_to_go_on()
            case _:
                pass
