"""
The exporter ``file`` on real files: cutting back, rotation step by step, and what it refuses.
"""

import errno
import gzip
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from meterline.api import ExporterContext, NotConnectedError, PausedError, SystemClock, Verdict
from meterline.exporters.file import FileExporter, plugin
from meterline.exporters.file.checkpoint import Checkpoint, Finish, finished_name
from meterline.exporters.file.config import FileConfig
from meterline.exporters.file.encoding import CSV_HEADER
from meterline.testing.rig import RigRecords, usage

NANOS = 1_000_000_000


class Log:
    """
    Keeps warnings.
    """

    def __init__(self) -> None:
        self.warnings: list[dict[str, Any]] = []

    def warning(self, event: str, **fields: Any) -> None:
        self.warnings.append({"event": event, **fields})


class Clock(SystemClock):
    """
    A wall clock that the test moves.
    """

    def __init__(self) -> None:
        self.now = 1_795_000_000 * NANOS

    def now_ns(self) -> int:
        return self.now


class Lines:
    """
    A batch of given numbers.
    """

    id, attempt = "ledger/file/1", 1

    def __init__(self, *numbers: int) -> None:
        self.number = numbers[0]
        self.records = [usage(number) for number in numbers]

    def __len__(self) -> int:
        return len(self.records)

    def encode(self, fmt: Any) -> bytes:
        return RigRecords(self.records).encode(fmt, range(len(self)))


