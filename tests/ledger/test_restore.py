"""
What a start reads back, and what it does about damage.
"""

import random
from pathlib import Path
from typing import Any

import pytest

from meterline.errors import ConfigurationError, CorruptLedgerError, LedgerLockedError, MeterlineError
from meterline.kernel.seam import Chunk, SnapshotPart, TotalRow
from meterline.ledger import open_reader
from meterline.ledger.model import CommitGroup
from meterline.ledger.repair import main


def part(seq: int, *chunks: int, unchanged: tuple[int, ...] = (), complete: bool = True) -> SnapshotPart:
    """A part of a snapshot as of a frame."""
    bodies = [Chunk(chunk, seq, b"chunk %d as of %d" % (chunk, seq)) for chunk in chunks]
    return SnapshotPart(seq, bodies, list(unchanged), [], complete=complete)


def replayed(ledger: Any) -> list[int]:
    """The frames that a start would replay."""
    return [frame.seq for frame in ledger.stored_state().frames]


def test_everything_is_replayed_until_a_snapshot_is_complete(ledger: Any, make: Any) -> None:
    """Parts of a first snapshot move nothing; its last part moves the floor to the frame of its first part."""
    for seq in (1, 2, 3):
        ledger.commit(make.group(seq))
    ledger.commit(CommitGroup(snapshot=part(3, 0, complete=False)))
    ledger.commit(make.group(4))
    assert replayed(ledger) == [1, 2, 3, 4]
    ledger.commit(CommitGroup(snapshot=part(4, 1)))
    assert replayed(ledger) == [4]


def test_unchanged_chunks_move_on(ledger: Any, make: Any) -> None:
    """A chunk that is still right counts as of the new frame, without being written again; a dropped one is gone."""
    ledger.commit(make.group(1, snapshot=part(1, 0, 1, 2)))
    ledger.commit(make.group(2))
    ledger.commit(make.group(3, snapshot=SnapshotPart(3, [Chunk(1, 3, b"new")], [0], [2], complete=True)))
    chunks = [(chunk.id, chunk.seq, chunk.body) for chunk in ledger.stored_state().chunks]
    assert chunks == [(0, 3, b"chunk 0 as of 1"), (1, 3, b"new")]
    assert replayed(ledger) == []


def test_a_chunk_of_an_older_frame_holds_the_floor(ledger: Any, make: Any) -> None:
    """Frames are replayed from the oldest chunk, whatever the newest says."""
    ledger.commit(make.group(1, snapshot=part(1, 0, 1)))
    ledger.commit(make.group(2))
    ledger.commit(make.group(3, snapshot=part(3, 0)))
    assert replayed(ledger) == [2, 3]


def test_a_snapshot_begun_before_a_restart_counts_for_nothing(open_ledger: Any, make: Any) -> None:
    """A kill between two parts of a snapshot leaves the floor where the last complete one put it."""
    ledger = open_ledger()
    ledger.commit(make.group(1, snapshot=part(1, 0)))
    ledger.commit(make.group(2, snapshot=part(2, 0, complete=False)))
    ledger.close()
    ledger = open_ledger()
    ledger.catch_up_totals(lambda frame, names: [])
    ledger.commit(make.group(3))
    assert replayed(ledger) == [2, 3]
    ledger.commit(CommitGroup(snapshot=part(3, 0, 1)))
    assert replayed(ledger) == []


def test_an_empty_ledger(ledger: Any) -> None:
    """A new ledger restores to nothing, with the first meter id free."""
    state = ledger.stored_state()
    assert (list(state.chunks), list(state.frames), list(state.open_raw)) == ([], [], [])
    assert (state.idle, state.next_meter, state.last_seq) == (0, 0, 0)


