"""
What a verdict makes of streams, shared by all streams that it holds for: groups of charges, and profiles with their activation.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from meterline.kernel.definitions import encode_charge
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, Shape, Track, Verdict

FAST_FACTOR: Final = 10**13
"""The largest factor with which no int64 can go out of range: 2^63 x 10^18 x 10^13 < 10^50."""

Since: TypeAlias = tuple[int, ...]
Rules: TypeAlias = tuple[tuple[str, int], ...]
"""Rule names with the instants from which they count for a stream."""


class Part:
    """
    The charges of a verdict that read one track, and what they come to: one meter has exactly these.

    ``initial``: its profile in a new stream.
    ``plain``: every row is a record of every charge, so that a block of rows needs no look at them.
    """

    __slots__ = ("charges", "gen", "indexes", "initial", "labels", "plain", "profiles", "track")

    def __init__(self, gen: int, track: Track, indexes: tuple[int, ...], charges: tuple[Charge, ...]) -> None:
        """
        ``indexes``: where the charges stand in the verdict.
        """
        self.gen = gen
        self.track = track
        self.indexes = indexes
        self.charges = charges
        self.plain = all(map(_plain, charges))
        self.labels = tuple((charge.customer or "", charge.dimension or "", charge.factor) for charge in charges)
        self.profiles: dict[Since, Profile] = {}
        self.initial = self.profile(tuple(charge.since for charge in charges))

    def profile(self, since: Since) -> "Profile":
        """
        Return the one profile of this part with these activation instants.
        """
        found = self.profiles.get(since)
        if found is None:
            rules = tuple((charge.rule, at) for charge, at in zip(self.charges, since, strict=True))
            found = self.profiles.setdefault(since, Profile(self.gen, rules, self, since))
        return found


def _plain(charge: Charge) -> bool:
    asks = charge.gated or charge.rivals or charge.failure or charge.ignore or charge.raw
    named = charge.customer is not None and charge.dimension is not None
    return not asks and named and 0 < charge.factor <= FAST_FACTOR


class Profile:
    """
    A part as one stream has it: with the instant from which each charge counts. ``part`` None: of an older generation.
    """

    __slots__ = ("gen", "labels", "part", "rules", "since", "since_max")

    def __init__(self, gen: int, rules: Rules, part: Part | None = None, since: Since = ()) -> None:
        """
        ``rules`` is what a later generation needs to know of this one.
        """
        self.gen = gen
        self.rules = rules
        self.part = part
        self.since = since
        self.since_max = max(since, default=0)
        self.labels = part.labels if part else ()


class Group:
    """
    A verdict, prepared. ``special``: no stream is kept: unmatched, or each point is refused with ``reject``.

    ``claims``: how many claims a point has.
    """

    __slots__ = (
        "_encoded",
        "charges",
        "claims",
        "customers",
        "gated",
        "gen",
        "parts",
        "raws",
        "reject",
        "rule",
        "special",
    )

    def __init__(self, verdict: Verdict, claims: int | None = None) -> None:
        """
        ``claims``: when it is not the number of charges.
        """
        charges = verdict.charges
        self._encoded: dict[int, bytes] = {}
        self.gen = verdict.gen
        self.charges = charges
        self.reject = verdict.reject
        if charges and self.reject is None and all(charge.raw for charge in charges):
            self.reject = charges[0].raw
        self.special = self.reject is not None or not charges
        self.claims = claims if claims is not None else len(charges) or (verdict.reject is not None)
        self.rule = charges[0].rule if charges else ""
        self.gated = any(charge.gated for charge in charges)
        self.raws = tuple(index for index, charge in enumerate(charges) if charge.raw)
        self.customers = tuple({charge.customer for charge in charges if charge.customer is not None})
        self.parts = tuple(_parts(self.gen, charges))

    def encoded(self, index: int) -> bytes:
        """
        Return a charge as frames have it.
        """
        found = self._encoded.get(index)
        if found is None:
            found = self._encoded[index] = encode_charge(self.charges[index])
        return found

    @property
    def explicit(self) -> bool:
        """
        Say whether all rules write what they read, so that a sum whose type nobody knows counts for them.
        """
        return all(charge.explicit for charge in self.charges)

    @property
    def unmatched(self) -> bool:
        """
        Say whether no rule matches.
        """
        return not self.claims and self.reject is None


class ShapeEntry:
    """
    A distinct projection; ``group`` None until the rules have answered.
    """

    __slots__ = ("group", "id", "shape")

    def __init__(self, id_: int, shape: Shape) -> None:
        """
        ``id_`` is what the rules' answer will name.
        """
        self.id = id_
        self.shape = shape
        self.group: Group | None = None


def _parts(gen: int, charges: Sequence[Charge]) -> list[Part]:
    live = [(index, charge) for index, charge in enumerate(charges) if charge.raw is None]
    parts = []
    for track in Track:
        mine = [(index, charge) for index, charge in live if charge.track is track]
        if mine:
            parts.append(Part(gen, track, tuple(i for i, _ in mine), tuple(c for _, c in mine)))
    return parts


def refusal(gen: int, reason: Reason, claims: int, rule: str = "") -> Group:
    """
    Make the group of points that are quarantined for a reason which the rules or the kernel found in what is constant.
    """
    group = Group(Verdict(gen, (), reason), claims)
    group.rule = rule
    return group


UNMATCHED: Final = Group(Verdict(0, ()))
