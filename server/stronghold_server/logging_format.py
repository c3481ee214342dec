"""Structured logs: one JSON object per line on stderr, with an allow-list.

What may appear is listed here and nowhere else. A message is written as its template, never with its arguments; of an
exception its type and places, never its text; of a path what stands before ``?``. So no body, query value, header or secret
can slip into a log through a careless call, ours or a library's.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Final, TextIO

from stronghold_cli.protocol.encoding import JsonValue, encode_json

# Members that a call may add with ``extra={…}``; all others are dropped.
ALLOWED: Final = (
    "event",
    "correlation_id",
    "method",
    "path",
    "status",
    "code",
    "duration_ms",
    "org",
    "agent",
    "operator",
    "key_id",
    "client",
    "head_seq",
    "count",
    "bytes",
    "port",
    "folder",
    "authority",
    "version",
)
_MAX_TEXT: Final = 300


class AllowListFormatter(logging.Formatter):
    """Formats a record as one line of JSON with the members that are allowed."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")  # the second of the line before, and its text

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, JsonValue] = {
            "time": self._time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _bounded(str(record.msg)),
        }
        members = record.__dict__
        for name in ALLOWED:
            value = members.get(name)
            if value is None:
                continue
            if isinstance(value, bool | int):
                line[name] = value
            elif isinstance(value, float):
                line[name] = f"{value:.3f}"
            elif isinstance(value, str):
                line[name] = _bounded(value.partition("?")[0] if name == "path" else value)
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["places"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
        return encode_json(line).decode()

    def _time(self, created: float) -> str:
        second, text = self._second
        if int(created) != second:
            second = int(created)
            text = datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
            self._second = (second, text)
        return f"{text}.{int((created - second) * 1000):03}Z"


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send all logs, those of libraries too, through the formatter to ``stream`` (stderr)."""
    # Nothing of this is written, and it costs as much as the line: where a call stands, its thread, its process.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the way that Python's logging how-to shows
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(AllowListFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    access = logging.getLogger("uvicorn.access")  # it would log query strings; the app logs each request itself
    access.handlers.clear()
    access.propagate = False


def _bounded(text: str) -> str:
    clean = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= _MAX_TEXT else clean[:_MAX_TEXT] + "…"
