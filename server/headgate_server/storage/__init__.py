"""Where the control plane keeps its records."""
