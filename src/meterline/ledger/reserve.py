"""
Room kept back for bookkeeping: a preallocated file that is given up when the disk is full.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 4 * 1_048_576
"""So much free disk is enough to record a send, once the reserve is given up; a quarter of a smaller reserve than 16 MiB."""

SMALL_SHARE: Final = 8


class Reserve:
    """
    ``<path>.reserve``: room that belongs to the ledger, ``size`` bytes or an eighth of a small file system.

    Any thread may ask ``room``; the writer does the rest.
    """

    def __init__(self, ledger: Path, size: int) -> None:
        self._path = reserve_path(ledger)
        whole = os.statvfs(self._path.parent)
        self._size = min(size, whole.f_blocks * whole.f_frsize // SMALL_SHARE)
        self._room = min(ROOM_BYTES, self._size // 4)
        self.held = False
        self.restore()

    def restore(self) -> bool:
        """
        Take the room if the disk has it, and some to breathe; say whether the reserve is held.
        """
        if not self.held:
            missing = self._size - allocated_bytes(self._path)
            self.held = missing <= 0 or (free_bytes(self._path.parent) >= missing + self._room and self._allocate())
        return self.held

    def _allocate(self) -> bool:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
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
        self.held = self.held and not self._size
        return give_up(self._path)

    def room(self) -> bool:
        """
        Say whether what a send comes to could be recorded: the reserve is there, or the disk has room.
        """
        return self.held or free_bytes(self._path.parent) >= self._room


def reserve_path(ledger: Path) -> Path:
    """
    Return where a ledger's reserve is.
    """
    return Path(f"{ledger}.reserve")


def give_up(path: Path) -> bool:
    """
    Free the room of a reserve; False when there was none to free.
    """
    if not allocated_bytes(path):
        return False
    os.truncate(path, 0)
    return True


def allocated_bytes(path: Path) -> int:
    """
    Return what a file really takes on its disk.
    """
    return path.stat().st_blocks * 512 if path.exists() else 0


def free_bytes(directory: Path) -> int:
    """
    Return what this user may still write on the file system of a directory.
    """
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
