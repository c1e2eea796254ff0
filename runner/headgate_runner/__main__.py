"""``python -m headgate_runner ...`` is ``headgate runner ...``."""

import sys

from headgate.cli import main
from headgate_runner import cli

if __name__ == "__main__":
    sys.exit(main.run(cli.runner, None, "headgate runner"))
