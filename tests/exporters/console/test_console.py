"""
The exporter ``console``: in a pipe against the contract kit, on a terminal by what the terminal gets.
"""

import fcntl
import json
import os
import random
import re
import struct
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from meterline.api import ExporterContext, PausedError, SystemClock, Verdict
from meterline.exporters.console import ConsoleExporter
from meterline.exporters.console.config import ConsoleConfig
from meterline.exporters.console.tables import OTHERS, Totals
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite, hostile_records
from meterline.testing.rig import RigRecords, usage

CONTEXT = ExporterContext("ledger", SystemClock(), None)


class Records(RigRecords):
    """
    A batch of records without a ledger.
    """

    id, number, attempt = "ledger/console/1", 1, 1

    @property
    def records(self) -> Sequence[Any]:
        return self._records

    def encode(self, fmt: Any, ordinals: Any = None) -> bytes:
        return super().encode(fmt, range(len(self)))


class PipeBackend(Backend):
    """
    Who reads the pipe.
    """

    cannot: ClassVar[Mapping[Fault, str]] = dict.fromkeys(Fault, "a pipe takes all of it, or is closed for ever")

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._out, self._in = os.pipe()
        self._data = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := os.read(self._out, 65_536):
            self._data += data

    def exporter(self, context: ExporterContext) -> ConsoleExporter:
        exporter = ConsoleExporter(NAME, ConsoleConfig(type="console", **QUICK), context)
        exporter.fd = self._in
        return exporter

    def held(self) -> Sequence[Mapping[str, Any]]:
        os.close(self._in)
        self._thread.join()
        os.close(self._out)
        self._in = -1
        found = {line: json.loads(line) for line in self._data.split(b"\n") if line}
        assert self._data.endswith(b"\n") or not self._data
        return list(found.values())

    def inject(self, fault: Fault, times: int) -> None:
        raise AssertionError(fault)

    def close(self) -> None:
        if self._in >= 0:
            self.held()


TestPipe = exporter_suite(PipeBackend)


class Terminal:
    """
    A pseudo terminal of a given size; ``text`` is what it was given.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._data = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self.master, 65_536):
                self._data += data
        except OSError:
            pass

    def text(self) -> str:
        os.close(self.slave)
        self._thread.join(5)
        os.close(self.master)
        return self._data.decode()


@pytest.fixture
def exporters() -> Iterator[list[ConsoleExporter]]:
    """
    Close what a test opened.
    """
    opened: list[ConsoleExporter] = []
    yield opened
    for exporter in opened:
        exporter.close()


def shown(columns: int, view: str, batches: Sequence[Sequence[Any]], lines: int = 30) -> str:
    """
    Return what a terminal gets when these batches are sent.
    """
    terminal = Terminal(columns, lines)
    exporter = ConsoleExporter(NAME, ConsoleConfig(type="console", view=view), CONTEXT)
    exporter.fd = terminal.slave
    exporter.connect(None)
    for records in batches:
        assert exporter.send(Records(records)).default.verdict is Verdict.DELIVERED
    exporter.close()
    return terminal.text()


def plain(text: str) -> str:
    """
    Remove what rich itself sends to the terminal.
    """
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("view", ["totals", "rows"])
def test_no_line_is_wider_than_the_terminal(columns: int, view: str) -> None:
    """
    Tables fit into terminals of any width, also with long names and quantities.
    """
    text = plain(shown(columns, view, [[usage(1), *hostile_records()], [usage(2)]]))
    assert max(len(line) for line in re.split(r"[\r\n]+", text)) <= columns


@pytest.mark.parametrize("view", ["totals", "rows"])
def test_foreign_text_cannot_move_the_cursor(view: str) -> None:
    """
    Control characters in customer ids are shown escaped.
    """
    text = shown(120, view, [[usage(1, customer_id="\x1b[2J\x1b]0;title\x07", dimension_id="a\rb\u202e")]])
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    assert "\\x1b[2J" in plain(text)
    assert "\u202e" not in text


def test_totals_are_exact_sums() -> None:
    """
    The live table shows exact sums over batches.
    """
    batches = [[usage(number, customer_id="acme", dimension_id="calls") for number in (1, 2)], [usage(3)]]
    text = plain(shown(120, "totals", batches))
    assert "5.000000000000000000000000000003" in text
    assert "acme" in text


def test_totals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Beyond a number of customers the rest is one line, so that memory is bounded.
    """
    monkeypatch.setattr("meterline.exporters.console.tables.MAX_PAIRS", 3)
    totals = Totals()
    totals.add([usage(number, customer_id=f"c{number}") for number in range(10)])
    assert len(totals._pairs) == 4
    assert totals._pairs[OTHERS].records == 7


def test_a_closed_pipe_pauses_and_delivers_nothing(exporters: list[ConsoleExporter]) -> None:
    """
    When the reader goes away, records are not delivered, and the exporter pauses instead of breaking.
    """
    out, into = os.pipe()
    os.close(out)
    exporter = ConsoleExporter(NAME, ConsoleConfig(type="console"), CONTEXT)
    exporters.append(exporter)
    exporter.fd = into
    exporter.connect(None)
    assert exporter.send(Records([usage(1)])).default.verdict is Verdict.UNKNOWN
    with pytest.raises(PausedError, match="nobody reads it"):
        exporter.connect(None)
    os.close(into)


def test_a_non_blocking_pipe_gets_everything(exporters: list[ConsoleExporter]) -> None:
    """
    A pipe that is full and non-blocking is waited for.
    """
    out, into = os.pipe()
    os.set_blocking(into, False)
    exporter = ConsoleExporter(NAME, ConsoleConfig(type="console"), CONTEXT)
    exporters.append(exporter)
    exporter.fd = into
    exporter.connect(None)
    got = bytearray()

    def read() -> None:
        while data := os.read(out, 65_536):
            got.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    records = [usage(number) for number in range(2_000)]
    exporter.send(Records(records))
    os.close(into)
    thread.join(10)
    os.close(out)
    assert len(got.splitlines()) == 2_000
