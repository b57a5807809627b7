"""
Structured logs, in both formats.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from meterline.telemetry import configure_logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """
    Put the process's logging back as it was.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_json_is_one_object_a_line() -> None:
    """The event, its keys, the level and a UTC time stand in one JSON object on one line."""
    out = io.StringIO()
    configure_logs("json", stream=out)

    structlog.get_logger("meterline").bind(part="intake").info("ledger opened", frames=3)

    entry = json.loads(out.getvalue())
    assert (entry["event"], entry["part"], entry["frames"], entry["level"]) == ("ledger opened", "intake", 3, "info")
    assert entry["timestamp"].endswith("Z")


def test_auto_is_json_in_a_pipe() -> None:
    """Where no terminal is, ``auto`` writes JSON."""
    out = io.StringIO()
    configure_logs("auto", stream=out)

    structlog.get_logger("meterline").warning("something")

    assert json.loads(out.getvalue())["level"] == "warning"


def test_console_shows_control_characters_escaped() -> None:
    """Foreign text cannot move the cursor or forge a line: escapes, newlines and overrides are shown, not sent."""
    out = io.StringIO()
    configure_logs("console", stream=out)

    structlog.get_logger("meterline").warning("odd", customer="a\x1b[2J\nfake\u202e")

    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()
    assert r"a\x1b[2J\x0afake\u202e" in out.getvalue()


def test_level_filters() -> None:
    """Under the level nothing is written."""
    out = io.StringIO()
    configure_logs("json", "warning", stream=out)

    structlog.get_logger("meterline").info("not this")
    structlog.get_logger("meterline").error("this")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["this"]


def test_libraries_are_heard_from_warning_on_in_the_same_format() -> None:
    """Standard logging and Python's warnings end in the same stream, with the logger's name; info does not."""
    out = io.StringIO()
    configure_logs("json", "debug", stream=out)

    logging.getLogger("grpc").info("chatter")
    logging.getLogger("grpc").warning("trouble %s", 7)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)

    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["event"], first["logger"]) == ("trouble 7", "grpc")
    assert "old thing" in second["event"]


def test_configuring_twice_writes_once() -> None:
    """A second call replaces the first handler."""
    first, second = io.StringIO(), io.StringIO()
    configure_logs("json", stream=first)
    configure_logs("json", stream=second)

    structlog.get_logger("meterline").info("once")

    assert (first.getvalue(), second.getvalue().count("\n")) == ("", 1)


def test_exceptions_carry_their_traceback() -> None:
    """An exception logged has its traceback under one key."""
    out = io.StringIO()
    configure_logs("json", stream=out)
    try:
        int("broken")
    except ValueError:
        structlog.get_logger("meterline").exception("unexpected error")

    assert "ValueError: invalid literal" in json.loads(out.getvalue())["exception"]
