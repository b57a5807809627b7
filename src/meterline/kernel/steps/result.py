"""
What a step answers.
"""

from enum import Enum
from typing import NamedTuple

from meterline.kernel.reasons import Reason


class Outcome(Enum):
    """
    What becomes of a point in stage 3 (semantics.md 1).
    """

    USAGE = "usage"
    DUPLICATE = "duplicate"
    NO_USAGE = "no_usage"
    DISPUTED = "disputed"


class Note(Enum):
    """
    Why there is no usage, or what a person may want to know of it.
    """

    BASELINE = "baseline"  # the first reading of an epoch whose start is not known; quantity is the reading
    UNCHANGED = "unchanged"
    LATE = "late"  # older than the last reading, and contained in it
    LATE_LARGER = "late_larger"  # the same, but larger than the last reading: an anomaly, worth an event
    CONTAINED = "contained"  # an unknown epoch wholly inside what was counted long ago
    BEHIND = "behind"  # a new writer reads less than the one before it: the two differ in time, and nothing began again
    INFERRED_RESET = "inferred_reset"  # usage: a counter without start fell, so it began again


class Step(NamedTuple):
    """
    The quantity and its window (``window_start``, the point's time]; ``reason`` is set when the outcome is DISPUTED.
    """

    outcome: Outcome
    quantity: int
    window_start: int
    reason: Reason | None = None
    note: Note | None = None


def usage(quantity: int, window_start: int, note: Note | None = None) -> Step:
    """
    Make the step of a counted quantity.
    """
    return Step(Outcome.USAGE, quantity, window_start, None, note)


def no_usage(note: Note, quantity: int, window_start: int) -> Step:
    """
    Make the step of a point that adds nothing; ``quantity`` is what it would have been, for the event.
    """
    return Step(Outcome.NO_USAGE, quantity, window_start, None, note)


def disputed(reason: Reason, quantity: int, window_start: int) -> Step:
    """
    Make the step of a quantity that only a person may release.
    """
    return Step(Outcome.DISPUTED, quantity, window_start, reason)


def duplicate(quantity: int, window_start: int) -> Step:
    """
    Make the step of a repeat.
    """
    return Step(Outcome.DUPLICATE, quantity, window_start)
