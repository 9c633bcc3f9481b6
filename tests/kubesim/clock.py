"""Times as the API writes them."""

from datetime import UTC, datetime


def now() -> str:
    """Return the time now as a `Time`: whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_now() -> str:
    """Return the time now as a `MicroTime`: exactly six digits."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> datetime:
    """Return the moment that an RFC 3339 time names, with up to nanoseconds (cut to microseconds)."""
    head, dot, rest = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(head).replace(tzinfo=UTC)
    return moment.replace(microsecond=int(rest[:6].ljust(6, "0"))) if dot else moment


def seconds_since(text: str) -> float:
    """Return how long ago a time was, in seconds."""
    return (datetime.now(UTC) - parse(text)).total_seconds()


def age(text: str | None) -> str:
    """Return an age as kubectl's columns show it: `5s`, `2m5s`, `3h`, `41d`."""
    if not text:
        return "<unknown>"
    seconds = max(0, int(seconds_since(text)))
    return duration(seconds)


def duration(seconds: int) -> str:
    """Return a duration with at most two units, the second only while it still tells something."""
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"
