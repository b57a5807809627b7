"""
Counters that two writers read in turns: the term says whose reading it is, so that their skew is no reset.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.api.receiver import Format
from meterline.kernel import load_kernel
from meterline.kernel.framing import decode_frame
from meterline.kernel.reasons import Reason
from meterline.kernel.steps import cumulative
from meterline.kernel.steps.cumulative import EMPTY, Epoch, State, decode, encode, from_fast, promote, to_fast, writer
from meterline.kernel.steps.spans import Coverage
from meterline.testing.kernel import KernelHarness
from meterline.testing.otlp import Metrics, Point
from meterline.testing.rules import SimpleRule

Make = Callable[..., KernelHarness]

# term:value ... one reading every ten seconds from 110 on, no start; what each adds ("." nothing, "r" an inferred reset)
VECTORS = {
    "the skew of one reading": ("1:100 1:110 2:107 2:112", ". 10 . 2"),
    "the skew of several": ("1:100 1:110 2:104 2:107 2:110 2:113", ". 10 . . . 3"),
    "no skew": ("1:100 2:110 1:120 3:120 3:125", ". 10 10 . 5"),
    "reset during failover, below the old value": ("1:1000 2:3 2:9 2:14", ". . r9 5"),
    "reset during failover, past it at once": ("1:10 2:15 2:18", ". 5 3"),
    "reset during failover, past it later": ("1:10 2:3 2:15", ". . 5"),
    "reset after failover": ("1:100 2:107 2:110 2:4 2:6", ". 7 3 r4 2"),
    "reset while behind": ("1:100 2:90 2:5 2:7", ". . r5 2"),
    "failover while behind": ("1:100 2:90 3:80 3:101", ". . . 1"),
    "and back again": ("1:100 2:95 1:96 2:97 2:105", ". . . . 5"),
    "the first term that is ever said": ("0:100 1:95 1:102", ". . 2"),
    "terms that are not said any more": ("4:100 0:95 0:102 0:3", ". . 2 r3"),
    "terms that begin anew": ("9:100 1:95 1:102 1:110", ". . 2 8"),
    "a reset without failover is one": ("1:100 1:98", ". r98"),
    "reset while writers take turns": ("1:1000 2:5 3:20 4:35 5:30 6:41", ". . r20 15 . 6"),
    "skew while writers take turns": ("1:1000 2:990 3:995 4:985 5:1003", ". . . . 3"),
    "equal": ("1:100 2:100 2:100 2:101", ". . . 1"),
}


def readings(text: str) -> list[tuple[int, int, int]]:
    """Term, time and value of each reading."""
    pairs = (reading.split(":") for reading in text.split())
    return [(int(term), 110 + 10 * at, int(value)) for at, (term, value) in enumerate(pairs)]


def series(*points: tuple[int, int, float], start: int = 0, **more: Any) -> Metrics:
    """A request with one metric for each (term, time, value)."""
    request = Metrics()
    for term, time, value in points:
        told = {"meterline.term": term} if term else {}
        request.sum([Point(start, time, value)], metadata=told, **more)
    return request


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("unit", [1, 0.5])
@pytest.mark.parametrize("restart", [None, "frames", "snapshot"])
def test_vectors(harness: Make, name: str, unit: float, restart: Any) -> None:
    """Each reading adds what it should, as int and as double, with a restart between any two."""
    made, expected = VECTORS[name]
    h = harness()
    for (term, time, value), adds in zip(readings(made), expected.split(), strict=True):
        before, flagged = len(h.records()), len([event for event in h.events if event.kind == "inferred_reset"])
        h.send(series((term, time, value * unit)), Format.TRANSCODED_METRICS)
        added = [str(record.value) for record in h.records()[before:]]
        units = "" if adds == "." else f"{int(adds.lstrip('r')) * unit:g}"
        assert added == ([units] if units else []), (term, time, value)
        resets = len([event for event in h.events if event.kind == "inferred_reset"]) - flagged
        assert resets == adds.startswith("r")
        if restart:
            h.restart(restart)
    assert not h.quarantine


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_in_one_request(harness: Make, name: str) -> None:
    """The same in one body, and once more: nothing is added by a resend."""
    made, expected = VECTORS[name]
    h = harness()
    h.send(series(*readings(made)), Format.TRANSCODED_METRICS)
    total = sum(int(adds.lstrip("r")) for adds in expected.split() if adds != ".")
    again = h.send(series(*readings(made)), Format.TRANSCODED_METRICS)
    assert (again.recorded, again.quarantined) == (0, 0)
    assert sum(int(str(record.value)) for record in h.records()) == total


def test_a_writer_that_is_behind_is_an_event(harness: Make) -> None:
    """A person sees how far below the last reading the new writer began."""
    h = harness()
    h.send(series((1, 110, 1000), (2, 120, 3)), Format.TRANSCODED_METRICS)
    (event,) = [event for event in h.events if event.kind == "writer_behind"]
    assert event.detail["quantity"] == "3"


def test_late_readings_of_the_writer_before_are_contained(harness: Make) -> None:
    """What comes late is no usage, and does not hide from the stream that the writer has changed."""
    h = harness()
    late = [(1, 110, 100), (1, 120, 110), (2, 115, 104), (2, 120, 108), (2, 130, 109), (2, 140, 115), (1, 135, 112)]
    for reading in late:
        h.send(series(reading), Format.TRANSCODED_METRICS)
    assert h.values() == {"acme": "15"}
    assert not h.quarantine


def test_two_values_of_one_instant_are_a_conflict_of_one_writer_only(harness: Make) -> None:
    """Another writer's reading of the same instant contradicts nobody; the same writer's does."""
    h = harness()
    for reading in ((1, 110, 100), (1, 120, 110), (2, 120, 111), (1, 120, 112)):
        h.send(series(reading), Format.TRANSCODED_METRICS)
    assert [entry.reason for entry in h.quarantine] == [Reason.CONFLICT]
    assert h.values() == {"acme": "10"}


def test_a_known_start_says_that_nothing_began_again(harness: Make) -> None:
    """The skew of two writers that know the start is no decrease; one writer's decrease is."""
    h = harness(SimpleRule())
    for reading in ((1, 110, 100), (2, 120, 95), (2, 130, 103), (2, 140, 50)):
        h.send(series(reading, start=105), Format.TRANSCODED_METRICS)
    assert h.values() == {"acme": "103"}
    assert [(entry.reason, entry.quantity) for entry in h.quarantine] == [(Reason.DECREASE, 50 * 10**18)]


