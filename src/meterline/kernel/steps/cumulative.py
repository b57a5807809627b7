"""
Cumulative monotonic sums: increments between readings, epoch by epoch (semantics.md 3, otlp.md C4).

An epoch is one life of the counter, keyed by its start; start 0 is the epoch whose start the sender does not say. Readings may
come in any order. Whether an increment counts for a rule (activation) is judged later, by the window's start.

Readings may name their writer, one of several that watch the same counter (docs/transcoding.md, terms): when it changes, a
smaller reading is no reset, since two writers never read at the same instant.
"""

from bisect import insort
from typing import Final, NamedTuple, TypeAlias

from meterline.kernel.reasons import Reason
from meterline.kernel.steps import result
from meterline.kernel.steps.codec import pack_ints, unpack_ints
from meterline.kernel.steps.result import Note, Step
from meterline.kernel.steps.spans import NOTHING, Coverage, Relation, Span, cover, relation, runs_into
from meterline.quantity import AMOUNT_ONE

MAX_EPOCHS: Final = 16
UNKNOWN_START: Final = 0
UNDISPUTED: Final = -1
UNWITNESSED: Final = -1
UNMARKED: Final = -1
NO_TERM: Final = 0


class Epoch(NamedTuple):
    """
    ``origin``: where its interval begins: the start, or the time of the first reading when the start is not known.
    ``clean``: the end of what was counted before the epoch was disputed; UNDISPUTED when it is not.
    ``witness``: the count that came with ``last_value``, when that is the sum of a distribution; UNWITNESSED for all else.
    ``term``: the writer of the last reading; NO_TERM when it named none. ``mark``: that reading, where it is below
    ``last_value``, the largest that another writer read; UNMARKED where it is ``last_value`` itself.
    """

    start: int
    origin: int
    last_time: int
    last_value: int
    clean: int = UNDISPUTED
    witness: int = UNWITNESSED
    term: int = NO_TERM
    mark: int = UNMARKED

    @property
    def reading(self) -> int:
        """
        Return what was read at ``last_time``.
        """
        return self.last_value if self.mark == UNMARKED else self.mark

    @property
    def counted(self) -> Span:
        """
        Return the interval that was counted as usage.
        """
        return (self.origin, self.last_time if self.clean == UNDISPUTED else self.clean)


class State(NamedTuple):
    """
    All that is known of one (stream, track): epochs by start, the 16 latest and the unknown one, and what older ones covered.
    """

    epochs: tuple[Epoch, ...] = ()
    covered: Coverage = NOTHING


class Fast(NamedTuple):
    """
    A state whose newest epoch may grow without a look at the rest, which is in ``base`` (None: there is no rest).

    While a reading has this start, a later time and no smaller value, its usage is the difference to ``last_value``, its window
    (last_time, time], and only these two change: exact, since nothing that was counted ends after ``last_time``.
    """

    start: int
    origin: int
    last_time: int
    last_value: int
    base: bytes | None = None


EMPTY: Final = State()

Reading: TypeAlias = tuple[int, int, int]
"""Time, value, term."""

_PLAIN: Final = 5
_WITNESSED: Final = 6
_TERMED: Final = 8
_TERMED_SPANS: Final = 64
"""Added to the number of spans where epochs have terms and marks."""


def step(state: State, start: int, time: int, value: int, skew: int = 0, *, term: int = NO_TERM) -> tuple[Step, State]:
    """
    Take one valid reading: ``start`` <= ``time``, ``value`` >= 0. ``skew``: ns that two epochs may overlap.

    ``term``: who writes; a change of it is a change of the writer.
    """
    for epoch in state.epochs:
        if epoch.start == start:
            return _known(state, epoch, (time, value, term), skew)
    return _open(state, start, (time, value, term), skew)


def step_witnessed(state: State, point: tuple[int, int, int], witness: int, skew: int = 0) -> tuple[Step, State]:
    """
    Take (start, time, value) of a sum that came with a count: when the count fell, so did the sum, whatever it says
    (otlp.md C5.3).
    """
    start, time, value = point
    before = state
    for epoch in state.epochs:
        if epoch.start == start and time > epoch.last_time and witness < epoch.witness and value >= epoch.last_value:
            before = _replaced(state, epoch._replace(last_value=value + 1))
    found, after = step(before, start, time, value, skew)
    if after is before:
        return found, state
    epochs = (epoch._replace(witness=witness) if epoch.start == start else epoch for epoch in after.epochs)
    return found, State(tuple(epochs), after.covered)


