"""The agent's connections to its apiserver, and the credential it shows there."""
