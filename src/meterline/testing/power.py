"""
Power loss under SQLite: a VFS whose writes are only safe once they are synced.

A ``Disk`` is a registered SQLite VFS over real files. What is written is seen at once by every connection, as from a
page cache, but reaches the real file only with a sync. ``fail_after`` lets the power fail at a chosen operation: from
then on every operation is an I/O error. When all connections are closed, ``lose`` leaves in the real files what a disk
could hold then: all that was synced, and of the rest nothing, or any sectors of it.

::

    disk = Disk(random.Random(seed), keep="sectors")
    disk.fail_after(137)
    ledger = Ledger.open(path, options, clock, vfs=disk.name)
    ...                     # until an error; remember what was answered before it
    ledger.close()
    disk.lose()
    reopened = Ledger.open(path, options, clock)
"""

import contextlib
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

import apsw

SECTOR: Final = 512
"""Writes are torn at multiples of this many bytes."""

Keep: TypeAlias = Literal["nothing", "sectors"]

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Truncate:
    size: int


_Op: TypeAlias = _Write | _Truncate


@dataclass(slots=True)
class _Image:
    """
    One file: what every connection sees, and what has happened to it since its last sync.
    """

    path: Path
    current: bytearray
    unsynced: list[_Op] = field(default_factory=list)

    def apply(self, op: _Op) -> None:
        _apply(self.current, op)
        self.unsynced.append(op)


def _apply(content: bytearray, op: _Op) -> None:
    if isinstance(op, _Truncate):
        del content[op.size :]
        return
    gap = op.offset - len(content)
    if gap > 0:
        content.extend(bytes(gap))
    content[op.offset : op.offset + len(op.data)] = op.data


class Disk(apsw.VFS):
    """
    One machine's disk until its power fails. ``keep``: what is left of writes without a sync.

    ``operations`` counts writes, syncs, truncations and deletions: the moments at which the power can fail.
    """

    def __init__(self, chance: random.Random, keep: Keep = "sectors") -> None:
        self.name = f"meterline-power-{next(_numbers)}"
        self.operations = 0
        self.failed = False
        self.lost_writes = 0
        self._chance = chance
        self._keep = keep
        self._fail_at: int | None = None
        self._images: dict[str, _Image] = {}
        super().__init__(self.name, base="")

    def fail_after(self, operations: int) -> None:
        """
        Let the power fail at the n-th operation from now on, 1 being the next.
        """
        self._fail_at = self.operations + operations

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """
        Open one of the ledger's files.
        """
        self.check()
        opened = _File(self, name, flags)
        assert name is not None
        opened.image = self._image(name if isinstance(name, str) else name.filename())
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's signature
        """
        Delete a file, durably: what the file systems in use do with the next sync of any file.
        """
        self.count()
        self._images.pop(filename, None)
        super().xDelete(filename, syncdir)

    def _image(self, name: str) -> _Image:
        if name not in self._images:
            path = Path(name)
            self._images[name] = _Image(path, bytearray(path.read_bytes()))
        return self._images[name]

    def check(self) -> None:
        """
        Fail when there is no power.
        """
        if self.failed:
            raise _io_error(apsw.SQLITE_IOERR)

    def count(self, code: int = apsw.SQLITE_IOERR) -> None:
        """
        Count an operation; the one at which the power fails has no effect and is an error of this code.
        """
        self.check()
        self.operations += 1
        if self._fail_at is not None and self.operations >= self._fail_at:
            self.failed = True
            raise _io_error(code)

    def write(self, image: _Image, op: _Op) -> None:
        """
        Take a write or a truncation into the cache. When the power fails at it, some of it may still reach the disk.
        """
        try:
            self.count(apsw.SQLITE_IOERR_WRITE)
        except apsw.IOError:
            if self.operations == self._fail_at and self._chance.random() < 0.5:
                image.unsynced.append(op)
            raise
        image.apply(op)

    def lose(self) -> None:
        """
        Leave in the files what is left after a power loss; every connection must be closed. The VFS is gone then.
        """
        self.failed = True
        for image in self._images.values():
            content = bytearray(image.path.read_bytes())
            for op in image.unsynced:
                self._survive(content, op)
            image.path.write_bytes(content)
            with contextlib.suppress(FileNotFoundError):
                Path(f"{image.path}-shm").unlink()
        self._images.clear()
        self.unregister()

    def _survive(self, content: bytearray, op: _Op) -> None:
        """
        Apply any part of what was not synced, sector by sector; an earlier write may stand where a later one is gone.
        """
        pieces = [op] if isinstance(op, _Truncate) else _sectors(op)
        for piece in pieces:
            if self._keep == "sectors" and self._chance.random() < 0.5:
                _apply(content, piece)
            else:
                self.lost_writes += 1


def _sectors(op: _Write) -> list[_Op]:
    ends = range(op.offset // SECTOR * SECTOR + SECTOR, op.offset + len(op.data), SECTOR)
    cuts = [0, *(end - op.offset for end in ends), len(op.data)]
    return [_Write(op.offset + low, op.data[low:high]) for low, high in itertools.pairwise(cuts)]


def _io_error(code: int) -> apsw.IOError:
    error = apsw.IOError("the power has failed")
    error.extendedresult = code  # type: ignore[attr-defined]
    return error


class _File(apsw.VFSFile):
    """
    An open file: locks and shared memory are the real ones, bytes go through the disk's image.
    """

    image: _Image

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        self._disk.check()
        return bytes(self.image.current[offset : offset + amount])

    def xFileSize(self) -> int:  # noqa: N802 - SQLite's name
        self._disk.check()
        return len(self.image.current)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self.image, _Write(offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.write(self.image, _Truncate(newsize))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - SQLite's signature
        self._disk.count(apsw.SQLITE_IOERR_FSYNC)
        for op in self.image.unsynced:
            if isinstance(op, _Truncate):
                super().xTruncate(op.size)
            else:
                super().xWrite(op.data, op.offset)
        self.image.unsynced.clear()
