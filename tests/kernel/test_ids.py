"""
The memory of ids: bounded, undoable, the same after replay, snapshot and restart.
"""

import random
from collections.abc import Callable
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterline.kernel.steps import ids
from meterline.kernel.steps.ids import Cutoff, Found, IdStore

S = 10**9
HORIZON = 1000 * S


def key(n: int) -> bytes:
    """
    Make a key.
    """
    return blake2b(n.to_bytes(8, "big"), digest_size=16).digest()


def store(max_ids: int = 1000) -> IdStore:
    """
    Make an empty store.
    """
    return IdStore(max_ids, HORIZON)


def test_new_known_and_conflict() -> None:
    """
    A conflict is remembered, so that its resend is a duplicate; the first amount stays.
    """
    known = store()
    answers = [known.add(key(1), amount, 5 * S, 5 * S) for amount in (7, 7, 8, 8, 7, -9)]
    assert answers == [Found.NEW, Found.DUPLICATE, Found.CONFLICT, Found.DUPLICATE, Found.DUPLICATE, Found.CONFLICT]
    assert known.get(key(1)) == 7
    assert known.get(key(2)) is None


@pytest.mark.parametrize("amount", [0, 1, -1, 10**38 - 1, -(10**38) + 1])
def test_amounts_are_kept_exactly(amount: int) -> None:
    """
    Signs and 127 bits survive the packing.
    """
    known = store()
    known.add(key(1), amount, 2**63 - 1, 0)
    assert known.get(key(1)) == amount


def test_a_time_that_moves_does_not_matter_while_the_id_is_known() -> None:
    """
    Time is no part of a selector's identity.
    """
    known = store()
    known.add(key(1), 7, 5 * S, 0)
    assert known.add(key(1), 7, 9 * S, 0) is Found.DUPLICATE


def test_the_lowest_event_time_leaves_first() -> None:
    """
    What left, and all unknown ones not after it, are beyond; later ones are surely new.
    """
    known = store(max_ids=3)
    for event in (30, 10, 20, 40):
        assert known.add(key(event), 1, event * S, 0) is Found.NEW
    assert len(known) == 3
    assert known.cutoff == (10 * S, key(10))
    assert known.add(key(10), 1, 10 * S, 0) is Found.BEYOND
    assert known.add(key(9), 1, 10 * S, 0) is Found.BEYOND
    assert known.add(key(11), 1, 10 * S + 1, 0) is Found.NEW
    assert known.add(key(30), 1, 30 * S, 0) is Found.DUPLICATE


def test_the_horizon_evicts_by_reception_in_the_order_of_event_times() -> None:
    """
    An id that was received long ago leaves, but not before one with a lower event time that is fresh.
    """
    known = store()
    known.add(key(1), 1, 10 * S, 0)
    known.add(key(2), 1, 20 * S, 500 * S)
    known.add(key(3), 1, 30 * S, 0)
    known.trim(1000 * S)
    assert len(known) == 3
    known.trim(1001 * S)
    assert (len(known), known.cutoff.event) == (2, 10 * S)
    known.trim(1502 * S)
    assert (len(known), known.cutoff.event) == (0, 30 * S)


class Plain:
    """
    The same, slowly: a dict, and the lowest by ``min``.
    """

    def __init__(self, max_ids: int) -> None:
        self.max_ids = max_ids
        self.known: dict[bytes, tuple[int, int, int]] = {}
        self.conflicts: dict[bytes, set[int]] = {}
        self.cutoff = Cutoff()

    def add(self, name: bytes, amount: int, event: int, received: int) -> Found:
        """
        Look up and remember.
        """
        if name not in self.known:
            if event <= self.cutoff.event:
                return Found.BEYOND
            self.known[name] = (event, amount, received)
            if len(self.known) > self.max_ids:
                self.evict()
            return Found.NEW
        return Found.DUPLICATE

    def evict(self) -> None:
        """
        Forget the lowest.
        """
        lowest = min(self.known, key=lambda name: (self.known[name][0], name))
        self.cutoff = Cutoff(self.known.pop(lowest)[0], lowest)

    def trim(self, now: int) -> None:
        """
        Forget by horizon.
        """
        while self.known:
            lowest = min(self.known, key=lambda name: (self.known[name][0], name))
            if self.known[lowest][2] // S >= (now - HORIZON) // S:
                return
            self.evict()


