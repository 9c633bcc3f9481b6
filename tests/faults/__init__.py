"""Real stubs and agents, what can go wrong around them, and what their users notice of it."""
