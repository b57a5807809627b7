"""
Increments of the totals since the last flush: fast rows summed by profile, the others by customer and dimension.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from meterline.kernel.groups import Profile
from meterline.kernel.seam import TotalRow

HOUR: Final = 3_600_000_000_000

TotalCell = tuple[str, str, int, int, int]
"""Customer, dimension, hour (ns), value (10^-30), count."""


class _Sums:
    """
    Fast rows of one hour and scale: sums by profile, and counts of those that are not zero.
    """

    __slots__ = ("counts", "sums")

    def __init__(self) -> None:
        self.sums: defaultdict[Profile, int] = defaultdict(int)
        self.counts: Counter[Profile] = Counter()


class Tallies:
    """
    The increments. Every method has its undo: ``take_back``, ``record`` with -1, ``put_back``.

    Names of customers are looked at once a flush, not once a row.
    """

    def __init__(self) -> None:
        self._fast: dict[tuple[int, int], _Sums] = {}
        self._single: dict[tuple[str, str, int], list[int]] = {}

    def block(self, unit: int, times: Sequence[int], profiles: Sequence[Profile], amounts: Sequence[int]) -> None:
        """
        Add fast rows; ``unit``: how many 10^-18 an amount of 1 is.

        A hot loop: benchmarks/kernel.py, "apply".
        """
        hour = (times[0] - 1) // HOUR
        if times.count(times[0]) != len(times) and any((time - 1) // HOUR != hour for time in (min(times), max(times))):
            self._by_hour(unit, times, profiles, amounts, 1)
            return
        tally = self._hour(hour * HOUR, unit)
        sums = tally.sums
        for profile, amount in zip(profiles, amounts, strict=True):
            sums[profile] += amount
        if 0 in amounts:
            profiles = [profile for profile, amount in zip(profiles, amounts, strict=True) if amount]
        tally.counts.update(profiles)

    def take_back(self, unit: int, times: Sequence[int], profiles: Sequence[Profile], amounts: Sequence[int]) -> None:
        """
        Undo ``block``.
        """
        self._by_hour(unit, times, profiles, amounts, -1)

    def _by_hour(
        self, unit: int, times: Sequence[int], profiles: Sequence[Profile], amounts: Sequence[int], sign: int
    ) -> None:
        for time, profile, amount in zip(times, profiles, amounts, strict=True):
            tally = self._hour((time - 1) // HOUR * HOUR, unit)
            tally.sums[profile] += sign * amount
            if amount:
                tally.counts[profile] += sign

    def _hour(self, hour: int, unit: int) -> _Sums:
        tally = self._fast.get((hour, unit))
        if tally is None:
            tally = self._fast[hour, unit] = _Sums()
        return tally

    def record(self, customer: str, dimension: str, hour: int, value: int, count: int = 1) -> None:
        """
        Add one record; ``value`` in 10^-30.
        """
        cell = self._single.setdefault((customer, dimension, hour), [0, 0])
        cell[0] += value
        cell[1] += count

    def take(self) -> list[TotalRow]:
        """
        Return and clear what was added.
        """
        cells: dict[tuple[str, str, int], list[int]] = {}
        for customer, dimension, hour, value, count in self._cells():
            cell = cells.setdefault((customer, dimension, hour), [0, 0])
            cell[0] += value
            cell[1] += count
        self._fast.clear()
        self._single.clear()
        return [TotalRow(*key, value, count) for key, (value, count) in cells.items() if value or count]

    def put_back(self, rows: Iterable[TotalRow]) -> None:
        """
        Undo ``take``: a flush that was not committed.
        """
        for row in rows:
            self.record(row.customer, row.dimension, row.hour, row.value, row.count)

    def _cells(self) -> Iterator[TotalCell]:
        for (hour, unit), tally in self._fast.items():
            for profile, amount in tally.sums.items():
                count = tally.counts[profile]
                if amount or count:
                    for customer, dimension, factor in profile.labels:
                        yield customer, dimension, hour, amount * unit * factor, count
        for (customer, dimension, hour), (value, count) in self._single.items():
            yield customer, dimension, hour, value, count
