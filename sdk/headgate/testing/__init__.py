"""What tests of one's own flows need: a control plane of their own, a clock that can be moved.

``headgate.testing.utilities`` has the harness, ``headgate.testing.clock`` the clock, and
``headgate.testing.fixtures`` both as fixtures of pytest::

    def test_the_report_survives_a_bad_hour():
        with headgate_test_harness(clock=AdvancingClock()):
            assert report() == 42  # retries three times, an hour apart, within milliseconds
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.testing.clock import AdvancingClock
    from headgate.testing.harness import Harness
    from headgate.testing.utilities import headgate_test_harness

__all__ = ["AdvancingClock", "Harness", "headgate_test_harness"]

_HOMES = {
    "AdvancingClock": "headgate.testing.clock",
    "Harness": "headgate.testing.harness",
    "headgate_test_harness": "headgate.testing.utilities",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        msg = f"module 'headgate.testing' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(home), name)
