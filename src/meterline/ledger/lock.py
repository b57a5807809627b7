"""
One owner: an exclusive OS lock on ``<path>.lock``, held for life. A kill releases it.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from meterline.errors import ConfigurationError, LedgerLockedError
from meterline.times import to_the_second


class OwnerLock:
    """
    The lock, held from construction to ``close``. The file stays: removing it would let two owners lock two files.

    :raises LedgerLockedError: names the holder.
    :raises ConfigurationError: the directory or the file cannot be used.
    """

    def __init__(self, ledger: Path, now_ns: int) -> None:
        self._fd = -1
        path = Path(f"{ledger}.lock")
        with explained(ledger):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(fd)
            os.close(fd)
            raise LedgerLockedError(
                f"opening ledger '{ledger}': {holder} holds it ('{path}'); stop that one first"
            ) from error
        self._fd = fd
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "started_at": to_the_second(now_ns)}).encode() + b"\n", 0)

    def close(self) -> None:
        """
        Give the lock back. Legal twice.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _holder(fd: int) -> str:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
        return f"process {found['pid']}, started {found['started_at']},"
    except (ValueError, KeyError, TypeError):
        return "another process"


@contextlib.contextmanager
def explained(ledger: Path) -> Iterator[None]:
    """
    Turn an OSError of opening the ledger's files into a ConfigurationError that says what to do.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"opening ledger '{ledger}': the directory '{ledger.parent}' does not exist; create it or change ledger.path"
        ) from error
    except IsADirectoryError as error:
        raise ConfigurationError(f"opening ledger '{ledger}': it is a directory; set ledger.path to a file") from error
    except PermissionError as error:
        raise ConfigurationError(
            f"opening ledger '{ledger}': permission denied; let user {os.geteuid()} write the file and in '{ledger.parent}'"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"opening ledger '{ledger}': {error.strerror}; change ledger.path") from error
