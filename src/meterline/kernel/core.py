"""
What the parts of a meter share: the columns, the stores, the options, and the open frame.
"""

from collections.abc import Callable
from typing import Any, Final

from meterline.api.receiver import ItemResult, Principal
from meterline.globs import any_glob
from meterline.kernel.frame_open import OpenFrame
from meterline.kernel.groups import Group
from meterline.kernel.limits import NewStreams, small
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Applied, MeterOptions
from meterline.kernel.state import CHUNK_BITS, CUMULATIVE, DELTA, NEVER, Columns, termed
from meterline.kernel.steps.cumulative import NO_TERM, writer
from meterline.kernel.steps.ids import IdStore
from meterline.kernel.table import Table
from meterline.kernel.tallies import Tallies

_MAX_RIGHTS: Final = 100_000
PREFIX: Final = 8
"""The part of a raw entry's key that its stream alone decides."""


class Source:
    """
    A receiver and a principal; remembers for which customers it may write.
    """

    __slots__ = ("_allows", "_rights", "any", "limits", "principal", "receiver", "small")

    def __init__(self, receiver: str, principal: Principal) -> None:
        self.receiver = receiver
        self.principal = principal.name
        self.limits = principal.limits
        self.small = small(principal.limits)
        self.any = principal.customers is None
        self._allows: Callable[[str], bool] = any_glob(principal.customers or ())
        self._rights: dict[str, bool] = {}

    def may(self, customer: str) -> bool:
        """
        Say whether it may write for a customer.
        """
        if self.any:
            return True
        right = self._rights.get(customer)
        if right is None:
            if len(self._rights) >= _MAX_RIGHTS:
                self._rights.clear()
            right = self._rights[customer] = self._allows(customer)
        return right

    def may_all(self, group: Group) -> bool:
        """
        Say whether it may write for every customer of a verdict.
        """
        return self.any or all(map(self.may, group.customers))


class Call:
    """
    One ``apply`` under way: who sent, when, and what became of the points so far.
    """

    __slots__ = (
        "duplicate",
        "items",
        "max_time",
        "min_time",
        "no_usage",
        "points",
        "quarantined",
        "reasons",
        "received_at",
        "recorded",
        "repeats",
        "source",
        "unmatched",
    )

    def __init__(self, source: Source, received_at: int, options: MeterOptions) -> None:
        """
        Begin with nothing done.
        """
        self.source = source
        self.received_at = received_at
        self.max_time = received_at + options.max_future_ns
        self.min_time = received_at - options.max_past_ns
        self.points = 0
        self.recorded = 0
        self.quarantined = 0
        self.duplicate = 0
        self.no_usage = 0
        self.unmatched = 0
        self.reasons: dict[Reason, int] = {}
        self.repeats: dict[tuple[int, int, int], int] = {}
        self.items: list[ItemResult] = []

    def repeat(self, place: tuple[int, int, int]) -> int:
        """
        Return how many equal delta instants came before this one: by slot, time and amount.
        """
        before = self.repeats.get(place, 0)
        self.repeats[place] = before + 1
        return before

    def applied(self, answered: int = 0) -> Applied:
        """
        Return the outcome as the seam has it.
        """
        return Applied(
            self.points,
            self.recorded,
            self.quarantined,
            self.duplicate,
            self.no_usage,
            self.unmatched,
            self.reasons,
            answered,
            tuple(self.items),
        )


class Claims:
    """
    What became of the claims of one point.
    """

    __slots__ = ("duplicate", "no_usage", "quarantined", "records")

    def __init__(self) -> None:
        self.records = 0
        self.quarantined = 0
        self.duplicate = 0
        self.no_usage = 0