DAMAGE = [
    ("UPDATE frame SET body = zeroblob(length(body)) WHERE seq = ?", "frame 3 fails its CRC"),
    ("UPDATE frame SET records = records + 1 WHERE seq = ?", "frame 3 fails its CRC"),
    ("UPDATE frame SET meters = 0 WHERE seq = ?", "frame 3 fails its CRC"),
    ("UPDATE frame SET gen = gen + 1 WHERE seq = ?", "frame 3 fails its CRC"),
    ("UPDATE frame SET codec = 1 - codec WHERE seq = ?", "frame 3 fails its CRC"),
    ("UPDATE definition SET body = x'00' WHERE frame = ?", "frame 3 fails its CRC"),
    ("DELETE FROM definition WHERE frame = ?", "frame 3 fails its CRC"),
    ("DELETE FROM frame WHERE seq = ?", "frame 3 is missing"),
    ("UPDATE chunk_body SET body = x'00' WHERE id = ? - 3", "snapshot chunk 0, as of frame 1, fails its CRC"),
    ("DELETE FROM chunk_body WHERE id = ? - 3", "snapshot chunk 0, as of frame 1, fails its CRC"),
]


@pytest.fixture
def damaged(open_ledger: Any, make: Any) -> Any:
    """A ledger of five frames, the first of them covered by the snapshot, opened after a statement that damages it."""

    def opener(damage: str, seq: int) -> Any:
        ledger = open_ledger()
        ledger.commit(make.group(1, b"x" * 500, snapshot=part(1, 0), totals=[]))
        for number in range(2, 6):
            ledger.commit(make.group(number, b"x" * 500))
        ledger._connection.execute(damage, (seq,))
        ledger.close()
        return open_ledger()

    return opener


def read_all(ledger: Any) -> None:
    """Walk what a start walks."""
    state = ledger.stored_state()
    assert all(chunk.body for chunk in state.chunks)
    assert all(frame.body for frame in state.frames)


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damage_that_the_state_needs(damaged: Any, damage: str, message: str) -> None:
    """A damaged or missing frame after the floor, or a damaged chunk, stops the start; the error names it and a way out."""
    with pytest.raises(CorruptLedgerError, match=message) as raised:
        read_all(damaged(damage, 3))
    assert "backup" in str(raised.value)


@pytest.mark.parametrize(
    "damage", [damage for damage, message in DAMAGE if "fails its CRC" in message and "chunk" not in damage]
)
def test_damage_that_the_snapshot_covers(damaged: Any, path: Path, clock: Any, damage: str) -> None:
    """A damaged frame that every chunk covers is set aside with an event and a count; the start and the service go on."""
    ledger = damaged(damage, 1)
    read_all(ledger)
    ledger.catch_up_totals(lambda frame, names: [])
    while ledger.maintain(clock.now_ns()):
        pass
    samples = {sample.name: sample.value for sample in ledger.samples()}
    assert samples["meterline_ledger_corrupt_frames"] == 1
    with open_reader(path) as reader:
        row = reader.frames(0, 1)[0]
        assert (row.seq, row.frame) == (1, None)
        assert row.records in {4, 5}
        (event,) = reader.connection.execute("SELECT kind, frame FROM event WHERE kind = 'frame_corrupt'")
        assert event == ("frame_corrupt", 1)


def test_a_covered_frame_missing_from_the_totals_is_set_aside(damaged: Any, open_ledger: Any, path: Path) -> None:
    """If the totals do not hold a damaged, covered frame yet, they go on without it, and an event says so."""
    ledger = damaged("UPDATE frame SET body = x'00' WHERE seq = ?", 1)
    ledger._connection.execute("UPDATE meta SET value = 0 WHERE key = 'totals_through'")
    ledger.close()
    ledger = open_ledger()
    assert ledger.catch_up_totals(lambda frame, names: [TotalRow("acme", "calls", 0, 10**30, 1)]) == 5
    with open_reader(path) as reader:
        assert reader.totals(lambda frame, names: [])[0].count == 4
        assert reader.connection.execute("SELECT frame FROM event WHERE kind = 'frame_corrupt'").fetchall() == [(1,)]


def test_repair_is_the_way_out(damaged: Any, open_ledger: Any, path: Path, capsys: Any) -> None:
    """The command that the error names sets the frame aside; then the start passes it, and delivery sees it as lost."""
    ledger = damaged("UPDATE frame SET body = x'00' WHERE seq = ?", 3)
    assert main([str(path), "3"]) == 1
    assert "holds it" in capsys.readouterr().err
    ledger.close()
    assert main([str(path), "2"]) == 1
    assert "frame 2 is whole" in capsys.readouterr().err
    assert main([str(path), "3"]) == 0
    assert capsys.readouterr().out == "set frame 3 aside; it held 4 records\n"
    ledger = open_ledger()
    assert replayed(ledger) == [2, 4, 5]
    assert ledger.catch_up_totals(lambda frame, names: [TotalRow("acme", "calls", 0, 10**30, 1)]) == 4
    with open_reader(path) as reader:
        assert [row.frame is None for row in reader.frames(0, 10**6)] == [False, False, True, False, False]
        assert reader.totals(lambda frame, names: [])[0].count == 3


