"""
Streams that leave memory for the idle table, and come back.

A stream that is evicted keeps its slot until the frame that says so is committed: if it comes back earlier, it is simply there.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from meterline.kernel.core import Core
from meterline.kernel.persist import Profiles, idle_row, put_row, read_idle_row
from meterline.kernel.state import CHUNK_BITS, FRESH, SPECIAL

_PIN_NS: Final = 60 * 10**9
"""How long a stream that came back stays: a look-up of it may still be under way on another thread."""

_LOOK: Final = 4
"""Slots looked at for each that may leave."""


class Idle:
    """
    Eviction and return. ``leaving``: slots whose frame is not committed, by the frame's number.
    """

    def __init__(self, core: Core, profiles: Profiles) -> None:
        self._core = core
        self._profiles = profiles
        self._hand = 0
        self._leaving: dict[int, int] = {}
        self._unidled: list[bytes] = []
        self._now = 0

    @property
    def leaving(self) -> int:
        """
        Return how many streams are gone but for the commit.
        """
        return len(self._leaving)

    def evict(self, now: int, limit: int) -> list[tuple[bytes, bytes]]:
        """
        Take out up to ``limit`` idle streams; more than fit the limit on resident streams leave oldest first.
        """
        self._now = max(self._now, now)
        chosen = self._choose(now, limit)
        return [self._leave(slot) for slot in chosen]

    def _choose(self, now: int, limit: int) -> list[int]:
        core = self._core
        excess = min(limit, len(core.table.slots) - len(self._leaving) - core.options.max_resident_streams)
        candidates = [(self._age(slot), slot) for slot in self._look(limit * _LOOK)]
        deadline = now - core.options.idle_ns
        idle = [slot for age, slot in candidates if age <= deadline][:limit]
        if excess <= len(idle):
            return idle
        chosen = set(idle)
        rest = sorted((age, slot) for age, slot in candidates if slot not in chosen)
        pinned = now - _PIN_NS
        free = [slot for _, slot in rest if core.columns.seen.get(slot, 0) < pinned]
        return idle + free[: excess - len(idle)]

    def _look(self, count: int) -> Iterator[int]:
        """
        Yield the next slots that could leave; over a few calls all slots are looked at.
        """
        core = self._core
        total = len(core.columns)
        for _ in range(min(count, total)):
            self._hand = (self._hand + 1) % total
            slot = self._hand
            kind = core.columns.kind[slot]
            if kind != SPECIAL and slot not in core.table.unloaded:
                yield slot

    def _age(self, slot: int) -> int:
        c = self._core.columns
        if c.kind[slot] == FRESH:  # no point of it was valid yet: its time runs from when it is first seen here
            return c.seen.setdefault(slot, self._now)
        return max(c.last[slot], c.seen.get(slot, 0))

    def _leave(self, slot: int) -> tuple[bytes, bytes]:
        core = self._core
        key = core.columns.key[slot] or b""
        frame = core.opened()
        row = idle_row(core, slot)
        core.table.unloaded.add(slot)
        self._leaving[slot] = frame.seq
        frame.evicted.append(key)
        frame.ops.append((_undo_leave, self, slot))
        core.dirty.add(slot >> CHUNK_BITS)
        return key, row

    def load(self, keys: Sequence[bytes], rows: Sequence[bytes]) -> None:
        """
        Bring streams back: those with rows as they were, the others as new ones. What is resident already stays.
        """
        core = self._core
        found = {row.key: (row, data) for data in rows for row in (read_idle_row(data),)}
        for key in keys:
            slot = core.table.slots.get(key)
            if slot is None or slot not in core.table.unloaded:
                continue
            if slot in self._leaving:
                self._stay(slot, key)
            elif key in found:
                self._return(slot, key, *found[key])
            else:
                core.table.unloaded.discard(slot)
            core.columns.seen[slot] = self._now

    def _stay(self, slot: int, key: bytes) -> None:
        """
        Bring back a stream whose row goes to the idle table with a frame that is not committed yet.
        """
        core = self._core
        seq = self._leaving.pop(slot)
        core.table.unloaded.discard(slot)
        frame = core.opened()
        frame.loaded.append(idle_row(core, slot))
        frame.ops.append((_undo_stay, self, slot, seq))
        self._unidled.append(key)
        core.refresh(slot)

    def _return(self, slot: int, key: bytes, row: object, data: bytes) -> None:
        core = self._core
        frame = core.opened()
        frame.loaded.append(data)
        frame.ops.append((_undo_return, slot))
        put_row(core, slot, row, self._profiles)  # type: ignore[arg-type]  # a SlotRow
        core.table.unloaded.discard(slot)
        core.refresh(slot)
        self._unidled.append(key)

    def unidled(self) -> list[bytes]:
        """
        Return and forget the keys whose rows leave the idle table with the frame sealed next.
        """
        taken, self._unidled = self._unidled, []
        return taken

    def forget_unidled(self) -> None:
        """
        Forget them, since the open frame is undone.
        """
        self._unidled = []

    def committed(self, seq: int) -> None:
        """
        Free the slots of what left with frames up to this one.
        """
        gone = [slot for slot, frame in self._leaving.items() if frame <= seq]
        if not gone:
            return
        with self._core.table.lock:
            for slot in gone:
                del self._leaving[slot]
                self._free(slot)
            self._core.table.version += 1

    def _free(self, slot: int) -> None:
        core = self._core
        c = core.columns
        key = c.key[slot]
        for other in c.bundles.get(slot, ()):
            c.bundles.pop(other, None)
            c.unbind(other)
        c.unbind(slot)
        if key is not None:
            core.table.slots.pop(key, None)
        core.table.unloaded.discard(slot)
        c.key[slot] = None
        c.clear(slot)
        c.free.append(slot)

    def undo_leave(self, slot: int) -> None:
        """
        Undo an eviction.
        """
        self._leaving.pop(slot, None)
        self._core.table.unloaded.discard(slot)

    def undo_stay(self, slot: int, seq: int) -> None:
        """
        Undo a return before the commit.
        """
        self._leaving[slot] = seq
        self._core.table.unloaded.add(slot)


def _undo_leave(core: Core, idle: Idle, slot: int) -> None:
    idle.undo_leave(slot)
    core.refresh(slot)


def _undo_stay(core: Core, idle: Idle, slot: int, seq: int) -> None:
    idle.undo_stay(slot, seq)
    core.dirty.add(slot >> CHUNK_BITS)


def _undo_return(core: Core, slot: int) -> None:
    """
    Undo a return: the row is in the idle table still.
    """
    c = core.columns
    group, key, raws = c.group[slot], c.key[slot], (c.raw_map[slot], c.raw_key[slot], c.more_raws.get(slot))
    other, bundle = c.others.get(slot), c.bundles.get(slot)
    c.clear(slot)
    c.kind[slot] = FRESH
    c.group[slot], c.key[slot] = group, key
    c.raw_map[slot], c.raw_key[slot] = raws[:2]
    if raws[2]:
        c.more_raws[slot] = raws[2]
    if other:
        c.others[slot] = other
    if bundle:
        c.bundles[slot] = bundle
    core.table.unloaded.add(slot)