class Core:
    """
    The state of a meter, and the few operations on it that everything needs.

    ``several``: some stream has more than one charge, so that claims must be counted.
    ``open_raw``: keys of open raw entries; ``open_streams``: how many of them begin with a stream's prefix.
    """

    def __init__(self, options: MeterOptions) -> None:
        self.options = options
        self.columns = Columns()
        self.table = Table(self.columns, options.max_cached_shapes)
        self.ids = IdStore(options.max_dedupe_ids, options.dedupe_horizon_ns)
        self.digests = IdStore(options.max_digests, options.digest_horizon_ns)
        self.open_raw: set[bytes] = set()
        self.open_streams: dict[bytes, int] = {}
        self.tallies = Tallies()
        self.new_streams = NewStreams()
        self.several = False
        self.frame: OpenFrame | None = None
        self.next_seq = 1
        self.next_meter = 1
        self.plan = (0, "")
        self.dirty: set[int] = set()

    def opened(self, received_at: int = 0) -> OpenFrame:
        """
        Return the open frame; open one when there is none.
        """
        if self.frame is None:
            marks = (self.ids.mark(), self.digests.mark())
            cutoffs = (self.ids.cutoff, self.digests.cutoff)
            self.frame = OpenFrame(
                self.next_seq, self.plan, received_at, marks=marks, cutoffs=cutoffs, meter=self.next_meter
            )
        if not self.frame.received_at:
            self.frame.received_at = received_at
        return self.frame

    def close_point(self, call: Call, claims: Claims) -> None:
        """
        Count a matched point by the first outcome that holds for one of its claims.
        """
        balance = self.opened().balance
        balance.received += 1
        balance.claims += claims.records + claims.quarantined + claims.duplicate + claims.no_usage
        balance.claim_records += claims.records
        balance.claim_quarantined += claims.quarantined
        balance.claim_duplicate += claims.duplicate
        balance.claim_no_usage += claims.no_usage
        if claims.records:
            balance.recorded += 1
            call.recorded += 1
        elif claims.quarantined:
            balance.quarantined += 1
            call.quarantined += 1
        elif claims.duplicate:
            balance.duplicate += 1
            call.duplicate += 1
        else:
            balance.no_usage += 1
            call.no_usage += 1

    def unmatched(self, call: Call, count: int) -> None:
        """
        Count points that no rule matches.
        """
        balance = self.opened().balance
        balance.received += count
        balance.unmatched += count
        call.unmatched += count

    def save(self, slot: int) -> None:
        """
        Keep the state of a slot for the undo, before it is changed.
        """
        c = self.columns
        epochs = c.epochs.get(slot)
        self.opened().ops.append(
            (
                restore_slot,
                slot,
                c.kind[slot],
                c.scaled[slot],
                c.start[slot],
                c.origin[slot],
                c.last[slot],
                c.meter[slot],
                c.value[slot],
                c.profile[slot],
                c.base.get(slot),
                slot in c.slow,
                None if epochs is None else dict(epochs),
                c.seen.get(slot),
            )
        )

    def refresh(self, slot: int) -> None:
        """
        Let the next point of a slot take the fast path, if all that decides about it allows that.
        """
        c = self.columns
        c.fast[slot] = self._fast_start(slot)
        self.dirty.add(slot >> CHUNK_BITS)

    def _fast_start(self, slot: int) -> int:
        c = self.columns
        profile, group = c.profile[slot], c.group[slot]
        if slot in c.slow or not c.meter[slot] or profile is None or profile.part is None:
            return NEVER
        alone = len(group.parts) == 1 and not group.raws and profile.gen == group.gen
        if not alone or not profile.part.plain or c.last[slot] < profile.since_max:
            return NEVER
        if self.open_streams and c.identity(slot)[:PREFIX] in self.open_streams:
            return NEVER
        if c.kind[slot] == DELTA and not c.value[slot]:
            return NEVER
        if c.kind[slot] == CUMULATIVE:
            wanted = c.start[slot]
            base = c.base.get(slot)
            term = NO_TERM if base is None else writer(base, wanted)
            if term != NO_TERM:
                return termed(wanted, term, scaled=bool(c.scaled[slot]))
        else:
            wanted = c.last[slot]
        return -2 - wanted if c.scaled[slot] else wanted


def restore_slot(core: Core, slot: int, *saved: Any) -> None:
    """
    Undo: put the saved state of a slot back.
    """
    c = core.columns
    kind, scaled, start, origin, last, meter, value, profile, base, slow, epochs, seen = saved
    c.kind[slot], c.scaled[slot] = kind, scaled
    c.start[slot], c.origin[slot], c.last[slot], c.meter[slot] = start, origin, last, meter
    c.value[slot], c.profile[slot] = value, profile
    sides: tuple[tuple[dict[int, Any], Any], ...] = ((c.base, base), (c.epochs, epochs), (c.seen, seen))
    for side, kept in sides:
        if kept is None:
            side.pop(slot, None)
        else:
            side[slot] = kept
    (c.slow.add if slow else c.slow.discard)(slot)
    core.refresh(slot)
