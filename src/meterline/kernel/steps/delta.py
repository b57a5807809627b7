"""
Delta sums with a start: every window (start, time] counts once, in whatever order it comes (semantics.md 3, otlp.md C3).

What was counted is kept as merged intervals, so that a repeat is known however late; the 16 latest windows are kept with their
values, so that a repeat can be told from a conflict. Windows without a start, or of no width, are not for here (``ids``).
"""

from itertools import pairwise
from struct import Struct
from typing import Final, Literal, NamedTuple, TypeAlias

from meterline.kernel.reasons import Reason
from meterline.kernel.steps import result
from meterline.kernel.steps.codec import pack_ints, unpack_ints
from meterline.kernel.steps.result import Step
from meterline.kernel.steps.spans import NOTHING, Coverage, Relation, cover, relation
from meterline.quantity import AMOUNT_ONE

Scale: TypeAlias = Literal[0, 18]

MAX_WINDOWS: Final = 16

ENTRY: Final = Struct("<qq")
"""An entry of a tail in scale 0: end of the window, value."""

WIDE_ENTRY: Final = Struct("<q16s")
"""An entry of a tail in scale 18: end of the window, value as 16 bytes little-endian."""

KEEP: Final = MAX_WINDOWS * ENTRY.size
WIDE_KEEP: Final = MAX_WINDOWS * WIDE_ENTRY.size


class Window(NamedTuple):
    """
    A window and the value it came with; ordered by its end.
    """

    end: int
    start: int
    value: int


class State(NamedTuple):
    """
    All that is known of one (stream, track).
    """

    covered: Coverage = NOTHING
    windows: tuple[Window, ...] = ()


class Fast(NamedTuple):
    """
    A state whose latest interval (origin, last] may grow without a look at the rest.

    While a window starts at ``last``, its usage is its value: ``last`` becomes its end, and the tail
    ``tail[-KEEP:] + ENTRY.pack(end, value)`` (scale 18: WIDE_KEEP, WIDE_ENTRY). Exact, since nothing that was counted or
    quarantined starts at or after ``last``. The tail's first entry is (start of the chain, 0). ``base``: the state
    from which the tail goes on, when it is more than one interval and a chain of windows.
    """

    origin: int
    last: int
    tail: bytes
    base: bytes | None = None


EMPTY: Final = State()


def step(state: State, start: int, time: int, value: int) -> tuple[Step, State]:
    """
    Take one valid window: 0 < ``start`` < ``time``.
    """
    same = [window for window in state.windows if window.end == time and window.start == start]
    if any(window.value == value for window in same):
        return result.duplicate(value, start), state
    kept = State(state.covered, _latest((*state.windows, Window(time, start, value))))
    if same:
        return result.disputed(Reason.CONFLICT, value, start), kept
    if start < state.covered.floor:
        return result.disputed(Reason.BEYOND_COVERAGE, value, start), kept
    lies = relation(state.covered, start, time)
    if lies is Relation.FREE:
        return result.usage(value, start), State(cover(state.covered, start, time), kept.windows)
    if lies is Relation.INSIDE and len(state.windows) == MAX_WINDOWS and time < state.windows[0].end:
        return result.duplicate(value, start), state
    return result.disputed(Reason.OVERLAP, value, start), kept


def _latest(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    return tuple(sorted(windows)[-MAX_WINDOWS:])


def to_fast(scale: Scale, state: State) -> Fast:
    """
    Return the fast form. The state is not EMPTY.
    """
    origin, last = state.covered.spans[-1]
    if _is_chain(state):
        tail = _pack_tail(
            scale, [(state.windows[0].start, 0), *((window.end, window.value) for window in state.windows)]
        )
        return Fast(origin, last, tail)
    return Fast(origin, last, _pack_tail(scale, [(last, 0)]), encode(state))


def _is_chain(state: State) -> bool:
    windows = state.windows
    linked = all(before.end == after.start for before, after in pairwise(windows))
    alone = len(state.covered.spans) == 1 and state.covered.floor == 0
    return alone and linked and windows[-1].end == state.covered.spans[0][1]


def from_fast(scale: Scale, fast: Fast) -> State:
    """
    Return the whole state.
    """
    entries = _unpack_tail(scale, fast.tail)
    chain = tuple(Window(end, start, value) for (start, _), (end, value) in pairwise(entries))
    if fast.base is None:
        return State(Coverage(((fast.origin, fast.last),)), chain)
    covered, windows = decode(fast.base)
    grown = Coverage((*covered.spans[:-1], (fast.origin, fast.last)), covered.floor)
    return State(grown, _latest((*windows, *chain)))


def promote(state: State) -> State:
    """
    Change the scale of the values from whole numbers to units of 10^-18.
    """
    return State(state.covered, tuple(window._replace(value=window.value * AMOUNT_ONE) for window in state.windows))


def _pack_tail(scale: Scale, entries: list[tuple[int, int]]) -> bytes:
    if scale == 0:
        return b"".join(ENTRY.pack(end, value) for end, value in entries)
    return b"".join(WIDE_ENTRY.pack(end, value.to_bytes(16, "little", signed=True)) for end, value in entries)


def _unpack_tail(scale: Scale, tail: bytes) -> list[tuple[int, int]]:
    if scale == 0:
        return list(ENTRY.iter_unpack(tail))
    return [(end, int.from_bytes(value, "little", signed=True)) for end, value in WIDE_ENTRY.iter_unpack(tail)]


def encode(state: State) -> bytes:
    """
    Return the state as bytes.
    """
    spans, floor = state.covered
    flat = [floor, len(spans), *(edge for span in spans for edge in span)]
    return pack_ints(flat + [field for window in state.windows for field in window])


def decode(data: bytes) -> State:
    """
    Return the state that was encoded. Raises ValueError for other bytes.
    """
    flat = unpack_ints(data)
    floor, count = next(flat), next(flat)
    spans = tuple((next(flat), next(flat)) for _ in range(count))
    windows = tuple(map(Window._make, zip(*[flat] * 3, strict=True)))
    return State(Coverage(spans, floor), windows)
