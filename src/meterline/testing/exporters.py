"""
The exporter contract kit: what every exporter must keep, run against the real backend or a faithful stand-in.

A plugin author writes a ``Backend`` - how to make the exporter, how to break the backend, and a *probe* that reads back what
it holds - and gets a test class::

    from meterline.testing.exporters import Backend, Fault, exporter_suite

    class MyBackend(Backend):
        faults = frozenset({Fault.TRANSIENT, Fault.ANSWER_LOST, Fault.DISCONNECT, Fault.SLOW})
        cannot = {Fault.PERMANENT: "takes every record", Fault.MIXED: "answers for a whole batch only"}

        def __init__(self, folder: Path, rng: random.Random) -> None: ...           # start the backend
        def exporter(self, context: ExporterContext) -> Exporter[Any]: ...          # a new, unconnected exporter
        def held(self) -> list[Mapping[str, Any]]: ...                              # the probe: every record, repeats included
        def inject(self, fault: Fault, times: int) -> None: ...                     # the next ``times`` sends meet the fault
        def close(self) -> None: ...

    TestMyExporter = exporter_suite(MyBackend)

Scenarios: ok, transient, permanent, mixed in one batch, answer lost after commit, disconnect, slow, restart from the ledger,
kill between send and receipt, hostile names and sizes, close with work in flight.

Verdict after each: created = delivered + pending + held + dead + void; none lost; none invented; none twice after
idempotency; all values equal to the last digit.
"""

import os
import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest

from meterline.api import Batch, Exporter, ExporterContext, Quantity, Receipt, UsageRecord
from meterline.delivery import State
from meterline.testing.rig import GoneError, Rig, record_json, usage

NAME: Final = "contract"
DEATH_SECS: Final = 20.0
"""The name that the kit's exporters are to be made with."""

QUICK: Final[Mapping[str, Any]] = {
    "start": "beginning",
    "batch": {"max_records": 50, "max_wait_secs": 0.02},
    "retry": {"initial_secs": 0.02, "max_secs": 0.1},
}
"""Options for the exporter's config, so that a suite takes seconds: ``MyConfig(type="mine", **QUICK)``."""


class Fault(Enum):
    """
    What a backend can be made to do to a send.
    """

    TRANSIENT = "refuse all of it for now"
    PERMANENT = "refuse all of it for good"
    MIXED = "refuse some records of it, not all, for good"
    ANSWER_LOST = "take all of it and lose the answer"
    DISCONNECT = "break the connection before anything is taken"
    SLOW = "answer late, after some tenths of a second"


class Backend(ABC):
    """
    What a plugin author writes. Made anew for every scenario.
    """

    faults: ClassVar[frozenset[Fault]] = frozenset()
    """What ``inject`` knows."""

    cannot: ClassVar[Mapping[Fault, str]] = {}
    """For every other fault, why this backend cannot meet it; the scenario is skipped with these words."""

    @abstractmethod
    def __init__(self, folder: Path, rng: random.Random) -> None:
        """
        Start the backend, with an empty folder of its own.
        """

    @abstractmethod
    def exporter(self, context: ExporterContext) -> Exporter[Any]:
        """
        Return a new exporter named ``NAME``, not connected, with the options ``QUICK``. Called again after a restart.
        """

    @abstractmethod
    def held(self) -> Sequence[Mapping[str, Any]]:
        """
        Read back every record the backend holds, repeats included, as the documented JSON object.

        ``id`` and ``value`` (a decimal string) must be there; every other documented key that is there is compared too.
        """

    @abstractmethod
    def inject(self, fault: Fault, times: int) -> None:
        """
        Have the next ``times`` sends meet the fault.
        """

    @abstractmethod
    def close(self) -> None:
        """
        Stop the backend.
        """


