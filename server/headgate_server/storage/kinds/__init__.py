"""What storage keeps beside runs: a file per kind of resource, its records and its interface."""