def snapshot_and_restore(known: IdStore, stored: dict[int, bytes]) -> IdStore:
    """
    Write the dirty segments, drop the empty ones, and read all into a fresh store.
    """
    for segment in known.dropped():
        stored.pop(segment, None)
    for segment in known.dirty():
        stored[segment] = known.encode_segment(segment)
    fresh = store(known._max)
    fresh.cut(known.cutoff)
    for segment, body in stored.items():
        fresh.restore_segment(segment, body)
    fresh.restored()
    return fresh


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 20, 1000]))
def test_random_ids_agree_with_a_plain_dictionary(seed: int, max_ids: int) -> None:
    """
    With small segments, restarts and rollbacks between, answers, cut-off and what is kept are those of a plain dict.
    """
    draw, stored = random.Random(seed), dict[int, bytes]()
    known, plain = store(max_ids), Plain(max_ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "SEGMENT", 8)
        for now in range(120):
            at = now * 20 * S
            event = draw.choice([at, at - draw.randrange(50) * S, draw.randrange(10) * S + 1])
            name = key(draw.randrange(60))
            disturb(draw, known, at)
            assert known.add(name, 1, max(event, 1), at) is plain.add(name, 1, max(event, 1), at)
            if draw.random() < 0.2:
                known.trim(at)
                plain.trim(at)
            if draw.random() < 0.1:
                known = snapshot_and_restore(known, stored)
            assert (len(known), known.cutoff) == (len(plain.known), plain.cutoff)
    assert all(known.get(name) == 1 for name in plain.known)


def disturb(draw: random.Random, known: IdStore, at: int) -> None:
    """
    Add, evict and roll back, which must leave no trace; drop the undo of what is older.
    """
    if draw.random() < 0.3:
        known.committed(known.mark())
    if draw.random() < 0.3:
        mark, before = known.mark(), (len(known), known.cutoff)
        for _ in range(draw.randrange(30)):
            known.add(key(draw.randrange(80)), draw.choice([1, 1, 2]), draw.randrange(1, at + 2), at)
        known.trim(at + draw.choice([0, HORIZON]))
        known.rollback(mark)
        assert (len(known), known.cutoff) == before


def shuffled(rows: list[tuple[bytes, int, int]], draw: random.Random) -> list[tuple[bytes, int, int]]:
    """
    Return rows in another order.
    """
    return draw.sample(rows, len(rows))


@pytest.mark.parametrize("order", [lambda rows, _: rows, shuffled, lambda rows, _: rows + rows])
@pytest.mark.parametrize("moving", [False, True])
def test_replay_in_any_order_and_twice_gives_the_same_store(
    order: Callable[..., list[tuple[bytes, int, int]]],
    moving: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """
    What a frame recorded, replayed, then cut, equals the store that recorded it, also when events change their times.
    """
    draw = random.Random(3)
    known, rows, found = store(max_ids=50), [], set()
    for n in range(600):
        number = draw.randrange(200)
        event = draw.randrange(1, n + 2) * S if moving else number * S + 1
        row = (key(number), draw.choice([1, 1, 1, 2]), event)
        found.add(answer := known.add(*row, 0))
        if answer in {Found.NEW, Found.CONFLICT}:
            rows.append(known.added)
    assert found == set(Found)
    again = store(max_ids=50)
    for row in order(rows, draw):
        again.replay(*row, 0)
    again.cut(known.cutoff)
    assert again.cutoff == known.cutoff
    assert again._known == known._known


def test_segments_are_append_only() -> None:
    """
    A full segment is written once and stays clean; an emptied one is dropped.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "SEGMENT", 4)
        known = store()
        for n in range(1, 11):
            known.add(key(n), 1, n * S, 0)
        assert known.dirty() == [0, 1, 2]
        for segment in known.dirty():
            known.encode_segment(segment)
        known.add(key(11), 1, 11 * S, 0)
        assert known.dirty() == [2]
        known.cut(Cutoff(4 * S, b"\xff" * 16))
        assert known.dropped() == [0]
        assert known.dropped() == []
        assert len(known) == 7
