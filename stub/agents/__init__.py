"""The side of the stub that agents dial: their sessions, their response channels, and which of them is asked."""