class Verdict:
    """
    Compares what was created, what the ledger says became of it, and what the backend holds.
    """

    def __init__(self, rig: Rig, backend: Backend, exporter: Exporter[Any]) -> None:
        self.state: State = rig.states()[NAME]
        self.expected = {record.id: record_json(record) for record in rig.created}
        self.held = list(backend.held())
        self.counts = Counter(str(held["id"]) for held in self.held)
        rows = rig.sql("SELECT record_id, state, unanswered FROM outcome WHERE exporter = ?", NAME)
        self.outcomes = {row[0]: (row[1], row[2]) for row in rows}
        self.contract = exporter.contract

    def check(self) -> None:
        """
        Raise AssertionError unless everything holds; the first 20 offending ids are named.
        """
        self._balance()
        self._fail("invented", [id_ for id_ in self.counts if id_ not in self.expected])
        self._fail("lost", [id_ for id_ in self.expected if self._state(id_) == "delivered" and not self.counts[id_]])
        self._fail(
            "refused and there", [id_ for id_ in self.counts if self._state(id_) == "dead" and not self._listed(id_)]
        )
        self._fail("twice", [id_ for id_, count in self.counts.items() if count > 1 and not self._may_repeat(id_)])
        self._fail("changed", [str(held["id"]) for held in self.held if not self._is_equal(held)])

    def _balance(self) -> None:
        state, row = self.state, self.state.row
        assert state.created == len(self.expected), f"created {state.created} of {len(self.expected)} records"
        parts = row.delivered + state.pending + row.held + row.dead + row.void
        assert state.created == parts, f"created is not delivered + pending + held + dead + void: {state}"

    def _state(self, record_id: str) -> str:
        """
        What has no outcome row and is not pending is plain delivered.
        """
        if record_id in self.outcomes:
            return str(self.outcomes[record_id][0])
        return "delivered" if self.state.pending == 0 else "pending"

    def _listed(self, record_id: str) -> bool:
        return record_id in self.outcomes and self.outcomes[record_id][1] > 0

    def _may_repeat(self, record_id: str) -> bool:
        """
        A backend that dedupes shows nothing twice; elsewhere only what is listed may be there twice.
        """
        return not self.contract.never_unknown and self._listed(record_id)

    def _is_equal(self, held: Mapping[str, Any]) -> bool:
        expected = self.expected.get(str(held["id"]), {})
        return "value" in held and all(
            expected.get(key, value) == value for key, value in held.items() if key in expected
        )

    def _fail(self, what: str, ids: Sequence[str]) -> None:
        assert not ids, f"{len(ids)} records are {what}: {ids[:20]}"


class Stage:
    """
    One scenario: a backend, a ledger, and an exporter between them.
    """

    def __init__(self, folder: Path, make: Callable[[Path, random.Random], Backend], seed: int) -> None:
        self.rng = random.Random(seed)
        (folder / "backend").mkdir()
        self.backend = make(folder / "backend", self.rng)
        self.rig = Rig(folder)
        self._numbers = iter(range(1_000_000))
        self.exporter = self.backend.exporter(self.rig.context())

    def start(self) -> None:
        """
        Start delivery with a new exporter.
        """
        self.exporter = self.backend.exporter(self.rig.context())
        self.rig.start(self.exporter)

    def feed(self, frames: int, largest: int = 120) -> None:
        """
        Commit frames of seeded sizes.
        """
        for _ in range(frames):
            count = self.rng.randint(1, largest)
            self.rig.append([usage(next(self._numbers)) for _ in range(count)])

    def feed_until_dead(self) -> None:
        """
        Commit frames until the process that ``die_after`` plans to kill is dead, however they are cut into batches.
        """
        end = time.monotonic() + DEATH_SECS
        with suppress(GoneError):
            while not self.rig.transactor.dead:
                assert time.monotonic() < end, f"not dead in {DEATH_SECS} s"
                self.feed(1)
                time.sleep(0.02)

    def finish(self) -> Verdict:
        """
        Wait until nothing is pending, and check.
        """
        self.rig.wait_delivered(30)
        verdict = Verdict(self.rig, self.backend, self.exporter)
        verdict.check()
        return verdict

    def close(self) -> None:
        """
        End everything.
        """
        self.rig.close()
        self.backend.close()

    def die_after(self, sends: int) -> None:
        """
        Have the process die, as far as the ledger can tell, right after the backend answered so many sends.
        """
        send, left = self.exporter.send, iter(range(sends - 1, -1, -1))

        def deadly(batch: Batch) -> Receipt:
            receipt = send(batch)
            if next(left, 0) == 0:
                self.rig.transactor.dead = True
            return receipt

        self.exporter.send = deadly  # type: ignore[method-assign]


