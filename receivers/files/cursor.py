"""
How far each file was read: found again after a restart, a rename, a rotation that compresses, and never taken for another's.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

HEAD_BYTES: Final = 1000
"""A file is known by the beginning of its (decompressed) content, as the Collector's filelog receiver knows it."""


def head_hash(head: bytes) -> str:
    """
    Return the fingerprint of a file's beginning.
    """
    return hashlib.blake2b(head[:HEAD_BYTES], digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Place:
    """
    A file as it is found now. ``head``: its first decompressed bytes, at most ``HEAD_BYTES``.
    """

    path: str
    device: int
    inode: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Cursor:
    """
    Where reading goes on. ``offset``: decompressed bytes that are stored; ``head_bytes`` of the file were there when the
    cursor was last written, and ``head`` is their fingerprint. ``id`` never changes, whatever happens to the file.
    ``size``: of the file itself when all of it was stored, 0 before.
    """

    id: str
    path: str
    device: int
    inode: int
    head_bytes: int
    head: str
    offset: int = 0
    size: int = 0

    @classmethod
    def begin(cls, place: Place) -> "Cursor":
        """
        Return the cursor of a file that was never seen.
        """
        fingerprint = head_hash(place.head)
        origin = f"{place.device}:{place.inode}:{len(place.head)}:{fingerprint}"
        identity = hashlib.blake2b(origin.encode(), digest_size=16).hexdigest()
        return cls(identity, place.path, place.device, place.inode, len(place.head), fingerprint)

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
        return len(place.head) >= self.head_bytes and head_hash(place.head[: self.head_bytes]) == self.head

    def at(self, place: Place, offset: int, size: int = 0) -> "Cursor":
        """
        Return the cursor with the file's present place and fingerprint, moved to an offset.
        """
        return replace(
            self,
            offset=offset,
            size=size,
            path=place.path,
            device=place.device,
            inode=place.inode,
            head_bytes=len(place.head),
            head=head_hash(place.head),
        )


def find(cursors: Iterable[Cursor], place: Place) -> Cursor | None:
    """
    Return the cursor of a file: the same inode that begins the same, or else one of the same long beginning that has moved.

    A short file that moved to another inode is taken for a new one: its beginning says too little.
    """
    matching = [cursor for cursor in cursors if cursor.head_bytes and cursor.matches(place)]
    for cursor in matching:
        if (cursor.device, cursor.inode) == (place.device, place.inode):
            return cursor
    moved = [cursor for cursor in matching if cursor.head_bytes == HEAD_BYTES]
    return moved[0] if moved else None
