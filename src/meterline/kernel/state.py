"""
The state of all streams as columns: one slot per (stream, track), no object per stream.
"""

from array import array
from typing import Any, Final

from meterline.kernel.canonical import digest
from meterline.kernel.groups import UNMATCHED, Group, Profile
from meterline.kernel.seam import Track

NEVER: Final = -1
"""In ``fast``: no start equals it, so every point of the slot takes the slow path."""

_TERMED: Final = -(1 << 62)
_TERM_BITS: Final = (1 << 61) - 1


def termed(start: int, term: int, *, scaled: bool) -> int:
    """
    Return what ``fast`` holds for an epoch whose last reading named its writer: no start equals it until the year 2116.

    Two epochs of one stream that a point could take for each other share it with a probability of 2^-61.
    """
    return _TERMED - 2 * (hash((start, term)) & _TERM_BITS) - scaled


SPECIAL, FRESH, CUMULATIVE, DELTA = range(4)
"""Kinds of slots: no stream at all; a stream without state yet; and the two kinds of state."""

CHUNK: Final = 2048
CHUNK_BITS: Final = 11

NO_SLOT: Final = 0
"""The slot of all unmatched points."""


def slot_key(identity: bytes, track: Track) -> bytes:
    """
    Return the 16-byte key of a (stream, track): the identity itself for numbers, and a hash of both for the rest.
    """
    return identity if track is Track.NUMBER else digest(b"meterline.track.1", identity, bytes((track.value,)))


class Columns:
    """
    Parallel columns by slot.

    - ``key``: 16 bytes, None for a free or special slot; ``identity`` and ``track`` differ from it only where ``others`` says;
    - ``fast``: what the start of a point must be to take the fast path: of the epoch (cumulative), the end of what is
      covered (delta), or NEVER; for states in 10^-18 (``scaled``) it is -2 - that, after a reading with a term ``termed``;
    - ``start``, ``origin``, ``last``: start of the newest epoch, where it begins, its last time (delta: last = end covered);
    - ``value``: last value (cumulative), or the tail of latest windows (delta);
    - ``base``: what the fast form leaves out, or the whole state where ``slow`` holds the slot;
    - ``meter``: the id that the next row names; ``epochs``: those of other epochs by start;
    - ``group``: the verdict, set by any thread; ``profile``: what ``meter`` was declared with, set by the kernel thread;
    - ``raws``: where the stream is bound: (bindings, raw key); more than one in ``more_raws``;
    - ``seen``: when a stream whose points come late was last touched (ns); the others are as old as ``last`` says.
    """

    def __init__(self) -> None:
        self.key: list[bytes | None] = []
        self.kind = bytearray()
        self.scaled = bytearray()
        self.fast = array("q")
        self.start = array("q")
        self.origin = array("q")
        self.last = array("q")
        self.meter = array("I")
        self.value: list[Any] = []
        self.group: list[Group] = []
        self.profile: list[Profile | None] = []
        self.raw_map: list[dict[bytes, int] | None] = []
        self.raw_key: list[bytes | None] = []
        self.more_raws: dict[int, list[tuple[dict[bytes, int], bytes]]] = {}
        self.others: dict[int, tuple[bytes, Track]] = {}
        self.base: dict[int, bytes] = {}
        self.slow: set[int] = set()
        self.epochs: dict[int, dict[int, int]] = {}
        self.seen: dict[int, int] = {}
        self.bundles: dict[int, tuple[int, ...]] = {}
        self.free: list[int] = []
        self.add(None, UNMATCHED)

    def __len__(self) -> int:
        return len(self.key)

    def add(self, key: bytes | None, group: Group) -> int:
        """
        Take a slot, without state. The caller holds the table's lock.
        """
        slot = self.free.pop() if self.free else self.grow()
        self.key[slot] = key
        self.kind[slot] = SPECIAL if key is None else FRESH
        self.group[slot] = group
        return slot

    def grow(self) -> int:
        """
        Append a slot; ``key`` last, since its length says how many there are.
        """
        slot = len(self.key)
        self.kind.append(SPECIAL)
        self.scaled.append(0)
        self.fast.append(NEVER)
        for column in (self.start, self.origin, self.last, self.meter):
            column.append(0)
        self.value.append(0)
        self.group.append(UNMATCHED)
        self.profile.append(None)
        self.raw_map.append(None)
        self.raw_key.append(None)
        self.key.append(None)
        return slot

    def grow_to(self, count: int) -> None:
        """
        Append slots until there are ``count``; for a restore, which fills them.
        """
        more = count - len(self.key)
        if more <= 0:
            return
        self.kind.extend(bytes(more))
        self.scaled.extend(bytes(more))
        self.fast.extend(array("q", [NEVER]) * more)
        for column in (self.start, self.origin, self.last, self.meter):
            column.extend(array(column.typecode, [0]) * more)
        self.value.extend([0] * more)
        self.group.extend([UNMATCHED] * more)
        self.profile.extend([None] * more)
        self.raw_map.extend([None] * more)
        self.raw_key.extend([None] * more)
        self.key.extend([None] * more)

    def clear(self, slot: int) -> None:
        """
        Take a slot back to nothing, but its key and group.
        """
        self.kind[slot] = SPECIAL
        self.scaled[slot] = 0
        self.fast[slot] = NEVER
        self.start[slot] = self.origin[slot] = self.last[slot] = self.meter[slot] = 0
        self.value[slot] = 0
        self.profile[slot] = None
        self.raw_map[slot] = self.raw_key[slot] = None
        for side in (self.more_raws, self.others, self.base, self.epochs, self.seen, self.bundles):
            side.pop(slot, None)
        self.slow.discard(slot)

    def identity(self, slot: int) -> bytes:
        """
        Return the stream identity of a slot.
        """
        other = self.others.get(slot)
        return other[0] if other else self.key[slot] or b""

    def track(self, slot: int) -> Track:
        """
        Return the track of a slot.
        """
        other = self.others.get(slot)
        return other[1] if other else Track.NUMBER

    def bind(self, slot: int, bindings: dict[bytes, int], raw: bytes) -> None:
        """
        Note where a slot is bound, for ``unbind``.
        """
        if self.raw_map[slot] is None:
            self.raw_map[slot], self.raw_key[slot] = bindings, raw
        else:
            self.more_raws.setdefault(slot, []).append((bindings, raw))
        bindings[raw] = slot

    def unbind(self, slot: int) -> None:
        """
        Remove the slot from wherever it is bound.
        """
        first, raw = self.raw_map[slot], self.raw_key[slot]
        pairs = self.more_raws.pop(slot, [])
        if first is not None and raw is not None:
            pairs.append((first, raw))
        for bindings, key in pairs:
            if bindings.get(key) == slot:
                del bindings[key]
        self.raw_map[slot] = self.raw_key[slot] = None
