"""Artifacts: what a run wants to show people, beside its logs.

Run it: ``python artifacts.py``, then ``headgate artifact ls``
"""

from __future__ import annotations

from headgate import flow, task
from headgate.artifacts import (
    Artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)


@task
def compute(rows: int) -> list[dict[str, int]]:
    """Compute a table, and show how far it is."""
    progress = create_progress_artifact(0, description="Rows computed")
    table = []
    for row in range(rows):
        table.append({"row": row, "square": row * row})
        update_progress_artifact(progress, 100 * (row + 1) / rows)
    return table


@flow(log_prints=True)
def report(rows: int = 4) -> None:
    """Publish a table, a text and a link; each key keeps its versions."""
    table = compute(rows)
    create_table_artifact(table, key="squares", description="The first squares")
    create_markdown_artifact(f"# Squares\n\nThe last is **{table[-1]['square']}**.", key="summary")
    create_link_artifact("https://example.com/squares", link_text="More of them")
    latest = Artifact.get("summary")
    print(latest.data if latest else "nothing")


if __name__ == "__main__":
    report()
    report(5)
