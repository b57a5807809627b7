"""
Room kept back for bookkeeping: a preallocated file that is given up when the disk is full.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 4 * 1_048_576
"""So much free disk is enough to record a send, once the reserve is given up; a quarter of a smaller reserve than 16 MiB."""


class Reserve:
    """
    ``<path>.reserve``, ``size`` bytes that belong to the ledger. Any thread may ask ``room``; the writer does the rest.
    """

    def __init__(self, ledger: Path, size: int) -> None:
        self._path = Path(f"{ledger}.reserve")
        self._size = size
        self._room = min(ROOM_BYTES, size // 4)
        self.held = False
        self.restore()

    def restore(self) -> bool:
        """
        Take the room if the disk has it and as much again to breathe; say whether the reserve is held.
        """
        if self.held:
            return True
        have = self._path.stat().st_blocks * 512 if self._path.exists() else 0
        if free_bytes(self._path.parent) + have < self._size + self._room:
            return False
        self.held = self._allocate()
        return self.held

    def _allocate(self) -> bool:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if self._size:
                os.posix_fallocate(fd, 0, self._size)
            os.ftruncate(fd, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            return False
        finally:
            os.close(fd)
        return True

    def give_up(self) -> bool:
        """
        Free the room; False when there was none to free.
        """
        if not self.held or not self._size:
            return False
        os.truncate(self._path, 0)
        self.held = False
        return True

    def room(self) -> bool:
        """
        Say whether what a send comes to could be recorded: the reserve is there, or the disk has room.
        """
        return self.held or free_bytes(self._path.parent) >= self._room


def free_bytes(directory: Path) -> int:
    """
    Return what this user may still write on the file system of a directory.
    """
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
