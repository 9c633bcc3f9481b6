"""Imports every file of scenarios, which puts them into the catalogue."""

from tests.scenarios import (
    copying,
    debugging,
    discovery,
    executing,
    forwarding,
    logs,
    proxying,
    reading,
    rollouts,
    watching,
    writing,
)

__all__ = [
    "copying",
    "debugging",
    "discovery",
    "executing",
    "forwarding",
    "logs",
    "proxying",
    "reading",
    "rollouts",
    "watching",
    "writing",
]
