"""
The files that are known: which of their cursors is a file's that is found now.
"""

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Final

from meterline.receivers.files.cursor import HEAD_BYTES, Cursor, Place, fingerprint
from meterline.receivers.files.source import Source

_COMPARED: Final = 4096

Homes = Mapping[tuple[int, int], str]
"""The paths of all files that there are, by device and inode."""


class Verdict(Enum):
    """
    What a file is that has no cursor of its own.
    """

    NEW = auto()
    COPY = auto()  # of a file that is read and is still there: it says nothing new, unless it comes to differ
    MAYBE_COPY = auto()  # too short to tell: if the other is cut or goes away, it was one


class Known:
    """
    Cursors by what they may be found by. ``away``: those whose file holds something else by now, or nothing.
    """

    def __init__(self, cursors: Iterator[Cursor]) -> None:
        self._cursors: dict[str, Cursor] = {}
        self._inodes: dict[tuple[int, int], dict[str, None]] = {}
        self._heads: dict[int, dict[str, dict[str, None]]] = {}
        self._away: set[str] = set()
        for cursor in cursors:
            self.put(cursor)

    def __contains__(self, identity: object) -> bool:
        return identity in self._cursors

    def __iter__(self) -> Iterator[str]:
        return iter(self._cursors)

    def get(self, identity: str) -> Cursor | None:
        """
        Return the cursor of an id.
        """
        return self._cursors.get(identity)

    def put(self, cursor: Cursor) -> None:
        """
        Take a cursor, or what became of one.
        """
        self.drop(cursor.id)
        self._cursors[cursor.id] = cursor
        self._inodes.setdefault((cursor.device, cursor.inode), {})[cursor.id] = None
        self._heads.setdefault(cursor.head_bytes, {}).setdefault(cursor.head, {})[cursor.id] = None

    def drop(self, identity: str) -> None:
        """
        Forget a cursor.
        """
        cursor = self._cursors.pop(identity, None)
        self._away.discard(identity)
        if cursor is None:
            return
        inode, heads = (cursor.device, cursor.inode), self._heads[cursor.head_bytes]
        del self._inodes[inode][identity], heads[cursor.head][identity]
        if not self._inodes[inode]:
            del self._inodes[inode]
        if not heads[cursor.head]:
            del heads[cursor.head]
        if not heads:
            del self._heads[cursor.head_bytes]

    def find(self, source: Source, homes: Homes) -> Cursor | Verdict:
        """
        Return the cursor of a file, at its present place, or else what it is.

        :raises OSError: it cannot be read; one of ``source.BROKEN`` for compressed ones.
        """
        place = source.place
        here = self._inodes.get((place.device, place.inode), {})
        own = [self._cursors[identity] for identity in here]
        self._away.update(here)
        for cursor in own:
            if cursor.matches(place) and (cursor.whole(place) or source.holds(cursor)):
                self._away.discard(cursor.id)
                return cursor.at(place)
        return self._moved(source, homes)

    def empty(self, place: Place) -> None:
        """
        Take it that a file is empty: what it held may have moved.
        """
        self._away.update(self._inodes.get((place.device, place.inode), {}))

    def _moved(self, source: Source, homes: Homes) -> Cursor | Verdict:
        """
        Look for a file that begins the same and was elsewhere, or was here and has changed.
        """
        found = Verdict.NEW
        for cursor in self._alike(source.place):
            home = homes.get((cursor.device, cursor.inode), "")
            there = bool(home) and cursor.id not in self._away
            long = cursor.head_bytes == HEAD_BYTES
            if source.holds(cursor):
                if long or not there:
                    return cursor.at(source.place)
                found = Verdict.MAYBE_COPY
            elif there and long and _is_beginning(source, cursor, home):
                return Verdict.COPY
            elif not there and long and _tells(source.place):
                return cursor.at(source.place).rewound()
        return found

    def _alike(self, place: Place) -> Iterator[Cursor]:
        """
        Yield the cursors of files that begin as this one does.
        """
        for size in [size for size in self._heads if 0 < size <= len(place.head)]:
            for identity in self._heads[size].get(fingerprint(place.head[:size]), ()):
                yield self._cursors[identity]


def _tells(place: Place) -> bool:
    """
    Say whether a beginning has a whole line, with its time: the same one is the same file, even if what follows was changed.

    A beginning within a first line says too little: exporters begin each line with the same long list of attributes.
    """
    return len(place.head) == HEAD_BYTES and b"\n" in place.head


def _is_beginning(source: Source, cursor: Cursor, home: str) -> bool:
    """
    Say whether a plain file holds nothing but the beginning of one that is read: a copy under way.
    """
    if source.compressed or source.place.size >= cursor.offset:
        return False
    start = max(0, source.place.size - _COMPARED)
    size = source.place.size - start
    with Source(Path(home)) as other:
        return source.part(start, size) == other.part(start, size)
