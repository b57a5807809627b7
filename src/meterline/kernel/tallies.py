"""
Increments of the totals and of the claims balance, summed by profile and hour while rows are written.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from meterline.kernel.groups import Profile
from meterline.kernel.seam import TotalRow

if TYPE_CHECKING:
    from meterline.kernel.frame_open import Counts

HOUR: Final = 3_600_000_000_000

TotalCell = tuple[str, str, int, int, int]
"""Customer, dimension, hour (ns), value (10^-30), count."""


class _Sums:
    """
    Fast rows of one hour and scale: sums and counts by profile; zero rows are counted apart.
    """

    __slots__ = ("counts", "sums", "zeros")

    def __init__(self) -> None:
        self.sums: defaultdict[Profile, int] = defaultdict(int)
        self.counts: Counter[Profile] = Counter()
        self.zeros: Counter[Profile] = Counter()


class Tallies:
    """
    What rows add to the totals: fast rows by profile, single records by customer and dimension.
    """

    def __init__(self) -> None:
        self._fast: dict[tuple[int, int], _Sums] = {}
        self._single: dict[tuple[str, str, int], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._fast or self._single)

    def block(self, unit: int, times: Sequence[int], profiles: Sequence[Profile], amounts: Sequence[int]) -> int:
        """
        Add fast rows; ``unit``: how many 10^-18 an amount of 1 is. Return how many of them are zero.

        A hot loop: benchmarks/kernel.py, "apply".
        """
        low, high = (min(times) - 1) // HOUR, (max(times) - 1) // HOUR
        if low != high:
            return self._by_hour(unit, times, profiles, amounts)
        tally = self._hour(low * HOUR, unit)
        sums = tally.sums
        for profile, amount in zip(profiles, amounts, strict=True):
            sums[profile] += amount
        tally.counts.update(profiles)
        if 0 not in amounts:
            return 0
        zeros = [profile for profile, amount in zip(profiles, amounts, strict=True) if not amount]
        tally.zeros.update(zeros)
        return len(zeros)

    def _by_hour(self, unit: int, times: Sequence[int], profiles: Sequence[Profile], amounts: Sequence[int]) -> int:
        for time, profile, amount in zip(times, profiles, amounts, strict=True):
            tally = self._hour((time - 1) // HOUR * HOUR, unit)
            tally.sums[profile] += amount
            tally.counts[profile] += 1
            if not amount:
                tally.zeros[profile] += 1
        return list(amounts).count(0)

    def _hour(self, hour: int, unit: int) -> _Sums:
        tally = self._fast.get((hour, unit))
        if tally is None:
            tally = self._fast[hour, unit] = _Sums()
        return tally

    def record(self, customer: str, dimension: str, hour: int, value: int) -> None:
        """
        Add one record; ``value`` in 10^-30.
        """
        cell = self._single.setdefault((customer, dimension, hour), [0, 0])
        cell[0] += value
        cell[1] += 1

    def add_to(self, balance: "Counts") -> None:
        """
        Add the fast rows to a balance: each is one point, and one claim of each of its charges.
        """
        for tally in self._fast.values():
            for profile, count in tally.counts.items():
                charges = len(profile.rules)
                zeros = tally.zeros[profile]
                balance.received += count
                balance.recorded += count - zeros
                balance.no_usage += zeros
                balance.claims += count * charges
                balance.claim_records += (count - zeros) * charges
                balance.claim_no_usage += zeros * charges

    def rows(self) -> Iterator[TotalCell]:
        """
        Yield (customer, dimension, hour, value, count); cells may come more than once.
        """
        for (hour, unit), tally in self._fast.items():
            for profile, amount in tally.sums.items():
                count = tally.counts[profile] - tally.zeros[profile]
                part = profile.part
                for customer, dimension, factor in part.labels if part and count else ():
                    yield customer, dimension, hour, amount * unit * factor, count
        for (customer, dimension, hour), (value, count) in self._single.items():
            yield customer, dimension, hour, value, count


class Totals:
    """
    What was added since the last flush, by customer, dimension and hour.
    """

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, int], list[int]] = {}

    def add(self, rows: Iterable[TotalCell], sign: int = 1) -> None:
        """
        Add the rows of a frame, or with -1 take them back.
        """
        cells = self._cells
        for customer, dimension, hour, value, count in rows:
            cell = cells.setdefault((customer, dimension, hour), [0, 0])
            cell[0] += sign * value
            cell[1] += sign * count
            if cell == [0, 0]:
                del cells[customer, dimension, hour]

    def rows(self) -> list[TotalCell]:
        """
        Return what was added, a row per cell.
        """
        return [(*label, value, count) for label, (value, count) in self._cells.items()]

    def take(self) -> list[TotalRow]:
        """
        Return and clear it.
        """
        taken = [TotalRow(*row) for row in self.rows()]
        self._cells.clear()
        return taken
