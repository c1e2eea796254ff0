"""Which id a request gives to what it makes: so a repeated request is known by what it has made."""

from __future__ import annotations

import uuid


def id_of_made(request_id: str, *names: str) -> str:
    """Return the id of the thing of this name that a request makes, always the same one.

    Not the request's own: where somebody gave two requests one id, the second one would meet a
    stranger of another name under it.

    Args:
        request_id: UUID text.
        names: What tells the thing apart from others of its kind.
    """
    return str(uuid.uuid5(uuid.UUID(request_id), "/".join(names)))


__all__ = ["id_of_made"]
