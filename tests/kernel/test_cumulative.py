"""
Counters: the vectors of the specification, then random readings against the model, also through the fast form and bytes.
"""

import random
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.kernel.reasons import Reason
from meterline.kernel.steps import cumulative
from meterline.kernel.steps.cumulative import EMPTY, Fast, State, decode, encode, from_fast, promote, to_fast
from meterline.kernel.steps.result import Note, Outcome, Step
from meterline.testing.model import CumulativeStream

FATES = {
    Outcome.USAGE: "usage",
    Outcome.DUPLICATE: "duplicate",
    Outcome.NO_USAGE: "no_usage",
    Outcome.DISPUTED: "quarantined",
}
VECTORS = {
    "T1": ("100,110,5 100,120,9 100,130,9", "5 4 0"),
    "T3": ("100,110,5 100,110,5 100,120,9", "5 d 4"),
    "T4": ("100,110,10 100,130,30 100,120,20 100,140,40", "10 20 0 10"),
    "T5": ("100,110,10 100,120,30 125,130,4 125,140,6", "10 20 4 2"),
    "T6": ("100,101,1 200,201,1 300,301,1", "1 1 1"),
    "T7": ("100,110,10 125,130,4 100,120,30", "10 4 20"),
    "T8": ("0,110,1000 0,120,1010 0,130,3 0,140,5", "0 10 3 2"),
    "T9": ("100,100,500 100,110,510", "0 10"),
    "T10": ("100,110,100 100,120,40 100,130,45", "100 q40 5"),
    "T11": ("100,110,10 105,111,3 100,120,15", "10 q3 5"),
    "T12": ("200,210,5 100,150,7", "5 7"),
    "T14": ("100,110,5 100,150,25", "5 20"),
}


class Reading(NamedTuple):
    """
    A point of a counter.
    """

    start: int
    time: int
    value: int


def run(readings: list[Reading], state: State = EMPTY) -> tuple[list[Step], State]:
    """
    Step through readings.
    """
    steps = []
    for reading in readings:
        step, state = cumulative.step(state, *reading)
        steps.append(step)
    return steps, state


def total(readings: list[Reading]) -> int:
    """
    Return what is counted of readings.
    """
    return sum(step.quantity for step in run(readings)[0] if step.outcome is Outcome.USAGE)


def shown(step: Step) -> str:
    """
    Return a step as the vectors write it.
    """
    if step.outcome is Outcome.DISPUTED:
        return f"q{step.quantity}"
    return {Outcome.USAGE: str(step.quantity), Outcome.DUPLICATE: "d", Outcome.NO_USAGE: "0"}[step.outcome]


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    """
    The vectors of the specification; activation is judged later, by the window's start.
    """
    text, usage = VECTORS[name]
    readings = [Reading(*map(int, word.split(","))) for word in text.split()]
    assert " ".join(map(shown, run(readings)[0])) == usage


def test_windows_start_at_the_reading_before() -> None:
    """
    Or at the epoch's start for its first (T2 with its activation at 200 counts the second alone).
    """
    steps, _ = run([Reading(100, 210, 500), Reading(100, 220, 507)])
    assert [(step.quantity, step.window_start) for step in steps] == [(500, 100), (7, 210)]


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        ([(100, 110, 5), (100, 110, 6)], Reason.CONFLICT),
        ([(100, 110, 5), (100, 120, 4)], Reason.DECREASE),
        ([(100, 110, 5), (105, 120, 4)], Reason.OVERLAP),
    ],
)
def test_reasons(readings: list[tuple[int, int, int]], reason: Reason) -> None:
    """
    Each dispute says what it is.
    """
    steps, _ = run([Reading(*reading) for reading in readings])
    assert (steps[-1].outcome, steps[-1].reason) == (Outcome.DISPUTED, reason)


