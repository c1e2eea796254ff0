"""Revisions of the schema, for both databases, from the first table on.

A released revision is never edited. Types come from ``types.py``: if one of those shall
mean something else, it gets a new name.
"""
