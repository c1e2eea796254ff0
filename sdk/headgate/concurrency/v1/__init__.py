"""Limits by tag, as code for older versions of the incumbent has them."""