def _known(state: State, epoch: Epoch, reading: Reading, skew: int) -> tuple[Step, State]:
    last = epoch.last_time
    time, value, term = reading
    if time > last:
        return _grow(state, epoch, reading, skew)
    if time < last:
        note = Note.LATE_LARGER if value > epoch.last_value else Note.LATE
        return result.no_usage(note, 0, last), state
    if value == epoch.reading:
        return result.duplicate(value, last), state
    if term != epoch.term:  # another writer's reading of the same instant: what it has more, its next one has too
        return result.no_usage(Note.LATE, 0, last), state
    return result.disputed(Reason.CONFLICT, value - epoch.last_value, last), state


def _grow(state: State, epoch: Epoch, reading: Reading, skew: int) -> tuple[Step, State]:
    last, clean = epoch.last_time, epoch.clean
    time, value, term = reading
    if clean == UNDISPUTED and _meets(state, epoch, (max(epoch.origin, last - skew), time), skew):
        clean = last
    grown = epoch._replace(last_time=time, last_value=value, clean=clean, term=term, mark=UNMARKED)
    if _behind(epoch, value, term):
        held = grown._replace(last_value=epoch.last_value, mark=value)
        said = Note.UNCHANGED if term == epoch.term else Note.BEHIND
        return result.no_usage(said, value, last), _replaced(state, held)
    after = _replaced(state, grown)
    if value < epoch.last_value and epoch.start != UNKNOWN_START:
        return result.disputed(Reason.DECREASE, value, last), after
    quantity, note = (value, Note.INFERRED_RESET) if value < epoch.last_value else (value - epoch.last_value, None)
    return _judge(grown, quantity, last, note), after


def _behind(epoch: Epoch, value: int, term: int) -> bool:
    """
    Say whether a smaller reading is of a writer that is behind the one before it, not of a counter that began again.

    The first reading of a new writer is, and that of the next one if it is less still. After it, one that has not fallen is as
    long as the first was not below half of what was counted: two clocks differ by seconds, in which a counter does not double
    unless it is young.
    """
    if value >= epoch.last_value:
        return False
    if term != epoch.term and value < epoch.reading:
        return True
    return epoch.mark <= value and epoch.last_value <= 2 * epoch.mark


def _judge(epoch: Epoch, quantity: int, window_start: int, note: Note | None = None) -> Step:
    if quantity == 0:
        return result.no_usage(note or Note.UNCHANGED, 0, window_start)
    if epoch.clean != UNDISPUTED:
        return result.disputed(Reason.OVERLAP, quantity, window_start)
    return result.usage(quantity, window_start, note)


def _open(state: State, start: int, reading: Reading, skew: int) -> tuple[Step, State]:
    time, value, term = reading
    if start in {UNKNOWN_START, time}:
        baseline = Epoch(start, time, time, value, term=term)
        return result.no_usage(Note.BASELINE, value, time), _inserted(state, baseline)
    lies = relation(state.covered, start, time, skew)
    if lies is Relation.INSIDE:
        return result.no_usage(Note.CONTAINED, value, start), state
    opened = Epoch(start, start, time, value, term=term)
    beyond = lies is Relation.FREE and start < state.covered.floor
    if beyond or _meets(state, opened, (start, time), skew):
        opened = opened._replace(clean=start)
    after = _inserted(state, opened)
    if beyond:
        return result.disputed(Reason.BEYOND_COVERAGE, value, start), after
    return _judge(opened, value, start), after


def _meets(state: State, epoch: Epoch, region: Span, skew: int) -> bool:
    """
    Say whether the region runs into what an undisputed epoch counted, now or long ago.
    """
    others = (other for other in state.epochs if other.start != epoch.start and other.clean == UNDISPUTED)
    return any(runs_into(region, other.counted, skew) for other in others) or any(
        runs_into(region, span, skew) for span in state.covered.spans
    )


def _replaced(state: State, epoch: Epoch) -> State:
    return State(tuple(epoch if old.start == epoch.start else old for old in state.epochs), state.covered)


