"""What a runner does when it is not told otherwise."""

from __future__ import annotations

#: How many runs at most at once.
LIMIT = 10
#: How long runs may go on when the runner is asked to stop.
GRACE_SECONDS = 30.0
#: How long a cancelled run may take to end after SIGTERM, where the server does not say.
CANCEL_GRACE_SECONDS = 30.0
#: How long a run that is handed back may take to end after SIGTERM.
HAND_BACK_GRACE_SECONDS = 5.0
#: The same when the runner was asked to stop a second time.
HURRIED_GRACE_SECONDS = 1.0
#: How long hooks may take that the runner has called after a crash.
HOOKS_SECONDS_MAX = 60.0