@pytest.mark.parametrize(
    ("readings", "note"),
    [
        ([(0, 110, 5)], Note.BASELINE),
        ([(110, 110, 5)], Note.BASELINE),
        ([(100, 110, 5), (100, 120, 5)], Note.UNCHANGED),
        ([(100, 110, 5), (100, 120, 9), (100, 115, 7)], Note.LATE),
        ([(100, 110, 5), (100, 120, 9), (100, 115, 10)], Note.LATE_LARGER),
        ([(0, 110, 5), (0, 120, 3)], Note.INFERRED_RESET),
    ],
)
def test_notes(readings: list[tuple[int, int, int]], note: Note) -> None:
    """
    What adds nothing, or was inferred, says why.
    """
    steps, _ = run([Reading(*reading) for reading in readings])
    assert steps[-1].note is note


def epochs(count: int) -> list[Reading]:
    """
    Make epochs (10, 15], (20, 25], ... of value 1 each.
    """
    return [Reading(n * 10, n * 10 + 5, 1) for n in range(1, count + 1)]


def test_the_seventeenth_epoch_makes_the_oldest_a_covered_interval() -> None:
    """
    A late point inside it is no usage, one that leaves it an overlap, one beside it a new epoch.
    """
    _, state = run(epochs(17))
    assert len(state.epochs) == 16
    assert state.covered.spans == ((10, 15),)
    inside, partly, beside = (cumulative.step(state, *point)[0] for point in [(10, 14, 9), (10, 17, 9), (16, 18, 9)])
    assert (inside.outcome, inside.note) == (Outcome.NO_USAGE, Note.CONTAINED)
    assert (partly.outcome, partly.reason) == (Outcome.DISPUTED, Reason.OVERLAP)
    assert (beside.outcome, beside.quantity) == (Outcome.USAGE, 9)


def test_before_the_floor_nothing_is_counted() -> None:
    """
    After 49 epochs the oldest interval is forgotten; what starts before its end is beyond coverage.
    """
    _, state = run(epochs(49))
    assert (len(state.covered.spans), state.covered.floor) == (32, 15)
    step, _ = cumulative.step(state, 12, 14, 3)
    assert (step.outcome, step.reason, step.quantity) == (Outcome.DISPUTED, Reason.BEYOND_COVERAGE, 3)


def test_a_baseline_that_left_the_epochs_is_not_billed_whole_later() -> None:
    """
    Its covered nanosecond makes a later point of that epoch a dispute, not 510 of usage.
    """
    _, state = run([Reading(5, 5, 500), *epochs(16)])
    step, _ = cumulative.step(state, 5, 8, 510)
    assert (step.outcome, step.reason) == (Outcome.DISPUTED, Reason.OVERLAP)


def test_a_disputed_epoch_that_left_covers_only_what_it_counted() -> None:
    """
    (1, 3] was counted before epoch 1 ran into epoch 5; only that stays covered.
    """
    first = [Reading(5, 7, 1), Reading(1, 3, 1), Reading(1, 6, 4)]
    steps, state = run([*first, *epochs(16)])
    assert steps[2].reason is Reason.OVERLAP
    assert state.covered.spans == ((1, 3), (5, 7))


def test_an_unknown_start_never_leaves_the_epochs() -> None:
    """
    It is beside the 16, and goes on after them.
    """
    _, state = run([Reading(0, 500, 7), *epochs(20)])
    step, _ = cumulative.step(state, 0, 510, 9)
    assert (step.outcome, step.quantity) == (Outcome.USAGE, 2)


def test_start_skew_forgives_a_short_overlap_and_does_not_add_up() -> None:
    """
    With a tolerance of 5 an epoch may begin 5 before the end of another, and the other may not creep on into it.
    """
    step, state = cumulative.step(cumulative.step(EMPTY, 100, 110, 1)[1], 105, 120, 3, 5)
    assert step.outcome is Outcome.USAGE
    step, _ = cumulative.step(state, 100, 113, 2, 5)
    assert (step.outcome, step.reason) == (Outcome.DISPUTED, Reason.OVERLAP)
    step, _ = cumulative.step(cumulative.step(EMPTY, 100, 110, 1)[1], 104, 120, 3, 5)
    assert step.outcome is Outcome.DISPUTED


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """
    Draw readings that reset, repeat, overlap, fall, come late and lose their starts.
    """
    seed, length = draw(st.integers(0, 2**32)), draw(st.integers(1, 60))
    source = random.Random(seed)
    spread = source.choice([30, 120, 400])
    starts = [0, *(source.randrange(1, spread) for _ in range(source.choice([1, 3, 20, 70])))]
    readings = []
    for _ in range(length):
        start = source.choice(starts)
        time = max(1, start) + source.choice([0, 1, 2, 3, source.randrange(1, 30)])
        value = (time - start) * 2 if source.random() < 0.7 else source.randrange(0, 60)
        readings.append(source.choice(readings) if readings and source.random() < 0.2 else Reading(start, time, value))
    return readings


