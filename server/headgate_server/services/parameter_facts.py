"""What the templates in parameters of runs may speak of."""

from __future__ import annotations

from typing import Any

from headgate.core import deployments
from headgate_server.storage.interface import Transaction


def variable_text(tx: Transaction, name: str) -> str | None:
    """Return the JSON text of a variable; None: there is none."""
    found = tx.variables.get(name)
    return None if found is None else found.value_json


def template_context(
    deployment: deployments.Deployment, *, run_id: str, run_name: str
) -> dict[str, Any]:
    """Return the names that templates may use."""
    return {
        "flow": {"id": deployment.flow_id, "name": deployment.flow_name},
        "deployment": {
            "id": deployment.id,
            "name": deployment.name,
            "version": deployment.version,
            "tags": list(deployment.tags),
        },
        "flow_run": {"id": run_id, "name": run_name},
    }


__all__ = ["template_context", "variable_text"]
