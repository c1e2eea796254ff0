"""Runs flows and tasks: drives their states, retries, timeouts and cancellation.

Nothing in here is for users to import. Read in this order: ``effects`` (how one engine serves
sync and async code), ``flow_engine`` and ``task_engine`` (what happens in a run), ``outcomes``
(which state a result becomes), ``recording`` and ``outbox`` (what is told to the server), and
``link`` (the thread and the stream that tell it).
"""