def test_a_new_start_is_a_reset_whoever_says_it(harness: Make) -> None:
    """With a start a reset during failover is exact."""
    h = harness()
    h.send(series((1, 110, 100), start=105), Format.TRANSCODED_METRICS)
    h.send(series((2, 130, 7), (2, 140, 9), start=125), Format.TRANSCODED_METRICS)
    assert h.values() == {"acme": "109"}


@pytest.mark.parametrize("term", [-1, 0, "2", 2.0, True, None])
def test_what_is_no_positive_integer_is_no_term(harness: Make, term: Any) -> None:
    """A smaller reading is then a reset, as it is without."""
    h = harness()
    h.send(series((0, 110, 100)), Format.TRANSCODED_METRICS)
    h.send(Metrics().sum([Point(0, 120, 90)], metadata={"meterline.term": term}), Format.TRANSCODED_METRICS)
    assert h.values() == {"acme": "90"}


def test_deltas_have_no_term(harness: Make) -> None:
    """Every window counts once, whoever sends it."""
    h = harness()
    told = {"meterline.term": 2}
    h.send(Metrics().sum([Point(100, 110, 5)], temporality=1, metadata=told), Format.TRANSCODED_METRICS)
    h.send(Metrics().sum([Point(110, 120, 5)], temporality=1), Format.TRANSCODED_METRICS)
    assert h.values() == {"acme": "10"}


