"""
The exporter ``file`` against the contract kit, in every format; and planted bugs that the kit must find.
"""

import csv
import gzip
import io
import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zstandard

from meterline.api import Batch, ExporterContext, Receipt, RetryableError
from meterline.exporters.file import FileExporter
from meterline.exporters.file.checkpoint import Checkpoint
from meterline.exporters.file.config import FileConfig
from meterline.ledger import deliveries
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite


class Flaky(FileExporter):
    """
    A ``file`` whose disk meets the injected faults: half a write, then no room; or a slow sync.
    """

    script: list[Fault]

    def send(self, batch: Batch) -> Receipt:
        fault = self.script.pop() if self.script else None
        if fault is Fault.TRANSIENT:
            os.pwrite(self._fd, batch.encode("ndjson")[:33], self._at.length)
            raise RetryableError("no space left on device")
        if fault is Fault.DISCONNECT:
            os.close(self._fd)
            self._fd = os.open(self._path, os.O_RDONLY)
        return super().send(batch)


class FileBackend(Backend):
    """
    The files in a folder; every raw line counts.
    """

    faults = frozenset({Fault.TRANSIENT, Fault.DISCONNECT})
    cannot: ClassVar[Mapping[Fault, str]] = {
        Fault.PERMANENT: "a disk refuses no record for good",
        Fault.MIXED: "a disk refuses no record for good",
        Fault.ANSWER_LOST: "a write has no answer that could be lost: see the kill scenario",
        Fault.SLOW: "a slow disk is a slow send: the wait is the same",
    }
    options: ClassVar[Mapping[str, Any]] = {}
    kind: ClassVar[type[Flaky]] = Flaky

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._folder = folder
        self._script: list[Fault] = []

    def exporter(self, context: ExporterContext) -> FileExporter:
        config = FileConfig(type="file", path=self._folder / "usage.out", **{**QUICK, **self.options})
        exporter = self.kind(NAME, config, context)
        exporter.script = self._script
        return exporter

    def held(self) -> Sequence[Mapping[str, Any]]:
        while True:
            try:
                return [record for path in sorted(self._folder.glob("usage*")) for record in self.read(path)]
            except FileNotFoundError:
                continue  # renamed in between

    def read(self, path: Path) -> list[Mapping[str, Any]]:
        lines = self.text(path).split(b"\n")
        assert lines.pop() == b"", f"{path} has a torn line"
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise AssertionError(f"{path} has a torn line") from error

    def text(self, path: Path) -> bytes:
        return path.read_bytes()

    def inject(self, fault: Fault, times: int) -> None:
        self._script += [fault] * times

    def close(self) -> None:
        pass


class RotatingBackend(FileBackend):
    """
    Files of 10 kB.
    """

    options: ClassVar[Mapping[str, Any]] = {"rotate": {"max_bytes": 10_000}}


class GzipBackend(FileBackend):
    """
    A gzip member for each batch.
    """

    options: ClassVar[Mapping[str, Any]] = {"compression": "gzip", "rotate": {"max_bytes": 2_000, "max_secs": 0.05}}

    def text(self, path: Path) -> bytes:
        return gzip.decompress(path.read_bytes())


class ZstdBackend(FileBackend):
    """
    A zstd frame for each batch.
    """

    options: ClassVar[Mapping[str, Any]] = {"compression": "zstd"}

    def text(self, path: Path) -> bytes:
        with path.open("rb") as file:
            return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()


class CsvBackend(FileBackend):
    """
    CSV with a header in each file.
    """

    options: ClassVar[Mapping[str, Any]] = {"format": "csv", "rotate": {"max_bytes": 10_000}}

    def read(self, path: Path) -> list[Mapping[str, Any]]:
        csv.field_size_limit(1_000_000)
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
        return [
            row
            | {key: json.loads(row[key]) for key in ("metadata", "source")}
            | {"start_timestamp": row["start_timestamp"] or None}
            for row in rows
        ]


TestFile = exporter_suite(FileBackend)
TestRotating = exporter_suite(RotatingBackend)
TestGzip = exporter_suite(GzipBackend)
TestZstd = exporter_suite(ZstdBackend)
TestCsv = exporter_suite(CsvBackend)


class Unrolled(Flaky):
    """
    A planted bug: what is after the checkpoint is kept.
    """

    def _take_up(self, at: Checkpoint) -> None:
        size = self._path.stat().st_size
        super()._take_up(Checkpoint(at.generation, at.inode, size, at.since))


class UnrolledBackend(FileBackend):
    """
    The file of the planted bug.
    """

    kind = Unrolled


@pytest.mark.parametrize("scenario", ["test_kill_between_send_and_receipt", "test_transient"])
def test_a_file_that_does_not_cut_back_fails_the_kit(scenario: str, tmp_path: Path) -> None:
    """
    The kit finds records twice, or a torn line, when the rollback is left out.
    """
    suite = exporter_suite(UnrolledBackend)
    with pytest.raises(AssertionError, match=r"twice|torn"):
        getattr(suite(), scenario)(tmp_path)


def test_a_batch_row_deleted_before_its_receipt_fails_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The kit finds lost records when a batch counts as delivered before the backend has it.
    """
    form = deliveries.form

    def settled_early(connection: Any, name: str, row: Any, *rest: Any) -> None:
        form(connection, name, row, *rest)
        deliveries.settle(connection, name, deliveries.Settlement(row.number, delivered=row.count))

    monkeypatch.setattr(deliveries, "form", settled_early)
    with pytest.raises(AssertionError, match="lost"):
        exporter_suite(FileBackend)().test_kill_between_send_and_receipt(tmp_path)
