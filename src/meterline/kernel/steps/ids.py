"""
The memory of what has no window to be told apart by: log records and delta instants, by 16-byte key (semantics.md 2).

A key is kept with its amount, its event time and when it was received. The lowest event time leaves first: when there are more
than ``max_ids``, or when it was received longer ago than the horizon. Since the cut-off only rises, what is after it is surely
new or surely known. Measured: about 160 B an id, 0.8 GB for 5,000,000.
"""

import heapq
from array import array
from collections.abc import Iterator
from enum import Enum
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

SEGMENT: Final = 16_384
"""Keys in one append-only part of a snapshot."""

KEY_SIZE: Final = 16

_SECOND: Final = 10**9
_RECEIVED_BITS: Final = 40
_EVENT_BITS: Final = 64
_EVENT_MASK: Final = (1 << _EVENT_BITS) - 1
_RECEIVED_MASK: Final = (1 << _RECEIVED_BITS) - 1
_HEAD_BITS: Final = _EVENT_BITS + _RECEIVED_BITS
_ROW: Final = Struct("<16sQQ16s")


class Found(Enum):
    """
    What an id turns out to be.
    """

    NEW = "new"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"  # known with another amount; remembered, so that its resend is a duplicate
    BEYOND = "beyond"  # not known, and not after the cut-off: it may have been counted and forgotten


class Cutoff(NamedTuple):
    """
    The highest (event time, key) that was evicted.
    """

    event: int = 0
    key: bytes = b""


Row: TypeAlias = tuple[bytes, int, int, int]
"""Key, amount, event time (ns), received (ns, whole seconds)."""


_Undo: TypeAlias = tuple[bytes, int, Cutoff | None]
"""One change: a key that came, or (with the cut-off before) a key and value that left."""


class _Segment:
    """
    Ids in the order they came while it is open, highest event time first once it is closed.

    An entry holds only while its key is known with this event time; all others are left-overs of evictions and rollbacks.
    """

    __slots__ = ("events", "keys")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.events = array("Q")

    def live(self, known: dict[bytes, int]) -> set[tuple[int, bytes]]:
        """
        Return what holds.
        """
        pairs = zip(self.events, self.keys, strict=True)
        return {(event, key) for event, key in pairs if key in known and _event(known[key]) == event}

    def sort(self) -> None:
        """
        Put the highest first.
        """
        rows = sorted(zip(self.events, self.keys, strict=True), reverse=True)
        self.keys = [key for _, key in rows]
        self.events = array("Q", [event for event, _ in rows])

    def lowest(self, known: dict[bytes, int]) -> tuple[int, bytes] | None:
        """
        Return the lowest of a sorted segment that holds, dropping what does not.
        """
        keys, events = self.keys, self.events
        while keys:
            value = known.get(keys[-1])
            if value is not None and _event(value) == events[-1]:
                return events[-1], keys[-1]
            keys.pop()
            events.pop()
        return None


