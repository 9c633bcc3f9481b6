"""Recordings of what execs and attaches show, as asciicasts. Both are called an exec here."""