@given(histories())
def test_random_readings_agree_with_the_model(readings: list[Reading]) -> None:
    """
    Fate, quantity and window of every reading are the model's, with the state taken to bytes and back before each.
    """
    model, state = CumulativeStream(), EMPTY
    for reading in readings:
        fate, quantity, began = model.step(reading.start, reading.time, Fraction(reading.value))
        step, state = cumulative.step(decode(encode(state)), *reading)
        assert (fate == "conflict") == (step.reason is Reason.CONFLICT)
        assert FATES[step.outcome] == fate.replace("conflict", "quarantined"), reading
        if fate in {"usage", "quarantined"}:
            assert (step.quantity, step.window_start) == (quantity, began), reading


def quick(fast: Fast | None, reading: Reading) -> Fast | None:
    """
    Take the fast path of the meter, when it may.
    """
    if fast is None or reading.start != fast.start or reading.time <= fast.last_time or reading.value < fast.last_value:
        return None
    return fast._replace(last_time=reading.time, last_value=reading.value)


@given(histories())
def test_the_fast_form_is_exact(readings: list[Reading]) -> None:
    """
    Wherever the fast path may be taken, it gives the step's quantity, window and state.
    """
    state, fast, taken = EMPTY, None, 0
    for reading in readings:
        step, state = cumulative.step(state, *reading)
        grown = quick(fast, reading)
        if grown is not None and fast is not None:
            taken += 1
            assert step.quantity == reading.value - fast.last_value
            assert step.window_start == fast.last_time
            assert step.outcome is (Outcome.USAGE if step.quantity else Outcome.NO_USAGE)
            assert from_fast(grown) == state
            fast = grown
        else:
            fast = to_fast(state)
            assert fast is None or from_fast(fast) == state


def test_a_multi_epoch_stream_stays_fast() -> None:
    """
    After a reset the newest epoch grows on the fast path, with the rest of the state beside it.
    """
    _, state = run([Reading(100, 110, 10), Reading(125, 130, 4)])
    fast = to_fast(state)
    assert fast is not None
    assert fast[:4] == (125, 125, 130, 4)
    assert fast.base is not None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_any_order_and_repetition_of_one_epoch_gives_its_last_value(
    offsets: list[int], shuffler: random.Random
) -> None:
    """
    With a known start the total is the last value, however the points come.
    """
    readings = [Reading(100, 100 + offset, offset * 3) for offset in offsets]
    readings += shuffler.choices(readings, k=len(readings))
    shuffler.shuffle(readings)
    assert total(readings) == max(offsets) * 3


@given(histories())
def test_promotion_changes_the_scale_and_nothing_else(readings: list[Reading]) -> None:
    """
    A promoted stream answers the next reading as the same in units of 10^-18.
    """
    *before, last = readings
    state = run(before)[1]
    plain, after = cumulative.step(state, *last)
    scaled, promoted = cumulative.step(promote(state), last.start, last.time, last.value * 10**18)
    assert scaled == plain._replace(quantity=plain.quantity * 10**18)
    assert promoted == promote(after)


def test_bytes_of_another_layout_are_refused() -> None:
    """
    A damaged state is an error, never another state.
    """
    for data in (b"", b"\x05abc", b"\x08abc"):
        with pytest.raises(ValueError, match="decoding state"):
            decode(data)
