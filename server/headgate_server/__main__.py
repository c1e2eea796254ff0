"""``python -m headgate_server``: the same as ``headgate server``."""

from headgate_server.cli import server

if __name__ == "__main__":
    server(prog_name="python -m headgate_server")
