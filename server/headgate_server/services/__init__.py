"""Use-cases: each reads, decides and writes in transactions of the storage."""
