"""The control plane of Headgate: contract in, committed state out."""
