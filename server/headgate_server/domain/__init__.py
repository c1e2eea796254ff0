"""Pure decisions of the control plane: no I/O, no clock, no wire types, no SQL."""
