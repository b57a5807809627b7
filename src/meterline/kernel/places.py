"""
The slots of a block of rows, and what is done to all of them at once.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

from meterline.kernel.state import CHUNK_BITS

_NEAR: Final = 4


class Places:
    """
    The slots of a block, which must all differ. Slots in a row, as streams that came together have, are read as slices.
    """

    __slots__ = ("_first", "_last", "ordered", "slots")

    def __init__(self, slots: list[int]) -> None:
        """
        Take the slots of a block.
        """
        count = len(slots)
        first = slots[0]
        self.slots = slots
        self._first, self._last = first, first + count
        self.ordered = slots[-1] - first == count - 1 and slots == list(range(first, first + count))

    @property
    def distinct(self) -> bool:
        """
        Say whether no slot stands twice.
        """
        return self.ordered or len(set(self.slots)) == len(self.slots)

    def read(self, column: Any) -> list[Any]:
        """
        Read a column at the slots.
        """
        if self.ordered:
            part = column[self._first : self._last]
            return part if type(part) is list else part.tolist()
        return list(map(column.__getitem__, self.slots))

    def write(self, column: Any, values: Sequence[Any]) -> None:
        """
        Write a column at the slots.
        """
        if not self.ordered:
            for slot, value in zip(self.slots, values, strict=True):
                column[slot] = value
        elif type(column) is list:
            column[self._first : self._last] = values
        else:
            column[self._first : self._last] = array(column.typecode, values)

    def chunks(self) -> Iterable[int]:
        """
        Return the chunks of the snapshot that the slots are in; a few more when they lie near each other.
        """
        low, high = (self._first, self._last - 1) if self.ordered else (min(self.slots), max(self.slots))
        if high - low <= _NEAR * len(self.slots):
            return range(low >> CHUNK_BITS, (high >> CHUNK_BITS) + 1)
        return {slot >> CHUNK_BITS for slot in self.slots}