class Folder:
    """
    A folder, and exporters into it as after a start of the process each.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "usage.ndjson"
        self.clock, self.log = Clock(), Log()
        self.checkpoint: bytes | None = None
        self._open: list[FileExporter] = []

    def exporter(self, **options: Any) -> FileExporter:
        config = FileConfig(type="file", path=options.pop("path", self.path), **options)
        made = FileExporter("x", config, ExporterContext("ledger", self.clock, self.log))
        self._open.append(made)
        return made

    def start(self, **options: Any) -> FileExporter:
        """
        Connect as the engine does, with the last stored checkpoint.
        """
        self.close()
        made = self.exporter(**options)
        made.connect(self.checkpoint)
        self.store(made)
        return made

    def store(self, made: FileExporter) -> None:
        """
        Store checkpoints as long as there are any.
        """
        while (pending := made.pending_checkpoint()) is not None:
            self.checkpoint = pending
            made.settled()

    def write(self, made: FileExporter, *numbers: int) -> None:
        """
        Send, store the receipt, and tell the exporter.
        """
        receipt = made.send(Lines(*numbers))
        assert receipt.default.verdict is Verdict.DELIVERED
        self.checkpoint = receipt.checkpoint
        made.settled()
        self.store(made)

    def numbers(self, path: Path | None = None) -> list[int]:
        """
        Return what stands in a file.
        """
        return [int(json.loads(line)["id"], 16) for line in (path or self.path).read_bytes().splitlines()]

    def finished(self) -> list[Path]:
        """
        Return finished files, oldest first.
        """
        return sorted(self.path.parent.glob("usage-*"), key=lambda path: path.name.split("-")[2])

    def close(self) -> None:
        for made in self._open:
            made.close()
        self._open.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """
    An empty folder.
    """
    made = Folder(tmp_path)
    yield made
    made.close()


def test_without_rotation_this_very_file_grows(folder: Folder) -> None:
    """
    Batches stand one after another in the file of the config, readable by its owner alone.
    """
    exporter = folder.start()
    folder.write(exporter, 1, 2)
    folder.write(exporter, 3)
    exporter = folder.start()
    folder.write(exporter, 4)
    assert folder.numbers() == [1, 2, 3, 4]
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("tail", [b"x", b'{"id": "torn', Lines(7, 8).encode("ndjson")])
def test_what_is_after_the_checkpoint_is_cut_off(folder: Folder, tail: bytes) -> None:
    """
    At start, a torn line or a whole batch without a stored receipt goes; what is before it stays.
    """
    folder.write(folder.start(), 1, 2)
    with folder.path.open("ab") as file:
        file.write(tail)
    exporter = folder.start()
    assert folder.numbers() == [1, 2]
    assert folder.log.warnings[-1]["bytes"] == len(tail)
    folder.write(exporter, 3)
    assert folder.numbers() == [1, 2, 3]


def test_a_crash_before_the_first_receipt_repeats_nothing(folder: Folder) -> None:
    """
    Where the file begins is stored before the first write, so that even the first batch is cut back.
    """
    folder.path.write_bytes(Lines(1).encode("ndjson"))
    exporter = folder.start()
    assert Checkpoint.unpack(folder.checkpoint or b"").length == folder.path.stat().st_size
    exporter.send(Lines(2))
    folder.start()
    assert folder.numbers() == [1]


def test_a_first_start_appends_after_the_last_newline(folder: Folder) -> None:
    """
    What was in the file before stays; a file that may end in half a line is refused.
    """
    folder.path.write_text("something else\n")
    folder.write(folder.start(), 1)
    assert folder.path.read_text().startswith("something else\n{")
    folder.close()
    folder.path.write_text("half a li")
    with pytest.raises(
        PausedError, match=r"does not end with a newline.*move it away, mend it, or choose another path"
    ):
        folder.exporter().connect(None)


def _shorten(path: Path) -> None:
    os.truncate(path, 3)


def _replace(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.write_bytes(path.with_suffix(".old").read_bytes())


@pytest.mark.parametrize(
    ("harm", "words"), [(_shorten, "it has 3 bytes"), (_replace, "another file"), (Path.unlink, "the file is gone")]
)
def test_a_file_that_lost_delivered_records_pauses(folder: Folder, harm: Callable[[Path], Any], words: str) -> None:
    """
    A file that was cut, replaced or removed is never written on in silence, at start and while running; the error says
    what to do.
    """
    exporter = folder.start()
    folder.write(exporter, 1, 2)
    harm(folder.path)
    if harm is not _shorten:
        with pytest.raises(PausedError, match=words):
            exporter.send(Lines(3))
    folder.close()
    with pytest.raises(PausedError, match=f"{words}.*put the file back"):
        folder.exporter().connect(folder.checkpoint)


def test_two_exporters_never_share_a_file(folder: Folder) -> None:
    """
    The second one pauses instead of writing into the first one's lines.
    """
    folder.start()
    with pytest.raises(PausedError, match="another exporter or process writes it"):
        folder.exporter().connect(None)


def test_only_a_regular_file_will_do(folder: Folder) -> None:
    """
    A fifo is refused without waiting for its reader.
    """
    os.mkfifo(folder.path)
    with pytest.raises(PausedError, match="not a regular file"):
        folder.exporter().connect(None)


def test_a_missing_directory_is_tried_again(folder: Folder) -> None:
    """
    A disk that is not mounted yet is no reason to give up.
    """
    path = folder.path.parent / "later" / "usage.ndjson"
    exporter = folder.exporter(path=path)
    with pytest.raises(NotConnectedError, match=r"opening '.*later/usage.ndjson': No such file or directory"):
        exporter.connect(None)
    path.parent.mkdir()
    exporter.connect(None)


def test_a_full_disk_leaves_nothing_torn(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Half a write and then no room: the batch is refused for now, and the half is cut off before the next write.
    """
    folder.write(folder.start(), 1)
    exporter = folder.start()
    pwrite, left = os.pwrite, iter([30])

    def full(fd: int, data: bytes, offset: int) -> int:
        for room in left:
            return pwrite(fd, data[:room], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(plugin.os, "pwrite", full)
    outcome = exporter.send(Lines(2)).default
    assert outcome.verdict is Verdict.RETRY
    assert "No space left on device" in outcome.reason
    monkeypatch.setattr(plugin.os, "pwrite", pwrite)
    exporter = folder.start()
    folder.write(exporter, 2)
    assert folder.numbers() == [1, 2]


def test_a_failed_sync_is_not_tried_again_on_the_same_bytes(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a failed fsync the batch is cut off and written anew.
    """
    exporter = folder.start()

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(plugin.os, "fdatasync", broken)
        assert exporter.send(Lines(1)).default.verdict is Verdict.RETRY
    folder.start()
    assert folder.path.read_bytes() == b""


def test_short_writes_are_finished(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A system that takes seven bytes at a time gets them all.
    """
    pwrite = os.pwrite
    monkeypatch.setattr(plugin.os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:7], offset))
    folder.write(folder.start(), 1, 2, 3)
    assert folder.numbers() == [1, 2, 3]