def test_a_lost_end_is_noticed_and_passed_over(damaged: Any, open_ledger: Any, make: Any, path: Path) -> None:
    """When the newest frame is gone the start stops; after the repair its number is never used again."""
    ledger = damaged("DELETE FROM frame WHERE seq = ?", 5)
    with pytest.raises(CorruptLedgerError, match="frame 5 is missing"):
        read_all(ledger)
    ledger.close()
    assert main([str(path), "5"]) == 0
    ledger = open_ledger()
    assert (replayed(ledger), ledger.stored_state().last_seq) == ([2, 3, 4], 5)
    ledger.commit(make.group(6))
    assert replayed(ledger) == [2, 3, 4, 6]


def test_a_lost_chunk_is_noticed(damaged: Any) -> None:
    """A chunk that is not in the list any more stops the start: its frames are gone."""
    with pytest.raises(CorruptLedgerError, match="chunks of the snapshot are missing"):
        read_all(damaged("DELETE FROM chunk WHERE id = ? - 3", 3))


def test_repair_refuses_what_is_not_there(path: Path, capsys: Any) -> None:
    """Without a file there is nothing to repair, and none is made."""
    assert main([str(path), "3"]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert not path.exists()


def test_a_damaged_idle_row_is_never_used(ledger: Any, make: Any) -> None:
    """An idle stream whose row is not what was stored is an error, since counting on without it would bill twice."""
    ledger.commit(CommitGroup(idled=[(b"k" * 16, b"row"), (b"m" * 16, b"other")]))
    ledger._connection.execute("UPDATE idle SET row = x'00' WHERE key = ?", (b"k" * 16,))
    assert ledger.idle_rows([b"m" * 16]) == [b"other"]
    with pytest.raises(CorruptLedgerError, match="idle stream 6b6b"):
        ledger.idle_rows([b"m" * 16, b"k" * 16])


def test_a_flipped_byte_anywhere_never_changes_a_frame(
    open_ledger: Any, make: Any, path: Path, rng: random.Random
) -> None:
    """Whatever single byte of the file is flipped, a frame or chunk reads as it was, or as an error: never as another."""
    ledger = open_ledger()
    bodies = {seq: make.chance.randbytes(3000) for seq in range(1, 30)}
    for seq, body in bodies.items():
        ledger.commit(make.group(seq, body, snapshot=part(seq, 0, complete=False)))
    chunk = b"chunk 0 as of 29"
    ledger.close()
    content = path.read_bytes()
    noticed = 0
    for place in [rng.randrange(len(content)) for _ in range(300)]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        noticed += check_flipped(open_ledger, bodies, chunk)
    assert 20 < noticed < 300


def check_flipped(open_ledger: Any, bodies: dict[int, bytes], chunk: bytes) -> bool:
    """Read everything; say whether the flip was noticed."""
    try:
        ledger = open_ledger()
    except MeterlineError:
        return True
    try:
        state = ledger.stored_state()
        assert [found.body for found in state.chunks] == [chunk]
        assert {frame.seq: frame.body for frame in state.frames} == bodies
    except MeterlineError:
        return True
    finally:
        ledger.close()
    return False


def test_two_processes(ledger: Any, open_ledger: Any) -> None:
    """A second owner is refused, and so is a repair, as long as the first lives."""
    with pytest.raises(LedgerLockedError):
        open_ledger()
    ledger.close()
    open_ledger()


def test_a_newer_schema_is_refused(open_ledger: Any, path: Path) -> None:
    """A ledger that a newer program wrote is left alone, with the remedy."""
    ledger = open_ledger()
    ledger._connection.pragma("user_version", 99)
    ledger.close()
    with pytest.raises(ConfigurationError, match="schema version 99"):
        open_ledger()
    with pytest.raises(ConfigurationError, match="schema version 99"):
        open_reader(path)