def _inserted(state: State, epoch: Epoch) -> State:
    epochs = list(state.epochs)
    insort(epochs, epoch)
    oldest = 1 if epochs[0].start == UNKNOWN_START else 0
    covered = state.covered
    if len(epochs) - oldest > MAX_EPOCHS:
        covered = _covered_by(covered, epochs.pop(oldest))
    return State(tuple(epochs), covered)


def _covered_by(covered: Coverage, epoch: Epoch) -> Coverage:
    """
    Cover what an epoch counted. A baseline without growth covers its first nanosecond, or a later reading would open it anew
    and bill the whole counter.
    """
    left, right = epoch.counted
    if epoch.clean == UNDISPUTED:
        right = max(right, left + 1)
    return cover(covered, left, right) if right > max(left, covered.floor) else covered


def to_fast(state: State) -> Fast | None:
    """
    Return the fast form; None when no epoch may grow without a look at the others, at a witness, or at a mark.
    """
    if any(epoch.witness != UNWITNESSED for epoch in state.epochs):
        return None
    clean = [epoch for epoch in state.epochs if epoch.clean == UNDISPUTED]
    if not clean:
        return None
    newest = max(clean, key=lambda epoch: (epoch.last_time, epoch.start))
    if newest.mark != UNMARKED or any(span[1] > newest.last_time for span in state.covered.spans):
        return None
    alone = len(state.epochs) == 1 and state.covered == NOTHING and newest.term == NO_TERM
    return Fast(newest.start, newest.origin, newest.last_time, newest.last_value, None if alone else encode(state))


def from_fast(fast: Fast) -> State:
    """
    Return the whole state.
    """
    newest = Epoch(fast.start, fast.origin, fast.last_time, fast.last_value)
    if fast.base is None:
        return State((newest,))
    state = decode(fast.base)
    return _replaced(state, newest._replace(term=_term(state, fast.start)))


def _term(state: State, start: int) -> int:
    return next((epoch.term for epoch in state.epochs if epoch.start == start), NO_TERM)


def writer(base: bytes, start: int) -> int:
    """
    Return the term of an epoch in an encoded state; a look at one number where no epoch has one.
    """
    return _term(decode(base), start) if _spans(base) >= _TERMED_SPANS else NO_TERM


def _spans(data: bytes) -> int:
    """
    Read the second number of an encoded state: how many spans, and what the epochs have.
    """
    width = data[0]
    return int.from_bytes(data[1 + width : 1 + 2 * width], "little", signed=True)


def promote(state: State) -> State:
    """
    Change the scale of the values from whole numbers to units of 10^-18.
    """
    return State(tuple(map(_promoted, state.epochs)), state.covered)


def _promoted(epoch: Epoch) -> Epoch:
    mark = epoch.mark if epoch.mark == UNMARKED else epoch.mark * AMOUNT_ONE
    return epoch._replace(last_value=epoch.last_value * AMOUNT_ONE, mark=mark)


def encode(state: State) -> bytes:
    """
    Return the state as bytes. The complement of the number of spans says that the epochs have witnesses; 64 more of them, that
    they have terms and marks too.
    """
    spans, floor = state.covered
    count, width = len(spans), _PLAIN
    if any(epoch.term != NO_TERM or epoch.mark != UNMARKED for epoch in state.epochs):
        count, width = count + _TERMED_SPANS, _TERMED
    elif any(epoch.witness != UNWITNESSED for epoch in state.epochs):
        count, width = ~count, _WITNESSED
    flat = [floor, count, *(edge for span in spans for edge in span)]
    return pack_ints(flat + [field for epoch in state.epochs for field in epoch[:width]])


def decode(data: bytes) -> State:
    """
    Return the state that was encoded. Raises ValueError for other bytes.
    """
    flat = unpack_ints(data)
    floor, count = next(flat), next(flat)
    width = _PLAIN
    if count < 0:
        count, width = ~count, _WITNESSED
    elif count >= _TERMED_SPANS:
        count, width = count - _TERMED_SPANS, _TERMED
    spans = tuple((next(flat), next(flat)) for _ in range(count))
    epochs = tuple(Epoch(*fields) for fields in zip(*[flat] * width, strict=True))
    return State(epochs, Coverage(spans, floor))
