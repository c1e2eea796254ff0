"""Between the records of ``headgate.core`` and the messages of ``headgate.api.v1``.

A module per family of messages. For each record ``X`` there is a pair::

    x_to_proto(record, into=None) -> message    # fills ``into`` where one is given
    x_from_proto(message, ...) -> record

Filling a message in place saves a copy: ``state_to_proto(run.state, into=message.state)``.

Messages come from strangers. What is missing in one gets the default that the contract
states; what has no meaning raises :class:`headgate.core.errors.InvalidArgument` with the field
named. ``None`` and an unset message, or an empty text of an optional id, are the same.
"""
