"""
How far each file was read: found again after a restart, a rename, a rotation that compresses, and never taken for another's.
"""

import hashlib
import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

HEAD_BYTES: Final = 1000
"""A file is known by the beginning of its (decompressed) content, as the Collector's filelog receiver knows it."""


def fingerprint(data: bytes) -> str:
    """
    Return what some bytes of a file are known by.
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Place:
    """
    A file as it is found now. ``head``: its first decompressed bytes, at most ``HEAD_BYTES``. ``mtime``: in nanoseconds.
    """

    path: str
    device: int
    inode: int
    head: bytes
    size: int = 0
    mtime: int = 0


@dataclass(frozen=True, slots=True)
class Cursor:
    """
    Where reading goes on. ``offset``: decompressed bytes that are stored; ``head_bytes`` of the file were there when the
    cursor was last written, and ``head`` is their fingerprint. ``id`` never changes, whatever happens to the file.
    ``last_*``: where the last line that was stored begins, its length and fingerprint: two files may begin alike, with the
    same long description of their origin. ``until``: where a batch ends that was begun and may be stored in part.
    ``size`` and ``mtime``: of the file itself when all of it was stored, 0 before.
    """

    id: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head: str
    offset: int = 0
    size: int = 0
    mtime: int = 0
    last_start: int = 0
    last_bytes: int = 0
    last: str = ""
    until: int = 0

    @classmethod
    def begin(cls, place: Place, taken: Container[str] = ()) -> "Cursor":
        """
        Return the cursor of a file that was never seen. ``taken``: ids that others have, such as what stood there before.
        """
        head = fingerprint(place.head)
        identity = fingerprint(f"{place.device}:{place.inode}:{len(place.head)}:{head}".encode())
        while identity in taken:
            identity = fingerprint(f"after:{identity}".encode())
        return cls(identity, place.path, place.device, place.inode, len(place.head), head)

    @classmethod
    def decode(cls, identity: str, data: bytes) -> "Cursor":
        """
        Read what ``encode`` wrote.
        """
        fields: Mapping[str, Any] = json.loads(data)
        return cls(identity, **fields)

    def encode(self) -> bytes:
        """
        Return the cursor as the ledger keeps it.
        """
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "id"}
        return json.dumps(fields).encode()

    def matches(self, place: Place) -> bool:
        """
        Say whether the file begins as this cursor's did.
        """
        return len(place.head) >= self.head_bytes and fingerprint(place.head[: self.head_bytes]) == self.head

    def whole(self, place: Place) -> bool:
        """
        Say whether all of this very file was stored, and it has not changed since.
        """
        now = (place.device, place.inode, place.size, place.mtime)
        return self.size > 0 and (self.device, self.inode, self.size, self.mtime) == now

    def at(self, place: Place) -> "Cursor":
        """
        Return the cursor with the file's present place and beginning, as far as it is stored: a writer that starts anew may
        cut off what it had not finished.
        """
        head = place.head[: max(self.offset, self.until)] or place.head
        return replace(
            self,
            path=place.path,
            device=place.device,
            inode=place.inode,
            head_bytes=len(head),
            head=fingerprint(head),
        )

    def after(self, offset: int, start: int, line: bytes) -> "Cursor":
        """
        Return the cursor behind a batch that ends at an offset, with the last line of it that says something.
        """
        moved = replace(self, offset=offset, until=0)
        return replace(moved, last_start=start, last_bytes=len(line), last=fingerprint(line)) if line else moved

    def rewound(self) -> "Cursor":
        """
        Return the cursor at the beginning of its file.
        """
        return replace(self, offset=0, size=0, mtime=0, last_start=0, last_bytes=0, last="", until=0)

    def finished(self, place: Place) -> "Cursor":
        """
        Return the cursor of a file of which everything is stored.
        """
        return replace(self, size=place.size, mtime=place.mtime)
