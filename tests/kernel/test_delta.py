"""
Delta sums: intervals, the sixteen latest windows, and random windows against the model.
"""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.kernel.reasons import Reason
from meterline.kernel.steps import delta
from meterline.kernel.steps.delta import (
    EMPTY,
    ENTRY,
    KEEP,
    WIDE_ENTRY,
    WIDE_KEEP,
    Fast,
    Scale,
    State,
    decode,
    encode,
    from_fast,
    promote,
    to_fast,
)
from meterline.kernel.steps.result import Outcome, Step
from meterline.testing.model import DeltaStream

FATES = {Outcome.USAGE: "usage", Outcome.DUPLICATE: "duplicate", Outcome.DISPUTED: "quarantined"}
Window = tuple[int, int, int]


def run(windows: list[Window], state: State = EMPTY) -> tuple[list[Step], State]:
    """
    Step through windows.
    """
    steps = []
    for window in windows:
        step, state = delta.step(state, *window)
        steps.append(step)
    return steps, state


def chain(count: int, start: int = 100) -> list[Window]:
    """
    Make windows of 10 one after the other.
    """
    return [(start + 10 * n, start + 10 * n + 10, n + 1) for n in range(count)]


def fate(state: State, window: Window) -> tuple[Outcome, Reason | None]:
    """
    Say what becomes of one more window.
    """
    step, _ = delta.step(state, *window)
    return step.outcome, step.reason


def test_a_chain_is_one_interval_and_every_repeat_of_it_a_duplicate() -> None:
    """
    Repeats among the 16 latest are known by value; older ones because all that is old was counted.
    """
    windows = chain(40)
    steps, state = run(windows)
    assert [step.quantity for step in steps] == list(range(1, 41))
    assert state.covered.spans == ((100, 500),)
    assert {fate(state, window) for window in windows} == {(Outcome.DUPLICATE, None)}


def test_late_windows_count() -> None:
    """
    What touches nothing counted is usage, however late.
    """
    _, state = run(chain(40, start=1000))
    assert fate(state, (10, 20, 7)) == (Outcome.USAGE, None)


def test_another_value_of_a_latest_window_is_a_conflict_and_its_resend_a_duplicate() -> None:
    """
    The window quarantined stays among the sixteen.
    """
    steps, state = run([*chain(3), (120, 130, 99), (120, 130, 99), (120, 130, 3)])
    assert [(step.outcome, step.reason) for step in steps[3:]] == [
        (Outcome.DISPUTED, Reason.CONFLICT),
        (Outcome.DUPLICATE, None),
        (Outcome.DUPLICATE, None),
    ]
    assert state.covered.spans == ((100, 130),)


def test_a_partly_covered_window_is_an_overlap_that_covers_nothing() -> None:
    """
    Its resend is a duplicate, and the part beyond may still be counted by another.
    """
    _, state = run(chain(1))
    step, state = delta.step(state, 105, 115, 4)
    assert (step.outcome, step.reason, step.quantity) == (Outcome.DISPUTED, Reason.OVERLAP, 4)
    assert fate(state, (105, 115, 4)) == (Outcome.DUPLICATE, None)
    assert fate(state, (110, 120, 4)) == (Outcome.USAGE, None)


def test_wholly_covered_is_a_duplicate_only_when_a_repeat_would_have_left_the_sixteen() -> None:
    """
    With fifteen kept, or an end not before the earliest kept, a repeat would be among them: an overlap.
    """
    _, fifteen = run(chain(15))
    assert fate(fifteen, (101, 105, 1)) == (Outcome.DISPUTED, Reason.OVERLAP)
    _, sixteen = run(chain(20))
    earliest = sixteen.windows[0].end
    assert fate(sixteen, (100, earliest - 1, 1)) == (Outcome.DUPLICATE, None)
    assert fate(sixteen, (101, earliest, 1)) == (Outcome.DISPUTED, Reason.OVERLAP)


def test_the_thirty_third_interval_drops_the_oldest_and_raises_the_floor() -> None:
    """
    Before the floor is beyond coverage, after it counts, and no gap is ever closed.
    """
    gaps = [(n * 10, n * 10 + 5, 1) for n in range(1, 34)]
    steps, state = run(gaps)
    assert {step.outcome for step in steps} == {Outcome.USAGE}
    assert (len(state.covered.spans), state.covered.floor) == (32, 15)
    assert fate(state, (14, 16, 1)) == (Outcome.DISPUTED, Reason.BEYOND_COVERAGE)
    assert fate(state, (15, 20, 1)) == (Outcome.USAGE, None)
    assert fate(state, (25, 30, 1)) == (Outcome.USAGE, None)


