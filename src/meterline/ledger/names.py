"""
Finds the definitions of meters, with the blocks used last kept in memory.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import apsw

from meterline.errors import CorruptLedgerError
from meterline.ledger import codec

CACHE_BYTES: Final = 32 * 1_048_576


class _Block(NamedTuple):
    first: int
    end: int
    body: bytes


class StoredNames:
    """
    Implements ``kernel.seam.Names`` over one connection: one thread at a time.
    """

    def __init__(self, connection: apsw.Connection, cache_bytes: int = CACHE_BYTES) -> None:
        self._connection = connection
        self._limit = cache_bytes
        self._bytes = 0
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._firsts: list[int] = []

    def definitions(self, meter: int) -> bytes:
        """
        Return the block that declares this meter. Raises KeyError when there is none, CorruptLedgerError when it is damaged.
        """
        place = bisect_right(self._firsts, meter) - 1
        if place >= 0:
            block = self._blocks[self._firsts[place]]
            if meter < block.end:
                self._blocks.move_to_end(block.first)
                return block.body
        return self._load(meter).body

    def _load(self, meter: int) -> _Block:
        row = self._connection.execute(
            "SELECT first_meter, meters, crc, codec, body FROM definition WHERE first_meter <= ?"
            " ORDER BY first_meter DESC LIMIT 1",
            (meter,),
        ).fetchone()
        if row is None or meter >= row[0] + row[1]:
            raise KeyError(meter)
        block = _Block(row[0], row[0] + row[1], unpack_definitions(row))
        self._keep(block)
        return block

    def _keep(self, block: _Block) -> None:
        self._blocks[block.first] = block
        insort(self._firsts, block.first)
        self._bytes += len(block.body)
        while self._bytes > self._limit and len(self._blocks) > 1:
            first, old = self._blocks.popitem(last=False)
            self._bytes -= len(old.body)
            del self._firsts[bisect_right(self._firsts, first) - 1]


def unpack_definitions(row: Sequence[Any]) -> bytes:
    """
    Return the block of a row (first_meter, meters, crc, codec, body). Raises CorruptLedgerError.
    """
    first, meters, *stored = row
    try:
        return codec.unpack(codec.Stored(*stored), f"meters {first} {meters}")
    except codec.CorruptBodyError as error:
        raise CorruptLedgerError(
            f"reading the ledger: the definitions of meters {first} to {first + meters - 1} fail their CRC;"
            " restore the ledger from a backup"
        ) from error
