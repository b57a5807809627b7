"""
The exporter ``console``: for people on a terminal, for programs in a pipe.
"""

import os
import select
import threading
from typing import ClassVar

from rich.console import Console, ConsoleDimensions
from rich.live import Live

from meterline.api import (
    Batch,
    DeliveryContract,
    Exporter,
    ExporterConfig,
    ExporterContext,
    PausedError,
    PluginSpec,
    Receipt,
)
from meterline.api.receipt import unknown_all
from meterline.exporters.console.config import ConsoleConfig
from meterline.exporters.console.tables import Totals, rows

_one_writer = threading.Lock()


class ConsoleExporter(Exporter[ConsoleConfig]):
    """
    Writes to standard output. When nobody reads it any more, it pauses: no record counts as delivered unseen.
    """

    spec = PluginSpec(
        name="console",
        kind="exporter",
        stability="beta",
        summary="Shows usage on the terminal as a live table; in a pipe, writes one JSON object a line.",
    )
    Config: ClassVar[type[ExporterConfig]] = ConsoleConfig

    def __init__(self, name: str, config: ConsoleConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self.fd = 1
        self._closed_by = ""
        self._console: Console | None = None
        self._live: Live | None = None
        self._totals = Totals()

    @property
    def contract(self) -> DeliveryContract:
        """
        Records carry their id, so that a reader can tell a repeat.
        """
        return DeliveryContract(dedupe_key="id")

    def connect(self, checkpoint: bytes | None) -> None:
        """
        See whether standard output is a terminal.
        """
        del checkpoint
        if self._closed_by:
            raise PausedError(
                f"writing to standard output: {self._closed_by}; nobody reads it: start again with a reader, or use `file`"
            )
        wanted = self.config.format
        if self._console is None and (wanted == "table" or (wanted == "auto" and os.isatty(self.fd))):
            self._console = Console(file=os.fdopen(os.dup(self.fd), "w", encoding="utf-8", errors="backslashreplace"))

    def send(self, batch: Batch) -> Receipt:
        """
        Show or write the records.
        """
        try:
            with _one_writer:
                if self._console is None:
                    _write_all(self.fd, batch.encode("ndjson"))
                else:
                    self._show(self._console, batch)
        except OSError as error:
            self._closed_by = error.strerror or str(error)
            return unknown_all(f"writing to standard output: {self._closed_by}")
        return Receipt()

    def _show(self, console: Console, batch: Batch) -> None:
        if os.isatty(self.fd):
            console.size = ConsoleDimensions(*os.get_terminal_size(self.fd))
        if self.config.view == "rows":
            console.print(rows(batch.records, console.width))
            console.file.flush()
            return
        self._totals.add(batch.records)
        if self._live is None:
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        self._live.update(self._totals.table(console.width, console.height), refresh=True)

    def close(self) -> None:
        """
        Leave the last table standing.
        """
        live, self._live = self._live, None
        console, self._console = self._console, None
        try:
            if live is not None:
                live.stop()
            if console is not None:
                console.file.close()
        except OSError as error:
            self._closed_by = error.strerror or str(error)


def _write_all(fd: int, data: bytes) -> None:
    """
    Write all of it, also to a pipe that somebody made non-blocking.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
