from __future__ import annotations

import signal

import pytest

from headgate_runner import exit_codes
from headgate_runner.ending import Ending, Receipt, StopReason, conclude
from headgate_runner.lease import Outcome

COMPLETED = Receipt(type="COMPLETED", name="Completed")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, ["SIGKILL", "exit code -9", "memory"]),
        (-15, ["SIGTERM", "exit code -15"]),
        (-11, ["SIGSEGV", "native code"]),
        (1, ["exit code 1", "output"]),
        (125, ["container engine"]),
        (126, ["permission denied"]),
        (127, ["command not found"]),
        (137, ["SIGKILL", "exit code 137"]),
        (139, ["SIGSEGV", "exit code 139"]),
        (143, ["SIGTERM", "exit code 143"]),
        (247, ["memory"]),
        (0, ["without reporting a final state"]),
        (42, ["exit code 42"]),
        (255, ["exit code 255"]),
    ],
)
def test_an_exit_code_is_explained_in_one_sentence(code, words):
    text = exit_codes.explain(code)
    assert all(word in text for word in words), text
    assert text.endswith(".")


def test_a_shell_s_code_names_the_signal_behind_it():
    assert exit_codes.signal_of(137) is signal.SIGKILL
    assert exit_codes.signal_of(-9) is signal.SIGKILL
    assert exit_codes.signal_of(42) is None


@pytest.mark.parametrize(
    ("ending", "outcome", "words"),
    [
        (Ending(exit_code=0, receipt=COMPLETED), Outcome.FINISHED, ""),
        # The child's word counts, whatever became of its process afterwards.
        (Ending(exit_code=-9, receipt=COMPLETED), Outcome.FINISHED, ""),
        (
            Ending(exit_code=-15, receipt=COMPLETED, stopped=StopReason.HAND_BACK),
            Outcome.FINISHED,
            "",
        ),
        (Ending(exit_code=-9), Outcome.CRASHED, "SIGKILL"),
        (Ending(exit_code=0), Outcome.CRASHED, "without reporting"),
        (Ending(exit_code=None, trouble="No folder."), Outcome.CRASHED, "No folder."),
        (
            Ending(exit_code=-9, stopped=StopReason.CANCEL, forced=True),
            Outcome.CRASHED,
            "cancelled; its process was killed",
        ),
        (Ending(exit_code=-15, stopped=StopReason.CANCEL), Outcome.CRASHED, "cancelled"),
        (Ending(exit_code=-15, stopped=StopReason.HAND_BACK), Outcome.HANDED_BACK, "queue"),
        (Ending(exit_code=None, stopped=StopReason.HAND_BACK), Outcome.HANDED_BACK, "queue"),
    ],
)
def test_how_a_process_ended_decides_how_its_lease_ends(ending, outcome, words):
    release = conclude(ending)
    assert release is not None
    assert release.outcome is outcome
    assert words in release.message


def test_a_lost_lease_is_not_the_runner_s_to_end():
    assert conclude(Ending(exit_code=-15, stopped=StopReason.LOST)) is None
