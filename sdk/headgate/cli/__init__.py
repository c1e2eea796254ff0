"""The ``headgate`` command. A file per group; nothing heavy is loaded until a command needs it."""
