"""The unary calls of the contract, a module per service; see ``headgate.client.rpc``."""