class ExporterContract:
    """
    The scenarios. ``exporter_suite`` makes a test class of them.
    """

    backend: ClassVar[Callable[[Path, random.Random], Backend]]

    @contextmanager
    def _stage(self, folder: Path, fault: Fault | None = None) -> Iterator[Stage]:
        self._ask(fault)
        seed = int(os.environ.get("METERLINE_SEED", "20261122"))
        print(f"METERLINE_SEED={seed}")  # noqa: T201 - a failing run can be repeated
        stage = Stage(folder, type(self).backend, seed)
        try:
            yield stage
        finally:
            stage.close()

    def _ask(self, fault: Fault | None) -> None:
        backend: Any = type(self).backend
        if fault is None or fault in backend.faults:
            return
        assert fault in backend.cannot, f"{backend.__name__} must know {fault} in `faults`, or say in `cannot` why not"
        pytest.skip(backend.cannot[fault])

    def test_ok(self, tmp_path: Path) -> None:
        """
        Every record arrives once, with its value.
        """
        with self._stage(tmp_path) as stage:
            stage.start()
            stage.feed(8)
            verdict = stage.finish()
        assert set(verdict.counts.values()) == {1}
        assert verdict.state.row.delivered == len(verdict.expected)

    def test_transient(self, tmp_path: Path) -> None:
        """
        What is refused for now arrives later, once.
        """
        with self._stage(tmp_path, Fault.TRANSIENT) as stage:
            stage.backend.inject(Fault.TRANSIENT, 3)
            stage.start()
            stage.feed(6)
            verdict = stage.finish()
        assert verdict.state.row.delivered == len(verdict.expected)
        assert verdict.state.row.attempts > len(verdict.expected) // 50

    def test_permanent(self, tmp_path: Path) -> None:
        """
        What is refused for good is dead, kept with its reason and content, and costs no neighbour.
        """
        with self._stage(tmp_path, Fault.PERMANENT) as stage:
            stage.backend.inject(Fault.PERMANENT, 1)
            stage.feed(1, largest=1)
            stage.start()
            stage.rig.wait_delivered()
            stage.feed(3)
            verdict = stage.finish()
            dead = stage.rig.sql("SELECT record, reason FROM outcome WHERE state = 'dead'")
        assert verdict.state.row.dead == len(dead) == 1
        assert all(record and reason for record, reason in dead)

    def test_mixed(self, tmp_path: Path) -> None:
        """
        In one batch, good records arrive and bad ones are dead.
        """
        with self._stage(tmp_path, Fault.MIXED) as stage:
            stage.backend.inject(Fault.MIXED, 1)
            stage.feed(1, largest=40)
            stage.feed(2)
            stage.start()
            verdict = stage.finish()
        assert verdict.state.row.dead > 0
        assert verdict.state.row.delivered > 0

    def test_answer_lost(self, tmp_path: Path) -> None:
        """
        What was taken without an answer is sent again and listed, or held; never lost, never silently twice.
        """
        with self._stage(tmp_path, Fault.ANSWER_LOST) as stage:
            stage.backend.inject(Fault.ANSWER_LOST, 2)
            stage.start()
            stage.feed(6)
            verdict = stage.finish()
        assert any(unanswered for _, unanswered in verdict.outcomes.values())

    def test_disconnect(self, tmp_path: Path) -> None:
        """
        A broken connection is made again, and everything arrives.
        """
        with self._stage(tmp_path, Fault.DISCONNECT) as stage:
            stage.start()
            stage.feed(2)
            stage.finish()
            stage.backend.inject(Fault.DISCONNECT, 2)
            stage.feed(4)
            verdict = stage.finish()
        assert verdict.state.row.dead == 0

    def test_slow(self, tmp_path: Path) -> None:
        """
        A slow backend changes nothing but the time.
        """
        with self._stage(tmp_path, Fault.SLOW) as stage:
            stage.backend.inject(Fault.SLOW, 2)
            stage.start()
            stage.feed(3)
            verdict = stage.finish()
        assert verdict.state.row.dead == 0

    def test_restart_from_ledger(self, tmp_path: Path) -> None:
        """
        After a stop, a new process goes on where the ledger says: nothing twice, nothing left out.
        """
        with self._stage(tmp_path) as stage:
            for _ in range(3):
                stage.start()
                stage.feed(3)
                stage.rig.restart()
                stage.feed(1)
            stage.start()
            verdict = stage.finish()
        assert set(verdict.counts.values()) == {1}
        assert verdict.state.row.delivered == len(verdict.expected)

    def test_kill_between_send_and_receipt(self, tmp_path: Path) -> None:
        """
        A process that dies after the backend took a batch leaves nothing lost, and nothing silently twice.
        """
        with self._stage(tmp_path) as stage:
            for sends in (1, 2):
                stage.start()
                stage.die_after(sends)
                stage.feed_until_dead()
                stage.rig.kill()
            stage.start()
            stage.feed(2)
            verdict = stage.finish()
        assert verdict.state.row.dead == 0
        if not verdict.contract.never_unknown:
            assert any(unanswered for _, unanswered in verdict.outcomes.values())

    def test_hostile_names_and_sizes(self, tmp_path: Path) -> None:
        """
        Foreign text of any kind and size arrives unchanged, or is refused with a reason, and never harms a neighbour.
        """
        with self._stage(tmp_path) as stage:
            stage.rig.append([*hostile_records(), *(usage(1_000_000 + number) for number in range(20))])
            stage.start()
            verdict = stage.finish()
        assert verdict.state.row.delivered >= 20

    def test_close_with_work_in_flight(self, tmp_path: Path) -> None:
        """
        A stop without patience changes no record's state; the next start delivers what was left.
        """
        with self._stage(tmp_path) as stage:
            if Fault.SLOW in stage.backend.faults:
                stage.backend.inject(Fault.SLOW, 1)
            stage.start()
            stage.feed(6)
            stage.rig.stop(0.05)
            before = stage.rig.states()[NAME]
            assert before.row.dead == before.row.void == 0
            stage.rig.restart()
            stage.start()
            stage.finish()

    def test_close_is_always_legal(self, tmp_path: Path) -> None:
        """
        Closing without connecting, and twice, does nothing, and nothing was opened by making the exporter.
        """
        with self._stage(tmp_path) as stage:
            stage.exporter.close()
            stage.exporter.close()
            held = list(stage.backend.held())
        assert held == []


