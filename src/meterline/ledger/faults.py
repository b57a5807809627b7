"""
What a SQLite error means for the engine: full, fatal, corrupt, or try again.
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

import apsw

from meterline.errors import CorruptLedgerError, FatalError, LedgerFullError, MeterlineError, RetryableError

_SYNC: Final = {apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC}
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}
_STORAGE: Final = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.NoMemError,
    apsw.ReadOnlyError,
)


def is_storage(error: BaseException) -> bool:
    """
    Say whether the disk failed, rather than the statement.
    """
    return isinstance(error, _STORAGE)


def translate(error: apsw.Error, connection: apsw.Connection, doing: str) -> MeterlineError | apsw.Error:
    """
    Return the error to raise. A defect of a statement stays what it is.

    FatalError: an fsync failed, so what is on disk is unknown, and a second fsync could lie about it.
    """
    if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) in _SYNC:
        return FatalError(f"{doing}: fsync failed ({error}); what is on disk is unknown, so the process must stop")
    if isinstance(error, apsw.FullError) or (is_storage(error) and connection.system_errno in _NO_ROOM):
        return LedgerFullError(f"{doing}: no room on the disk; nothing was stored; free some")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return CorruptLedgerError(f"{doing}: the SQLite file is damaged ({error}); restore the ledger from a backup")
    if is_storage(error) or isinstance(error, apsw.BusyError):
        return RetryableError(f"{doing}: {error}; nothing was stored")
    return error


@contextlib.contextmanager
def raised_as_meant(connection: apsw.Connection, doing: str) -> Iterator[None]:
    """
    Raise SQLite's errors as what they mean for the engine.
    """
    try:
        yield
    except apsw.Error as error:
        told = translate(error, connection, doing)
        if told is error:
            raise
        raise told from error
    except UnicodeDecodeError as error:
        raise CorruptLedgerError(
            f"{doing}: stored text is damaged ({error}); restore the ledger from a backup"
        ) from error
