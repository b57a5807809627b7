"""
Structured logs: constant lowercase events with keys, JSON for machines or columns for people, never a payload.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from meterline.printable import printable

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(fmt: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None) -> None:
    """
    Send structlog and the standard library's logging (grpc, OpenTelemetry) through one handler to ``stream`` (stderr).

    ``auto`` is ``console`` on a terminal, else ``json``. Libraries are heard from warning on. Safe to call again.
    """
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(fmt, out))
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("meterline").setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_factory,
        cache_logger_on_first_use=False,
    )


def _factory(*_: Any) -> logging.Logger:
    return logging.getLogger("meterline")


def _shared() -> list[Any]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _formatter(fmt: LogFormat, stream: TextIO) -> logging.Formatter:
    terminal = stream.isatty()
    console = fmt == "console" or (fmt == "auto" and terminal)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_rendering(terminal=terminal, console=console),
        ],
    )


def _rendering(*, terminal: bool, console: bool) -> list[Any]:
    if not console:
        return [structlog.processors.JSONRenderer()]
    colors = terminal and not os.environ.get("NO_COLOR")
    return [_escape, structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False)]


def _escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """
    Escape control characters everywhere but in a traceback, whose lines are ours.
    """
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            event[key] = printable(value)
    return event