def exporter_suite(backend: type[Backend]) -> type[ExporterContract]:
    """
    Make the test class of a backend, to be assigned to a name that begins with ``Test``.
    """
    return type(f"Test{backend.__name__}", (ExporterContract,), {"backend": backend, "__test__": True})


HOSTILE_TEXTS: Final = (
    "",
    " ",
    "\x00",
    "line\nbreak\r\nagain",
    'quote " comma , semicolon ; backslash \\',
    "\x1b[2J\x1b[31mred",
    "=HYPERLINK(1)",
    "\u202ertl \u200b zero",
    "\U0001f4a9 \u00e9 e\u0301",
    "\u2028\u2029\x85",
    "../../etc/passwd",
    "<img src=x onerror=alert(1)>",
    "x" * 70_000,
)

_EXTREMES: Final = (1, -1, 10**50 - 1, -(10**50 - 1), 10**30, 123_456_789 * 10**18 + 1, 2**63 * 10**30)


def hostile_records() -> list[UsageRecord]:
    """
    Return records whose texts and quantities are what nobody expects.
    """
    records = []
    for number, text in enumerate(HOSTILE_TEXTS):
        metadata = {text or "empty": text, "n": str(number)}
        records.append(usage(2_000_000 + number, customer_id=text or "e", dimension_id=text or "e", metadata=metadata))
    for number, units in enumerate(_EXTREMES):
        records.append(usage(3_000_000 + number, value=Quantity(units), metadata={f"k{i}": "v" for i in range(200)}))
    return records


def _wait(condition: Callable[[], bool], secs: float = 20.0) -> None:
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end, f"not in {secs} s"
        time.sleep(0.005)