@pytest.mark.parametrize("unit", [1, 0.5])
def test_a_series_with_a_term_goes_the_fast_way(harness: Make, unit: float) -> None:
    """After the first reading of a writer its next ones are fast rows, another's first is not, nor any after a restart."""
    h = harness()
    for time, term in ((110, 1), (120, 1), (130, 1), (140, 2), (150, 2)):
        h.send(series((term, time, time * unit)), Format.TRANSCODED_METRICS)
    rows = [len(frame.slow) for frame in map(_content, h.frames)]
    assert rows == [1, 0, 0, 1, 0]
    h.restart("snapshot")
    for time, term in ((160, 2), (170, 2), (180, 0), (190, 0)):
        h.send(series((term, time, time * unit)), Format.TRANSCODED_METRICS)
    assert [len(_content(frame).slow) for frame in h.frames[-4:]] == [1, 0, 1, 0]


def _content(frame: Any) -> Any:
    return decode_frame(frame.body)


def test_a_series_without_terms_is_stored_as_ever(harness: Make) -> None:
    """State that never saw a term is the bytes that it was before there were any."""
    _, state = cumulative.step(EMPTY, 0, 110, 100)
    assert encode(state).hex() == "08" + "".join(
        f"{number.to_bytes(8, 'little').hex()}" for number in (0, 0, 0, 110, 110, 100)
    ) + ("ff" * 8)
    assert to_fast(state) == (0, 110, 110, 100, None)


def test_states_of_version_one_are_read() -> None:
    """Bytes as the version before wrote them: plain, and with witnesses."""
    numbers = (50, 1, 60, 70, 100, 100, 110, 5, -1)
    plain = b"\x08" + b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
    assert decode(plain) == State((Epoch(100, 100, 110, 5),), Coverage(((60, 70),), 50))
    numbers = (0, -1, 100, 100, 110, 5, -1, 3)
    witnessed = b"\x08" + b"".join(number.to_bytes(8, "little", signed=True) for number in numbers)
    assert decode(witnessed) == State((Epoch(100, 100, 110, 5, witness=3),))


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 100]), st.integers(101, 180), st.integers(0, 40), st.integers(0, 3)),
        max_size=30,
    )
)
def test_state_survives_bytes_and_the_fast_form(made: list[tuple[int, int, int, int]]) -> None:
    """Between any two readings the state can be encoded, promoted, or made fast and back, and says who wrote last."""
    state = EMPTY
    for start, time, value, term in made:
        _, state = cumulative.step(state, start, time, value, term=term)
        assert decode(encode(state)) == state
        wide = promote(state)
        assert [epoch.reading for epoch in wide.epochs] == [epoch.reading * 10**18 for epoch in state.epochs]
        fast = to_fast(state)
        if fast is not None:
            assert from_fast(fast) == state
            newest = next(epoch for epoch in state.epochs if epoch.start == fast.start)
            assert (writer(fast.base, fast.start) if fast.base is not None else 0) == newest.term


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30), st.integers(0, 3)), min_size=2, max_size=30))
def test_writers_of_one_counter_never_add_more_than_it_grew(steps: list[tuple[int, int, int]]) -> None:
    """As long as no writer reads less than half of what another did, the total is the largest reading less the first."""
    h = KernelHarness(load_kernel())
    counter, time, seen, largest = 1000, 110, {1: 1000}, 1000
    h.send(series((1, time, counter)), Format.TRANSCODED_METRICS)
    for term, growth, lag in steps:
        counter, time = counter + growth, time + 10
        value = max(seen.get(term, 0), counter - 10 * lag)
        seen[term] = value
        largest = max(largest, value)
        h.send(series((term, time, value)), Format.TRANSCODED_METRICS)
    assert h.values().get("acme", "0") == str(largest - 1000)
    assert not h.quarantine
