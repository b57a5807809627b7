"""
The contract kit finds what it is there to find: planted bugs in exporters, backends without a probe, silent gaps.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from meterline.api import (
    Batch,
    DeliveryContract,
    Exporter,
    ExporterConfig,
    ExporterContext,
    Outcome,
    PluginSpec,
    Receipt,
)
from meterline.api import Verdict as Says
from meterline.testing.exporters import NAME, QUICK, Backend, Fault, exporter_suite
from meterline.testing.rig import record_json

Bug = Callable[[list[Mapping[str, Any]]], list[Mapping[str, Any]]]


class Memory(Exporter[ExporterConfig]):
    """
    Puts records into a list, after a bug has seen them.
    """

    spec = PluginSpec("memory", "exporter", "alpha", "keeps records in memory")
    Config = ExporterConfig
    store: list[Mapping[str, Any]]
    bug: Bug
    refuse: list[Fault]

    @property
    def contract(self) -> DeliveryContract:
        return DeliveryContract(dedupe_key="id", per_record_results=True)

    def connect(self, checkpoint: bytes | None) -> None:
        pass

    def send(self, batch: Batch) -> Receipt:
        if self.refuse:
            self.refuse.pop()
            return Receipt(exceptions={0: Outcome(Says.REJECTED, "bad")})
        known = {held["id"] for held in self.store}
        new = [record_json(record) for record in batch.records if record.id not in known]
        self.store += self.bug(new)
        return Receipt()

    def close(self) -> None:
        pass


class MemoryBackend(Backend):
    """
    A dictionary; honest unless a subclass plants a bug.
    """

    cannot: ClassVar[Mapping[Fault, str]] = dict.fromkeys(Fault, "a list in memory always takes everything")

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._store: list[Mapping[str, Any]] = []
        self._refuse: list[Fault] = []

    def bug(self, new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return new

    def exporter(self, context: ExporterContext) -> Memory:
        made = Memory(NAME, ExporterConfig(type="memory", **QUICK), context)
        made.store, made.bug, made.refuse = self._store, self.bug, self._refuse
        return made

    def held(self) -> Sequence[Mapping[str, Any]]:
        return self._store

    def inject(self, fault: Fault, times: int) -> None:
        self._refuse += [fault] * times

    def close(self) -> None:
        pass


TestMemory = exporter_suite(MemoryBackend)


class Loses(MemoryBackend):
    """
    Drops the last record of each batch.
    """

    def bug(self, new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return new[:-1]


class Repeats(MemoryBackend):
    """
    Stores a record twice.
    """

    def bug(self, new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [*new, new[0]] if new else new


class Invents(MemoryBackend):
    """
    Stores a record that nobody made.
    """

    def bug(self, new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [*new, {**new[0], "id": "f" * 32}] if new else new


class Rounds(MemoryBackend):
    """
    Passes quantities through a float.
    """

    def bug(self, new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [{**record, "value": str(float(record["value"]))} for record in new]


class Forgets(MemoryBackend):
    """
    Stores records without their values.
    """

    def bug(self, new: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [{"id": record["id"]} for record in new]


@pytest.mark.parametrize(
    ("backend", "words"),
    [(Loses, "lost"), (Repeats, "twice"), (Invents, "invented"), (Rounds, "changed"), (Forgets, "changed")],
)
def test_planted_bugs_fail(backend: type[Backend], words: str, tmp_path: Path) -> None:
    """
    Each bug is found by the plainest scenario, and named.
    """
    with pytest.raises(AssertionError, match=f"records are {words}"):
        exporter_suite(backend)().test_ok(tmp_path)


class RefusesAndKeeps(MemoryBackend):
    """
    Says that it refused a whole batch for its first record, and delivered the others, which it did not take.
    """

    faults = frozenset({Fault.MIXED})


def test_a_receipt_that_lies_fails(tmp_path: Path) -> None:
    """
    Records that a receipt calls delivered must be there.
    """
    with pytest.raises(AssertionError, match="records are lost"):
        exporter_suite(RefusesAndKeeps)().test_mixed(tmp_path)


def test_a_gap_must_be_named(tmp_path: Path) -> None:
    """
    A fault that a backend neither knows nor excuses fails its scenario.
    """

    class Silent(MemoryBackend):
        cannot: ClassVar[Mapping[Fault, str]] = {}

    with pytest.raises(AssertionError, match="say in `cannot` why not"):
        exporter_suite(Silent)().test_slow(tmp_path)


def test_without_a_probe_there_is_no_suite() -> None:
    """
    A backend that cannot read back what it holds is no backend.
    """

    class Blind(Backend):
        pass

    with pytest.raises(TypeError, match="held"):
        Blind(Path(), random.Random(1))
