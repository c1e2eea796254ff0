"""The ways to execute a leased run: in a process of its own, or in the runner itself."""
