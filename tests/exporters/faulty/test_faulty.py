"""
The exporter ``faulty`` against the contract kit, and its seeded decisions.
"""

import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from meterline.api import Batch, ExporterContext, NotConnectedError, Receipt, RetryableError, SystemClock
from meterline.api.receipt import rejected_all
from meterline.exporters.faulty import FaultyExporter
from meterline.exporters.faulty.config import FaultyConfig
from meterline.exporters.faulty.plugin import FaultyError
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite
from meterline.testing.rig import RigRecords, usage

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


class Lines(RigRecords):
    """
    A batch of a hundred records.
    """

    id, number = "ledger/x/1", 1

    def __init__(self, attempt: int = 1) -> None:
        super().__init__([usage(number) for number in range(100)])
        self.attempt = attempt

    @property
    def records(self) -> Sequence[Any]:
        return self._records

    def encode(self, fmt: Any, ordinals: Any = None) -> bytes:
        return super().encode(fmt, range(len(self)))


def _outcomes(attempts: range, **options: Any) -> list[str]:
    context = ExporterContext("ledger", SystemClock(), None)
    exporter = FaultyExporter("x", FaultyConfig(type="faulty", **{**CALM, **options}), context)
    exporter.connect(None)
    found = []
    for attempt in attempts:
        try:
            receipt = exporter.send(Lines(attempt))
        except (FaultyError, NotConnectedError) as error:
            found.append(type(error).__name__)
        else:
            found.append(",".join(receipt.of(position).verdict.value for position in range(100)))
    exporter.close()
    return found


def test_it_fails_by_its_seed() -> None:
    """
    The same seed fails the same way, another one differently; every kind of failure comes.
    """
    options = {
        "retry_ratio": 0.1,
        "reject_ratio": 0.1,
        "unknown_ratio": 0.2,
        "raise_ratio": 0.2,
        "disconnect_ratio": 0.2,
    }
    first = _outcomes(range(1, 40), seed=1, **options)
    assert first == _outcomes(range(1, 40), seed=1, **options)
    assert first != _outcomes(range(1, 40), seed=2, **options)
    assert {"FaultyError", "NotConnectedError"} <= set(first)
    words = {word for text in first for word in text.split(",")}
    assert {"delivered", "retry", "rejected", "unknown"} <= words


def test_what_it_refuses_for_good_it_never_takes() -> None:
    """
    A record's rejection depends on its id alone; a retry does not last.
    """
    rejected = [[word == "rejected" for word in text.split(",")] for text in _outcomes(range(1, 9), reject_ratio=0.3)]
    assert all(each == rejected[0] for each in rejected)
    assert 10 < sum(rejected[0]) < 60
    later = [text.split(",") for text in _outcomes(range(1, 30), retry_ratio=0.5)]
    assert all("delivered" in words for words in zip(*later, strict=True))


def test_slow_sends_take_longer() -> None:
    """
    ``slow_secs`` is added to the sends that are drawn.
    """
    began = time.monotonic()
    _outcomes(range(1, 3), slow_ratio=1, slow_secs=0.1)
    assert time.monotonic() - began >= 0.2


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    """
    Half a line from a crash does not spoil the next record.
    """
    path = tmp_path / "kept.ndjson"
    path.write_text('{"id": "1"}\n{"id": "2')
    _outcomes(range(1, 2), path=path)
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 101
