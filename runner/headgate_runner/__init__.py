"""Runners: processes that lease flow runs from work pools and execute them."""