class IdStore:
    """
    A bounded set of ids with undo. One thread; no clock.

    Values are packed into one int (amount, event, received): 48 B where a tuple costs 150.
    """

    def __init__(self, max_ids: int, horizon_ns: int) -> None:
        self._max = max_ids
        self._horizon = horizon_ns
        self._known: dict[bytes, int] = {}
        self._segments: dict[int, _Segment] = {}
        self._open = 0
        self._tops: list[
            tuple[int, bytes, int]
        ] = []  # heap: the lowest of each closed segment, and of the open one ...
        self._heaped = 0  # ... as many as were needed so far
        self._lowest = 0  # no event time of those that are not in the heap is lower
        self._undo: list[_Undo] = []
        self._undone = 0  # changes whose undo was dropped: marks count from the beginning of time
        self._dirty: set[int] = set()
        self._dropped: set[int] = set()
        self.cutoff = Cutoff()
        self.added: tuple[bytes, int, int] = (b"", 0, 0)  # key, amount, event time of what was remembered last

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes) -> int | None:
        """
        Return the amount this id is known with; None when it is not known.
        """
        value = self._known.get(key)
        return None if value is None else _amount(value)

    def find(self, key: bytes) -> tuple[int, int] | None:
        """
        Return the amount and event time this id is known with; None when it is not known.
        """
        value = self._known.get(key)
        return None if value is None else (_amount(value), _event(value))

    def add(self, key: bytes, amount: int, event: int, received: int) -> Found:
        """
        Look an id up, and remember it unless it is BEYOND. What was remembered, NEW or CONFLICT, stands in ``added``,
        and must be in the frame, for ``replay``.
        """
        value = self._known.get(key)
        if value is None:
            if event <= self.cutoff.event:
                return Found.BEYOND
            self._insert(key, amount, event, received)
            return Found.NEW
        if _amount(value) == amount:
            return Found.DUPLICATE
        other = _conflict_key(key, amount)
        if other in self._known:
            return Found.DUPLICATE
        self._insert(other, amount, max(event, _event(value)), received)
        return Found.CONFLICT

    def replay(self, key: bytes, amount: int, event: int, received: int) -> None:
        """
        Remember again what ``add`` remembered; in any order, any number of times. Not to be rolled back.
        """
        value = self._known.get(key, 0)
        if event > _event(value) and (event, key) > self.cutoff:
            self._insert(key, amount, event, received)

    def trim(self, now: int) -> None:
        """
        Evict what was received before the horizon, lowest event time first, up to the first that was not.
        """
        oldest = (now - self._horizon) // _SECOND
        while (top := self._top()) is not None and _received(self._known[top[1]]) < oldest:
            self._evict(top)

    def cut(self, cutoff: Cutoff) -> None:
        """
        Evict all up to a cut-off that a frame or snapshot recorded.
        """
        while (top := self._top()) is not None and top[:2] <= cutoff:
            self._evict(top)
        self.cutoff = max(self.cutoff, cutoff)

    def _insert(self, key: bytes, amount: int, event: int, received: int) -> None:
        self._known[key] = _pack(amount, event, received)
        self.added = key, amount, event
        self._undo.append((key, 0, None))
        self._append(key, event)
        if len(self._known) > self._max and (top := self._top()) is not None:
            self._evict(top)

    def _append(self, key: bytes, event: int) -> None:
        segment = self._segments.setdefault(self._open, _Segment())
        segment.keys.append(key)
        segment.events.append(event)
        self._dirty.add(self._open)
        self._lowest = min(self._lowest, event) if len(segment.keys) - self._heaped > 1 else event
        if len(segment.keys) >= SEGMENT:
            self._close()

    def _close(self) -> None:
        """
        Sort the open segment and keep only its lowest in the heap: one entry a segment, not one an id.
        """
        closed, self._open, self._heaped = self._open, self._open + 1, 0
        self._segments[closed].sort()
        self._tops = [top for top in self._tops if top[2] != closed]
        heapq.heapify(self._tops)
        self._raise_top(closed)

    def _raise_top(self, number: int) -> None:
        """
        Put the lowest of a closed segment into the heap. Ids that left, or came back with another time, are dropped on the way.
        """
        segment = self._segments[number]
        lowest = segment.lowest(self._known)
        if lowest is not None:
            heapq.heappush(self._tops, (*lowest, number))
        else:
            del self._segments[number]
            self._dirty.discard(number)
            self._dropped.add(number)

    def _top(self) -> tuple[int, bytes, int] | None:
        """
        Return the lowest id that is really there: undone and moved ones leave the heap when they come up.
        """
        while self._tops or self._pending():
            if self._pending() and (not self._tops or self._lowest <= self._tops[0][0]):
                self._heap_pending()
            top = self._tops[0]
            value = self._known.get(top[1])
            if value is not None and _event(value) == top[0]:
                return top
            self._pop(top)
        return None

    def _pending(self) -> bool:
        return self._open in self._segments and len(self._segments[self._open].keys) > self._heaped

    def _heap_pending(self) -> None:
        segment = self._segments[self._open]
        for event, key in zip(segment.events[self._heaped :], segment.keys[self._heaped :], strict=True):
            heapq.heappush(self._tops, (event, key, self._open))
        self._heaped = len(segment.keys)

    def _pop(self, top: tuple[int, bytes, int]) -> None:
        heapq.heappop(self._tops)
        segment = top[2]
        if segment != self._open and segment in self._segments:
            self._raise_top(segment)

    def _evict(self, top: tuple[int, bytes, int]) -> None:
        event, key, _ = top
        self._undo.append((key, self._known.pop(key), self.cutoff))
        self.cutoff = max(self.cutoff, Cutoff(event, key))
        self._pop(top)

    def mark(self) -> int:
        """
        Return a place in the order of changes, for ``rollback`` and ``committed``.
        """
        return self._undone + len(self._undo)

    def rollback(self, mark: int) -> None:
        """
        Undo all changes since the mark.
        """
        while self.mark() > mark:
            key, value, cutoff = self._undo.pop()
            if cutoff is None:
                del self._known[key]
            else:
                self.cutoff = cutoff
                self._known[key] = value
                self._append(key, _event(value))

    def committed(self, mark: int) -> None:
        """
        Drop the undo of the changes before the mark.
        """
        del self._undo[: mark - self._undone]
        self._undone = mark

    def dirty(self) -> list[int]:
        """
        Return the segments whose stored form is not right any more, in order.
        """
        return sorted(self._dirty)

    def dropped(self) -> list[int]:
        """
        Return the segments that are stored and hold nothing any more, and forget that they were.
        """
        gone, self._dropped = sorted(self._dropped), set()
        return gone

    def encode_segment(self, segment: int) -> bytes:
        """
        Return one segment as bytes; it is clean from now on.
        """
        self._dirty.discard(segment)
        return b"".join(_ROW.pack(k, e, r, a.to_bytes(16, "little", signed=True)) for k, a, e, r in self._rows(segment))

    def _rows(self, number: int) -> Iterator[Row]:
        segment = self._segments.get(number, _Segment())
        for event, key in sorted(segment.live(self._known)):
            value = self._known[key]
            yield key, _amount(value), event, _received(value) * _SECOND

    def restore_segment(self, segment: int, body: bytes) -> None:
        """
        Fill one segment of an empty store; call ``cut`` with the recorded cut-off before, ``restored`` after the last.
        """
        filled = self._segments[segment] = _Segment()
        for key, event, received, amount in _ROW.iter_unpack(body):
            if (event, key) > self.cutoff and key not in self._known:
                self._known[key] = _pack(int.from_bytes(amount, "little", signed=True), event, received)
                filled.keys.append(key)
                filled.events.append(event)

    def restored(self) -> None:
        """
        End a restore: the next id opens a new segment after the last, and nothing is to be undone.
        """
        self._open, self._heaped = max(self._segments, default=-1) + 1, 0
        for number in list(self._segments):
            self._segments[number].sort()
            self._raise_top(number)
        self.committed(self.mark())


def _pack(amount: int, event: int, received: int) -> int:
    zigzag = amount << 1 if amount >= 0 else (-amount << 1) - 1
    return zigzag << _HEAD_BITS | event << _RECEIVED_BITS | received // _SECOND


def _amount(value: int) -> int:
    zigzag = value >> _HEAD_BITS
    return -((zigzag + 1) >> 1) if zigzag & 1 else zigzag >> 1


def _event(value: int) -> int:
    return value >> _RECEIVED_BITS & _EVENT_MASK


def _received(value: int) -> int:
    return value & _RECEIVED_MASK


def _conflict_key(key: bytes, amount: int) -> bytes:
    return blake2b(key + amount.to_bytes(16, "little", signed=True), digest_size=KEY_SIZE, person=b"conflict").digest()
