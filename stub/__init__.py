"""The public end: verifies users, asks agents, carries the answers."""
