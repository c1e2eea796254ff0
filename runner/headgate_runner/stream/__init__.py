"""The lease stream of a runner; the one place of the runner where wire types are known."""

from headgate_runner.stream.lease_stream import Duties, Identity, LeaseStream

__all__ = ["Duties", "Identity", "LeaseStream"]
