"""What blocks tell of themselves as events: that they were loaded, and what was called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headgate.blocks.core import Block

__all__ = ["called", "loaded"]


def loaded(block: Block) -> None:
    """Tell that a block was loaded."""
    _emit(block, "loaded")


def called(block: Block, method: str, *, succeeded: bool) -> None:
    """Tell that a method of a block was called; one that is not saved tells nothing."""
    _emit(block, f"{method}.{'called' if succeeded else 'failed'}")


def _emit(block: Block, what: str) -> None:
    facts: Any = block
    document_id, name = facts._block_document_id, facts._block_document_name
    if document_id is None:
        return
    from headgate.events.emitting import emit_event  # only for those who load blocks

    slug = block.get_block_type_slug()
    emit_event(
        f"headgate.block.{slug}.{what}",
        {
            "headgate.resource.id": f"headgate.block-document.{document_id}",
            "headgate.resource.name": name or "",
        },
        related=[
            {
                "headgate.resource.id": f"headgate.block-type.{slug}",
                "headgate.resource.role": "block-type",
            }
        ],
    )
