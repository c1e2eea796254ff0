"""One transaction, as the services see it."""

from __future__ import annotations

from datetime import datetime

from headgate_server.storage.sql.deployments import SqlDeployments
from headgate_server.storage.sql.flow_runs import SqlFlowRuns
from headgate_server.storage.sql.flows import SqlFlows
from headgate_server.storage.sql.journal import SqlJournal
from headgate_server.storage.sql.leases import SqlLeases
from headgate_server.storage.sql.logs import SqlLogs
from headgate_server.storage.sql.task_runs import SqlTaskRuns
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

    def now(self) -> datetime:
        return self._work.now()
