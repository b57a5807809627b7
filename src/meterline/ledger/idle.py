"""
Streams that left memory, looked up on whichever thread learns.
"""

import threading
from collections.abc import Iterable

import apsw

from meterline.errors import CorruptLedgerError
from meterline.ledger import codec


class IdleTable:
    """
    Reads the idle table over a read-only connection; any thread.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def rows(self, keys: Iterable[bytes]) -> list[bytes]:
        """
        Return the rows of those of the keys that are there, as of the last commit. Raises CorruptLedgerError.
        """
        query = "SELECT crc, row FROM idle WHERE key = ?"
        with self._lock:
            found = [(key, row) for key in keys for row in self._connection.execute(query, (key,))]
        for key, (crc, row) in found:
            if codec.checksum(row, key.hex()) != crc:
                raise CorruptLedgerError(
                    f"loading idle stream {key.hex()}: its row fails its CRC; restore the ledger from a backup"
                )
        return [row for _, (_, row) in found]
