"""One transaction, as the services see it."""

from __future__ import annotations

from datetime import datetime

from headgate_server.storage.sql.artifacts import SqlArtifacts
from headgate_server.storage.sql.blocks import SqlBlocks
from headgate_server.storage.sql.concurrency import SqlConcurrencyLimits
from headgate_server.storage.sql.configuration import SqlConfiguration
from headgate_server.storage.sql.deployments import SqlDeployments
from headgate_server.storage.sql.events import SqlEvents
from headgate_server.storage.sql.flow_runs import SqlFlowRuns
from headgate_server.storage.sql.flows import SqlFlows
from headgate_server.storage.sql.journal import SqlJournal
from headgate_server.storage.sql.leases import SqlLeases
from headgate_server.storage.sql.logs import SqlLogs
from headgate_server.storage.sql.run_inputs import SqlRunInputs
from headgate_server.storage.sql.task_runs import SqlTaskRuns
from headgate_server.storage.sql.variables import SqlVariables
from headgate_server.storage.sql.work import Work
from headgate_server.storage.sql.work_pools import SqlWorkPools


class SqlTransaction:
    """See :class:`headgate_server.storage.interface.Transaction`."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.flows = SqlFlows(work)
        self.deployments = SqlDeployments(work)
        self.flow_runs = SqlFlowRuns(work)
        self.task_runs = SqlTaskRuns(work)
        self.work_pools = SqlWorkPools(work)
        self.leases = SqlLeases(work)
        self.journal = SqlJournal(work)
        self.logs = SqlLogs(work)
        self.run_inputs = SqlRunInputs(work)
        self.variables = SqlVariables(work)
        self.configuration = SqlConfiguration(work)
        self.artifacts = SqlArtifacts(work)
        self.events = SqlEvents(work)
        self.blocks = SqlBlocks(work)
        self.concurrency_limits = SqlConcurrencyLimits(work)

    def now(self) -> datetime:
        return self._work.now()
