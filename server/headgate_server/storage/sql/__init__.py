"""Storage in SQLite or PostgreSQL.

Only this package knows SQLAlchemy. Read ``tables.py`` first, then ``work.py`` and
``committer.py``; the other modules are one per noun of the interface.
"""

from __future__ import annotations

from headgate_server.storage.sql.opening import open_storage

__all__ = ["open_storage"]
