"""Who may ask what: the stub's access rules and the agent's ceiling, parsed once and decided without I/O or clock."""
