"""Clients of the control plane: channels, unary calls, watching."""