def test_neighbours_merge_so_that_filling_gaps_frees_intervals() -> None:
    """
    A window between two intervals that touches both leaves one.
    """
    _, state = run([(10, 20, 1), (30, 40, 1), (20, 30, 1)])
    assert state.covered.spans == ((10, 40),)


@st.composite
def histories(draw: st.DrawFn) -> list[Window]:
    """
    Draw windows that follow, repeat, overlap, conflict and come late.
    """
    seed, length = draw(st.integers(0, 2**32)), draw(st.integers(1, 90))
    source = random.Random(seed)
    spread, last = source.choice([20, 100, 700]), 1
    windows: list[Window] = []
    for _ in range(length):
        draw_of = source.random()
        if windows and draw_of < 0.2:
            start, time, value = source.choice(windows)
            value += source.choice([0, 0, 1])
        elif draw_of < 0.6:
            start, time, value = last, last + source.randrange(1, 4), source.randrange(5)
            last = time
        else:
            start = source.randrange(1, spread)
            time, value = start + source.choice([1, 1, 3, 9]), source.randrange(5)
        windows.append((start, time, value))
    return windows


@given(histories())
def test_random_windows_agree_with_the_model(windows: list[Window]) -> None:
    """
    The fate of every window is the model's, with the state taken to bytes and back before each.
    """
    model, state = DeltaStream(), EMPTY
    for window in windows:
        fate_of, quantity, began = model.step(window[0], window[1], Fraction(window[2]))
        step, state = delta.step(decode(encode(state)), *window)
        assert (FATES[step.outcome], step.quantity, step.window_start) == (fate_of, quantity, began), window


def quick(scale: Scale, fast: Fast, window: Window) -> Fast | None:
    """
    Take the fast path of the meter, when it may.
    """
    start, time, value = window
    if start != fast.last:
        return None
    if scale:
        tail = fast.tail[-WIDE_KEEP:] + WIDE_ENTRY.pack(time, value.to_bytes(16, "little", signed=True))
    else:
        tail = fast.tail[-KEEP:] + ENTRY.pack(time, value)
    return fast._replace(last=time, tail=tail)


@pytest.mark.parametrize("scale", [0, 18])
@given(histories())
def test_the_fast_form_is_exact(scale: Scale, windows: list[Window]) -> None:
    """
    Wherever the fast path may be taken, the step counts the value, and the state is the same.
    """
    state, fast = EMPTY, None
    for window in windows:
        step, state = delta.step(state, *window)
        grown = quick(scale, fast, window) if fast else None
        if grown:
            assert (step.outcome, step.quantity, step.window_start) == (Outcome.USAGE, window[2], window[0])
            fast = grown
        else:
            fast = to_fast(scale, state)
        assert from_fast(scale, fast) == state


def test_the_fast_form_of_a_chain_is_small() -> None:
    """
    A well-behaved stream costs its tail: under 450 bytes in either scale.
    """
    for scale in (0, 18):
        fast = to_fast(scale, run(chain(100))[1])
        assert fast.base is None
        assert len(fast.tail) + 33 <= 450


@given(histories())
def test_promotion_changes_the_scale_and_nothing_else(windows: list[Window]) -> None:
    """
    A promoted stream answers the next window as the same in units of 10^-18.
    """
    *before, (start, time, value) = windows
    state = run(before)[1]
    plain, after = delta.step(state, start, time, value)
    scaled, promoted = delta.step(promote(state), start, time, value * 10**18)
    assert scaled == plain._replace(quantity=plain.quantity * 10**18)
    assert promoted == promote(after)


@given(st.integers(2, 30), st.randoms(use_true_random=False))
def test_any_order_of_disjoint_windows_counts_each_once(count: int, shuffler: random.Random) -> None:
    """
    Permutations of a chain, each window sent twice in a row, add up to the same.
    """
    windows = chain(count)
    shuffler.shuffle(windows)
    steps, _ = run([window for window in windows for _ in range(2)])
    assert sum(step.quantity for step in steps if step.outcome is Outcome.USAGE) == count * (count + 1) // 2
