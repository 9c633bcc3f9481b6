"""What the stub signs: agents that join or renew, users that sign in."""