def test_rotation_by_size(folder: Folder) -> None:
    """
    Once a file is large enough it gets its finished name, and the next begins at ``path``.
    """
    exporter = folder.start(rotate={"max_bytes": 300})
    for number in range(1, 5):
        folder.write(exporter, number)
    assert [folder.numbers(path) for path in folder.finished()] == [[1], [2], [3], [4]]
    assert folder.path.read_bytes() == b""
    assert folder.finished()[0].name == "usage-20261118T110640Z-000001.ndjson"
    assert not folder.path.with_name("usage.ndjson.next").exists()


def test_rotation_by_time_needs_no_further_record(folder: Folder) -> None:
    """
    A file is finished so long after its first record, while idle too; an empty one never is.
    """
    exporter = folder.start(rotate={"max_secs": 60})
    folder.clock.now += 3_600 * NANOS
    exporter.idle()
    assert exporter.pending_checkpoint() is None
    folder.write(exporter, 1)
    folder.clock.now += 59 * NANOS
    exporter = folder.start(rotate={"max_secs": 60})
    exporter.idle()
    assert exporter.pending_checkpoint() is None
    folder.clock.now += 1 * NANOS
    exporter.idle()
    folder.store(exporter)
    assert [folder.numbers(path) for path in folder.finished()] == [[1]]
    folder.write(exporter, 2)
    assert folder.numbers() == [2]


