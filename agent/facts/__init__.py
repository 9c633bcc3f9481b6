"""What the agent finds out about its cluster by itself: whether the apiserver answers, and what the nodes have."""
