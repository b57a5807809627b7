"""
Makes the ledger's file, and the one connection that writes it.
"""

import contextlib
import os
import secrets
from pathlib import Path

import apsw

from meterline.errors import ConfigurationError, LedgerFullError
from meterline.ledger import exact, faults, reserve, schema, store
from meterline.ledger.lock import explained

BUSY_MS = 5_000
CACHE_KIB = 16_384
WAL_KEEP_BYTES = 64 * 1_048_576
"""The log is reused in place, which makes its fsync cheap; what grew beyond this is cut off."""


def open_writer(path: Path, vfs: str | None, now_ns: int) -> apsw.Connection:
    """
    Open or create a ledger; the caller holds the owner's lock.

    On a disk without any room it is opened at the cost of the reserve: deliveries go on, frames wait until it is back.

    :raises ConfigurationError: with the remedy.
    """
    try:
        return _open(path, vfs, now_ns)
    except LedgerFullError:
        if not reserve.give_up(reserve.reserve_path(path)):
            raise
    return _open(path, vfs, now_ns)


def _open(path: Path, vfs: str | None, now_ns: int) -> apsw.Connection:
    with explained(path):
        _create_file(path)
    try:
        connection = apsw.Connection(str(path.absolute()), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    except apsw.CantOpenError as error:
        raise ConfigurationError(f"opening ledger '{path}': {error}; let user {os.geteuid()} write it") from error
    try:
        with faults.raised_as_meant(connection, f"opening ledger '{path}'"):
            _prepare(connection, path, now_ns)
    except BaseException:
        with contextlib.suppress(apsw.Error):  # the first error says more
            connection.close()
        raise
    sync_directory(path.parent)
    return connection


def _create_file(path: Path) -> None:
    """
    Made here, so that nobody else may ever read it; SQLite gives its log the same mode.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o600))


def sync_directory(directory: Path) -> None:
    """
    Make the names in a directory durable.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _prepare(connection: apsw.Connection, path: Path, now_ns: int) -> None:
    connection.set_busy_timeout(BUSY_MS)
    new = schema.is_empty(connection, path)
    if new:
        connection.pragma("page_size", schema.PAGE_BYTES)
        connection.pragma("auto_vacuum", "INCREMENTAL")
    else:
        schema.check_ours(connection, path)
    _configure(connection, path)
    if new:
        _create(connection, now_ns)
    schema.migrate(connection)
    schema.check_tables(connection, path)


def _configure(connection: apsw.Connection, path: Path) -> None:
    mode = connection.pragma("journal_mode", "WAL")
    if mode != "wal":
        raise ConfigurationError(f"opening ledger '{path}': its file system cannot hold a WAL; put it on a local disk")
    connection.pragma("synchronous", "FULL")
    connection.pragma("fullfsync", 1)  # macOS: through the drive's cache, too
    connection.pragma("checkpoint_fullfsync", 1)
    connection.pragma("mmap_size", 0)
    connection.pragma("temp_store", "MEMORY")
    connection.pragma("cache_size", -CACHE_KIB)
    connection.pragma("journal_size_limit", WAL_KEEP_BYTES)
    exact.register(connection)


def _create(connection: apsw.Connection, now_ns: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.pragma("application_id", schema.APPLICATION_ID)
        schema.create(connection)
        store.set_meta(connection, "ledger.id", secrets.token_hex(16))
        store.set_meta(connection, "created_at", now_ns)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