@pytest.mark.parametrize("renames", [0, 1, 2])
@pytest.mark.parametrize("stored", ["", "stored"])
def test_a_crash_at_any_step_of_a_rotation(
    folder: Folder, renames: int, stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Before its checkpoint a rotation has not happened; after it, the renames are done at the next start, whatever is left.
    """
    exporter = folder.start(rotate={"max_bytes": 300})
    receipt = exporter.send(Lines(1))
    folder.checkpoint = receipt.checkpoint
    exporter.settled()
    if stored:
        folder.checkpoint = exporter.pending_checkpoint()
        rename, left = Path.rename, [None] * renames

        def dying(path: Path, target: Path) -> Path:
            if not left:
                raise KeyboardInterrupt
            left.pop()
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", dying)
            if renames < 2:
                with pytest.raises(KeyboardInterrupt):
                    exporter.settled()
            else:
                exporter.settled()
    exporter = folder.start(rotate={"max_bytes": 300})
    assert [folder.numbers(path) for path in folder.finished()] == ([[1]] if stored else [])
    folder.write(exporter, 2)
    together = [number for path in folder.finished() for number in folder.numbers(path)]
    assert together == [1, 2]


def test_a_finished_file_may_be_moved_away_before_the_next_receipt(folder: Folder) -> None:
    """
    Whoever takes finished files away at once does not stop the exporter.
    """
    folder.write(folder.start(rotate={"max_bytes": 300}), 1)
    (finished,) = folder.finished()
    finished.unlink()
    exporter = folder.start(rotate={"max_bytes": 300})
    folder.write(exporter, 2)
    assert [folder.numbers(path) for path in folder.finished()] == [[2]]


def test_a_finished_name_is_never_overwritten(folder: Folder) -> None:
    """
    A file that has the finished name already stops the rotation, and nothing is lost.
    """
    exporter = folder.start(rotate={"max_bytes": 300})
    folder.checkpoint = exporter.send(Lines(1)).checkpoint
    exporter.settled()
    folder.checkpoint = exporter.pending_checkpoint()
    taken = folder.path.with_name(finished_name(folder.path, 1, folder.clock.now))
    taken.write_text("mine")
    with pytest.raises(PausedError, match="exists; move it away"):
        exporter.settled()
    assert taken.read_text() == "mine"
    taken.unlink()
    folder.start(rotate={"max_bytes": 300})
    assert [folder.numbers(path) for path in folder.finished()] == [[1]]


def test_csv_has_a_header_in_each_file(folder: Folder) -> None:
    """
    The header comes once, also after a restart; a file with another header is refused.
    """
    folder.write(folder.start(format="csv"), 1)
    folder.write(folder.start(format="csv"), 2)
    assert folder.path.read_bytes().count(CSV_HEADER) == 1
    assert folder.path.read_bytes().startswith(CSV_HEADER)
    folder.close()
    folder.path.write_text("a,b\n1,2\n")
    with pytest.raises(PausedError, match="its first line is not the header"):
        folder.exporter(format="csv").connect(None)


@pytest.mark.parametrize(
    ("compression", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress)]
)
def test_a_compressed_file_from_before_is_checked(
    folder: Folder, compression: str, pack: Callable[[bytes], bytes]
) -> None:
    """
    Whole members are appended to; half a member, text without a newline, or something else is refused.
    """
    folder.path.write_bytes(pack(b"one\n") + pack(b"two\n"))
    folder.write(folder.start(compression=compression), 1)
    folder.close()
    for bad, words in (
        (pack(b"one\n" * 99)[:-3], "torn"),
        (pack(b"one\n") + pack(b"half"), "newline"),
        (b"plain text\n", f"not {compression}"),
    ):
        folder.path.write_bytes(bad)
        with pytest.raises(PausedError, match=words):
            folder.exporter(compression=compression).connect(None)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(["write", "unstored", "tail", "restart"]), max_size=25),
    st.sampled_from([None, 1, 700]),
    st.sampled_from(["none", "gzip"]),
)
def test_any_history_leaves_each_stored_batch_once(
    tmp_path_factory: pytest.TempPathFactory, history: list[str], size: int | None, compression: str
) -> None:
    """
    Whatever mix of writes, lost receipts, torn tails and restarts, the files hold what was receipted, once, in order.
    """
    folder = Folder(tmp_path_factory.mktemp("history"))
    options = {"compression": compression} | ({"rotate": {"max_bytes": size}} if size else {})
    exporter, expected = folder.start(**options), []
    for number, step in enumerate(history):
        if step == "write":
            folder.write(exporter, number)
            expected.append(number)
            continue
        if step == "unstored":
            exporter.send(Lines(number))
        elif step == "tail":
            with folder.path.open("ab") as file:
                file.write(b"torn")
        exporter = folder.start(**options)
    unpack = gzip.decompress if compression == "gzip" else bytes
    texts = [unpack(path.read_bytes()) for path in (*folder.finished(), folder.path)]
    folder.close()
    assert [int(json.loads(line)["id"], 16) for text in texts for line in text.splitlines()] == expected


@given(
    st.builds(
        Checkpoint,
        st.integers(1, 10**9),
        st.integers(0, 2**64),
        st.integers(0, 2**60),
        st.integers(0, 2**62),
        st.none() | st.builds(Finish, st.integers(0, 2**64), st.integers(0, 2**60), st.text()),
    )
)
def test_a_checkpoint_is_read_as_it_was_written(checkpoint: Checkpoint) -> None:
    """
    JSON keeps every field.
    """
    assert Checkpoint.unpack(checkpoint.pack()) == checkpoint


@pytest.mark.parametrize(
    ("name", "finished"),
    [
        ("usage.ndjson.gz", "usage-20261118T110640Z-000007.ndjson.gz"),
        ("usage", "usage-20261118T110640Z-000007"),
        (".hidden", ".hidden-20261118T110640Z-000007"),
    ],
)
def test_finished_names_keep_the_suffixes(name: str, finished: str) -> None:
    """
    Programs that look at suffixes know a finished file for what it is.
    """
    assert finished_name(Path("/x") / name, 7, Clock().now) == finished


def test_rotate_needs_a_limit() -> None:
    """
    ``rotate: {}`` would never rotate, and is an error.
    """
    with pytest.raises(ValueError, match="max_bytes, max_secs, or both"):
        FileConfig(type="file", path="x", rotate={})
