"""Facts about the run that is executing here, as modules: ``runtime.flow_run.id`` and so on.

Outside of a run they are None or empty, never an error. In tests any of them can be set from the
environment: ``HEADGATE__RUNTIME__FLOW_RUN__NAME=brave-otter``.
"""

from headgate.runtime import deployment, flow_run, task_run

__all__ = ["deployment", "flow_run", "task_run"]
