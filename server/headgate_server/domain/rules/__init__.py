"""One rule per file; each says why it exists. Their order is in ``domain.orchestrator``."""
