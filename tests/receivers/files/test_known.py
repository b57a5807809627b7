"""
A file is found again wherever it went, and no file is taken for another.
"""

import gzip
from pathlib import Path

import pytest

from meterline.receivers.files.cursor import Cursor
from meterline.receivers.files.known import Known, Verdict
from meterline.receivers.files.source import Source

LINES = [b"%d\n" % number for number in range(1000)]
LONG = b"".join(LINES)
SAME = b'{"resource": "' + b"x" * 2000 + b'", "n": '
"""A beginning that all lines of an exporter share."""


class Folder:
    """Files, what is known of them, and which of them are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = Known(iter(()))

    def write(self, name: str, content: bytes) -> Path:
        path = self.path / name
        path.write_bytes(content)
        return path

    def read(self, name: str, last: bytes) -> Cursor:
        """Take it that a file was read to its end."""
        found = self.find(name)
        with Source(self.path / name) as source:
            size = source.place.size
            cursor = found if isinstance(found, Cursor) else Cursor.begin(source.place, self.known)
            cursor = cursor.after(size, size - len(last) - 1, last).at(source.place)
        self.known.put(cursor)
        return cursor

    def find(self, name: str) -> Cursor | Verdict:
        homes = {(each.stat().st_dev, each.stat().st_ino): str(each) for each in self.path.iterdir()}
        with Source(self.path / name) as source:
            if not source.place.head:
                self.known.empty(source.place)
                return Verdict.NEW
            return self.known.find(source, homes)

    def offset(self, name: str) -> int | Verdict:
        """Where reading goes on, 0 in a new file."""
        found = self.find(name)
        return found.offset if isinstance(found, Cursor) else found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path)


def test_a_file_that_grows_or_is_renamed_is_the_same(folder: Folder) -> None:
    """The same inode with the same beginning goes on, short or long, under any name."""
    first = folder.read(folder.write("a", b"one\n").name, b"one")
    folder.write("a", b"one\n" + LONG).rename(folder.path / "a.1")
    found = folder.find("a.1")
    assert isinstance(found, Cursor)
    assert (found.id, found.offset, Path(found.path).name) == (first.id, 4, "a.1")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_long_file_that_moves_is_the_same(folder: Folder, pack: type[bytes]) -> None:
    """A copy, plain or compressed, goes on where the file was, whether that is still there or not."""
    folder.read(folder.write("a", LONG).name, LINES[-1][:-1])
    folder.write("b", pack(LONG + b"more\n"))
    assert folder.offset("b") == len(LONG)
    (folder.path / "a").unlink()
    assert folder.offset("b") == len(LONG)


def test_what_begins_alike_is_not_the_same(folder: Folder) -> None:
    """Two files whose first lines share a long beginning are two, by the lines that were stored; also on one inode."""
    folder.read(folder.write("a", SAME + b"1}\n" + SAME + b"2}\n").name, SAME + b"2}")
    folder.write("b", SAME + b"3}\n" + SAME + b"4}\n" + SAME + b"5}\n")
    assert folder.offset("b") is Verdict.NEW
    folder.write("a", SAME + b"6}\n")
    assert folder.offset("a") is Verdict.NEW
    folder.write("a", SAME + b"6}\n" + SAME + b"7}\n" + SAME + b"8}\n")
    assert folder.offset("a") is Verdict.NEW


def test_a_second_life_has_another_id(folder: Folder) -> None:
    """A file that begins as the one before it on its inode gets an id of its own, the same one whenever it is made."""
    first = folder.read(folder.write("a", SAME + b"1}\n" + SAME + b"2}\n").name, SAME + b"2}")
    with Source(folder.write("a", SAME + b"3}\n")) as source:
        ids = {Cursor.begin(source.place, folder.known).id for _ in range(3)}
    assert len(ids) == 1
    assert first.id not in ids


def test_a_copy_under_way_says_nothing_new(folder: Folder) -> None:
    """A file that holds the beginning of one that is read is left alone, until it differs or the other is gone."""
    folder.read(folder.write("a", LONG).name, LINES[-1][:-1])
    folder.write("b", LONG[:2000])
    assert folder.offset("b") is Verdict.COPY
    folder.write("b", LONG[:2000] + b"else\n")
    assert folder.offset("b") is Verdict.NEW
    (folder.path / "a").unlink()
    assert folder.offset("b") == 0  # the same file, shorter than it was: places that are known are recognised


def test_a_short_file_that_moves_is_the_same(folder: Folder) -> None:
    """A short file that holds what another held is its copy once that one is cut or gone, whichever is looked at first."""
    folder.read(folder.write("a", b"one\n").name, b"one")
    folder.write("b", b"one\ntwo\n")
    assert folder.offset("b") is Verdict.MAYBE_COPY
    assert folder.offset("a") == 4
    assert folder.offset("b") is Verdict.MAYBE_COPY
    folder.write("a", b"")
    assert folder.offset("b") is Verdict.MAYBE_COPY
    folder.find("a")
    assert folder.offset("b") == 4
    folder.write("a", b"other\n")
    assert folder.offset("a") is Verdict.NEW
    assert folder.offset("b") == 4
    (folder.path / "a").unlink()
    assert folder.offset("b") == 4


def test_a_short_file_with_another_line_is_another(folder: Folder) -> None:
    """A short file is known by all of it that was stored."""
    folder.read(folder.write("a", b"one\ntwo\n").name, b"two")
    (folder.path / "a").unlink()
    folder.write("keeps-the-inode", b"")
    folder.write("b", b"one\nnot\n")
    assert folder.offset("b") is Verdict.NEW


def test_what_was_not_finished_does_not_tell(folder: Folder) -> None:
    """A writer that cuts off what it had not finished, and goes on, goes on in the same file."""
    folder.write("a", b"one\nunfin")
    with Source(folder.path / "a") as source:
        folder.known.put(Cursor.begin(source.place).after(4, 0, b"one").at(source.place))
    folder.write("a", b"one\ntwo\n")
    assert folder.offset("a") == 4


def test_the_index_forgets_what_is_dropped(folder: Folder) -> None:
    """A cursor that is dropped is found no more, and leaves nothing."""
    cursor = folder.read(folder.write("a", LONG).name, LINES[-1][:-1])
    folder.known.drop(cursor.id)
    folder.known.drop(cursor.id)
    assert folder.offset("a") is Verdict.NEW
    assert (list(folder.known), folder.known._inodes, folder.known._heads) == ([], {}, {})


def test_a_cursor_survives_the_ledger(folder: Folder) -> None:
    """A cursor that is encoded and decoded is the same; its id stays when it moves; older ones are read, too."""
    first = folder.read(folder.write("a", b"one\n").name, b"one")
    with Source(folder.path / "a") as source:
        moved = first.at(source.place).finished(source.place)
    assert Cursor.decode(moved.id, moved.encode()) == moved
    assert moved.whole(source.place)
    assert not first.whole(source.place)
    old = b'{"path": "a", "device": 1, "inode": 2, "head_bytes": 4, "head": "x", "offset": 4, "size": 0}'
    assert Cursor.decode("id", old).offset == 4
