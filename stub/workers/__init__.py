"""A stub of several processes: one that holds the lease and speaks to operators, and workers that serve."""
