"""
The exporter ``faulty``: a backend with records by id that fails by a seed.
"""

import os
import random
import time
import zlib
from collections.abc import Container, Sequence
from typing import ClassVar

from meterline.api import (
    Batch,
    DeliveryContract,
    Exporter,
    ExporterConfig,
    ExporterContext,
    NotConnectedError,
    Outcome,
    PluginSpec,
    Receipt,
    Verdict,
)
from meterline.api.receipt import unknown_all
from meterline.exporters.faulty.config import FaultyConfig

RETRY = Outcome(Verdict.RETRY, "faulty: not now")
REJECTED = Outcome(Verdict.REJECTED, "faulty: never")


class FaultyError(Exception):
    """
    What it raises when it is told to raise.
    """


class FaultyExporter(Exporter[FaultyConfig]):
    """
    Decides by (seed, batch, attempt) what goes wrong with a send, and by (seed, record id) which records it never takes.
    """

    spec = PluginSpec(
        name="faulty",
        kind="exporter",
        stability="beta",
        summary="Fails as it is told to, by a seed: for trying out what delivery does when a backend misbehaves.",
    )
    Config: ClassVar[type[ExporterConfig]] = FaultyConfig

    def __init__(self, name: str, config: FaultyConfig, context: ExporterContext) -> None:
        super().__init__(name, config, context)
        self._fd = -1

    @property
    def contract(self) -> DeliveryContract:
        """
        Say that it answers for each record, and that records carry their id.
        """
        return DeliveryContract(dedupe_key="id", per_record_results=True)

    def connect(self, checkpoint: bytes | None) -> None:
        """
        Open the file, if it keeps one, and cut off a line that a crash left torn.
        """
        del checkpoint
        self.close()
        if self.config.path is None:
            return
        try:
            self._fd = os.open(self.config.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _cut_torn_line(self._fd)
        except OSError as error:
            raise NotConnectedError(f"opening '{self.config.path}': {error.strerror}") from error

    def send(self, batch: Batch) -> Receipt:
        """
        Take the batch, or what the seed leaves of it.
        """
        config, luck = self.config, random.Random(f"{self.config.seed}/{batch.id}/{batch.attempt}")  # noqa: S311
        if luck.random() < config.slow_ratio:
            time.sleep(config.slow_secs)
        if luck.random() < config.disconnect_ratio:
            raise NotConnectedError("faulty: no connection")
        lost, raises = luck.random() < config.unknown_ratio, luck.random() < config.raise_ratio
        exceptions = self._exceptions(batch)
        if not (lost or raises) or luck.random() < 0.5:
            self._keep(batch.encode("ndjson").splitlines(keepends=True), exceptions.keys())
        if raises:
            raise FaultyError("faulty: an error on the way")
        return unknown_all("faulty: no answer") if lost else Receipt(exceptions=exceptions)

    def _exceptions(self, batch: Batch) -> dict[int, Outcome]:
        found: dict[int, Outcome] = {}
        for position, record in enumerate(batch.records):
            if self._drawn(record.id, "reject") < self.config.reject_ratio:
                found[position] = REJECTED
            elif self._drawn(record.id, f"retry/{batch.attempt}") < self.config.retry_ratio:
                found[position] = RETRY
        return found

    def _drawn(self, record_id: str, what: str) -> float:
        return zlib.crc32(f"{self.config.seed}/{what}/{record_id}".encode()) / 2**32

    def _keep(self, lines: Sequence[bytes], without: Container[int]) -> None:
        if self._fd >= 0:
            data = b"".join(line for position, line in enumerate(lines) if position not in without)
            while data:
                data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """
        Close the file.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _cut_torn_line(fd: int) -> None:
    size = os.fstat(fd).st_size
    tail = os.pread(fd, 1_048_576, max(0, size - 1_048_576))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(fd, size - len(tail.rpartition(b"\n")[2]))
