"""cluster-tunnel: reach the complete Kubernetes API of clusters on private networks."""
