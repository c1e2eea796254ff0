"""``python -m headgate.engine``: execute the leased flow run that the environment names."""

from __future__ import annotations

import sys

from headgate.engine import child

sys.exit(child.main())
