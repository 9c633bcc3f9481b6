"""Log lines on standard error: for people, or JSON for machines, one line each.

    log.info("session opened", extra={"cluster": cluster, "session": session})

The message is a fixed text; what varies stands in `extra` under a fixed key (cluster, agent, session, channel, reason, peer,
seconds). Lines are written by a thread of their own: a terminal that is held or a full pipe must not stop the event loop.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TextIO

from tunnel.kit import unraisable
from tunnel.kit.linewriter import LineWriter
from tunnel.kit.settings import setting

Format = Literal["auto", "text", "json"]
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How a command logs."""

    log_level: Level = setting(
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="The least important lines to show.",
    )
    log_format: Format = setting(
        choices=("auto", "text", "json"),
        default="auto",
        help="How lines look; auto is text on a terminal and JSON elsewhere.",
    )


# Formatting ------------------------------------------------------------------------------------

_OWN_KEYS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECRET_KEYS: Final = frozenset({"authorization", "cookie", "key", "password", "secret", "token"})
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[\w.,:/@+*%<>()\[\]-]+\Z")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {
        key: "<hidden>" if key.lower() in _SECRET_KEYS else value
        for key, value in record.__dict__.items()
        if key not in _OWN_KEYS
    }


def _without_credentials(text: str) -> str:
    """No code here logs a credential on purpose; this catches the one inside an error text of somebody else's."""
    return _BEARER.sub(r"\1 <hidden>", text)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, the extras, and the traceback as `error`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _without_credentials(json.dumps(line, default=str, ensure_ascii=False))


class TextFormatter(logging.Formatter):
    """`12:30:01.250 info    stub.server: session opened cluster=blue session=3`, in UTC; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        extras = "".join(f" {key}={_quoted(value)}" for key, value in _extras(record).items())
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r").replace("\x1b", "\\x1b")
        line = f"{_time(record)[11:]} {record.levelname.lower():7} {record.name}: {message}{extras}"
        if record.exc_info:
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return _without_credentials(line)


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=True)


# Writing ---------------------------------------------------------------------------------------

QUEUE_LINES: Final = 10_000
"""Lines that may wait for a reader that stands still, about 2 MB; later ones are dropped and counted."""


class ThreadedHandler(logging.Handler):
    """Formats a line where it is logged and writes it from a thread of its own.

    Args:
        stream: where to write.
        lines: how many may wait.
    """

    def __init__(self, stream: TextIO, lines: int = QUEUE_LINES) -> None:
        super().__init__()
        self._stream = stream
        self._writer = LineWriter(self._write, "logs", lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over the line; drop it if too many wait."""
        try:
            self._writer.put(self.format(record))
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, for two seconds at most, and end the thread."""
        self._writer.close()
        super().close()

    def _write(self, line: str, lost: int) -> None:
        if lost:
            line += f"\n{lost} log lines were dropped"
        self._stream.write(line + "\n")
        self._stream.flush()


def start(settings: LogSettings, stream: TextIO | None = None, **facts: object) -> None:
    """Send the process's log lines to `stream` (standard error), as `settings` say, and with them the errors that Python could raise
    nowhere. A second call replaces the first.

    Args:
        facts: what every line says of this process, beside its own extras.
    """
    stream = stream or sys.stderr
    text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = ThreadedHandler(stream)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    handler.addFilter(lambda record: _add(record, facts))
    stop()
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    unraisable.install()


def _add(record: logging.LogRecord, facts: Mapping[str, object]) -> bool:
    record.__dict__.update(facts)
    return True


def stop() -> None:
    """Write what waits and take the handler away again."""
    unraisable.uninstall()
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, ThreadedHandler)]:
        root.removeHandler(handler)
        handler.close()
