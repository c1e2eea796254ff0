"""Locks for isolated transactions: in this process, or between processes by files."""
