"""
The exporter ``faulty`` against the contract kit, and its seeded decisions.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from meterline.api import Batch, ExporterContext, NotConnectedError, Receipt, RetryableError
from meterline.api.receipt import rejected_all
from meterline.exporters.faulty import FaultyExporter
from meterline.exporters.faulty.config import FaultyConfig
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite

CALM = {f"{what}_ratio": 0.0 for what in ("retry", "reject", "unknown", "raise", "disconnect", "slow")}


class Scripted(FaultyExporter):
    """
    A calm ``faulty`` that meets injected faults.
    """

    script: list[Fault]

    def send(self, batch: Batch) -> Receipt:
        fault = self.script.pop() if self.script else None
        if fault is Fault.TRANSIENT:
            raise RetryableError("not now")
        if fault is Fault.PERMANENT:
            return Receipt(exceptions={i: rejected_all("never").default for i in range(len(batch))})
        if fault is Fault.DISCONNECT:
            raise NotConnectedError("gone")
        receipt = super().send(batch)
        if fault is Fault.ANSWER_LOST:
            raise OSError("no answer")
        return receipt


class FaultyBackend(Backend):
    """
    The file that ``faulty`` keeps.
    """

    faults = frozenset({Fault.TRANSIENT, Fault.PERMANENT, Fault.ANSWER_LOST, Fault.DISCONNECT})
    cannot: ClassVar = {Fault.MIXED: "see test_it_fails_by_its_seed", Fault.SLOW: "see test_it_fails_by_its_seed"}

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._path = folder / "faulty.ndjson"
        self._script: list[Fault] = []

    def exporter(self, context: ExporterContext) -> FaultyExporter:
        exporter = Scripted(NAME, FaultyConfig(type="faulty", path=self._path, **CALM, **QUICK), context)
        exporter.script = self._script
        return exporter

    def held(self) -> Sequence[Mapping[str, Any]]:
        lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        return [json.loads(line) for line in lines if line]

    def inject(self, fault: Fault, times: int) -> None:
        self._script += [fault] * times

    def close(self) -> None:
        pass


TestContract = exporter_suite(FaultyBackend)
