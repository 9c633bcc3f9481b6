"""How the agent finds every stub, and keeps a session with each."""
