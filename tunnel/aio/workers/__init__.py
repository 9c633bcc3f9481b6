"""Several processes that share one port: a supervisor starts them, replaces those that die, and speaks for all of them.

A worker runs the complete data path on an event loop of its own; no request crosses processes. The supervisor carries no requests.
"""
