"""
The frame that is being written, and what must be undone if it is never committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

from meterline.kernel.framing import (
    Block,
    Cutoff,
    DigestRow,
    FrameContent,
    IdRow,
    LogRow,
    MeterDef,
    QuarantineRow,
    SlowRow,
    encode_charge,
    encode_definitions,
    encode_frame,
)
from meterline.kernel.groups import Profile
from meterline.kernel.seam import BALANCE, Charge, Event, Frame, QuarantineEntry, TotalRow

EVENTS_KEPT: Final = 32
"""Events of one kind and rule that a frame lists one by one; the others are counted."""
ROW_BYTES: Final = 128
"""About what a quarantine row without a payload holds in a frame."""


@dataclass(slots=True)
class Counts:
    """
    The balance of a frame, by the names of ``seam.BALANCE``.
    """

    received: int = 0
    recorded: int = 0
    quarantined: int = 0
    duplicate: int = 0
    no_usage: int = 0
    unmatched: int = 0
    claims: int = 0
    claim_records: int = 0
    claim_quarantined: int = 0
    claim_duplicate: int = 0
    claim_no_usage: int = 0

    def values(self) -> tuple[int, ...]:
        """
        Return them in the order of ``BALANCE``.
        """
        return _balance(self)


_balance = attrgetter(*BALANCE)


class OpenFrame:
    """
    What was applied since the last seal.

    ``ops``: undo of state changes in order; a fast block of rows is its own undo. ``marks``: where the id stores stood.
    """

    def __init__(
        self,
        seq: int,
        plan: tuple[int, str],
        received_at: int,
        *,
        marks: tuple[int, int],
        cutoffs: tuple[Cutoff, Cutoff],
        meter: int,
    ) -> None:
        """
        ``plan``: generation and rules hash. ``meter``: the first id that this frame may declare.
        """
        self.seq = seq
        self.gen, self.rules_hash = plan
        self.received_at = received_at
        self.marks = marks
        self.cutoffs = cutoffs
        self.first_meter = meter
        self.ops: list[tuple[Any, ...]] = []
        self.blocks: list[Block] = []
        self.current: dict[int, Block] = {}
        self.narrow = 0
        self.wide = 0
        self.slow: list[SlowRow] = []
        self.logs: list[LogRow] = []
        self.ids: list[IdRow] = []
        self.digests: list[DigestRow] = []
        self.quarantine: list[QuarantineRow] = []
        self.entries: list[QuarantineEntry] = []
        self.opened: list[bytes] = []
        self.loaded: list[bytes] = []
        self.evicted: list[bytes] = []
        self.balance = Counts()
        self.flushed: list[TotalRow] = []
        self._streams: dict[int, int] = {}
        self._sources: dict[tuple[str, str], int] = {}
        self._charges: dict[bytes, int] = {}
        self._defs: list[MeterDef] = []
        self._def_charges: dict[bytes, int] = {}
        self._def_places: dict[Profile, tuple[int, ...]] = {}
        self._events: dict[tuple[str, str], list[Event]] = {}

    @property
    def empty(self) -> bool:
        """
        Say whether nothing happened that a ledger must hold.
        """
        return not (self.has_rows or self.loaded or self.evicted or self.flushed)

    @property
    def has_rows(self) -> bool:
        """
        Say whether points were applied, so that the frame belongs to their generation.
        """
        return bool(self.balance.received or self.slow)

    @property
    def next_meter(self) -> int:
        """
        Return the first meter id that is not declared yet.
        """
        return self.first_meter + len(self._defs)

    def source(self, receiver: str, principal: str) -> int:
        """
        Return the index of a source in this frame.
        """
        return self._sources.setdefault((receiver, principal), len(self._sources))

    def count_streams(self, source: int, streams: int) -> None:
        """
        Note that a source opened new streams.
        """
        self._streams[source] = self._streams.get(source, 0) + streams

    def hold(self, row: QuarantineRow, receiver: str, principal: str) -> None:
        """
        Add a quarantined point or claim, with its entry for the ledger's index.
        """
        self.quarantine.append(row)
        self.entries.append(
            QuarantineEntry(
                kind=row.kind,
                reason=row.reason,
                rule=row.rule,
                stream=row.stream,
                receiver=receiver,
                principal=principal,
                received_at=row.received_at,
                time=row.time,
                quantity=row.quantity,
                record_id=row.record_id.hex(),
                key=row.key,
                size=len(row.payload) or len(row.detail) + ROW_BYTES,
                detail=row.detail,
            )
        )

    def charge(self, encoded: bytes) -> int:
        """
        Return the index of an encoded charge that a log or quarantine row names.
        """
        return self._charges.setdefault(encoded, len(self._charges))

    def block(self, scale: Literal[0, 18], source: int) -> Block:
        """
        Return the block that fast rows of this scale and source go to.
        """
        block = self.current.get(scale)
        if block is None or block.source != source:
            block = self.current[scale] = Block(scale, source, [], [], [], [])
            self.blocks.append(block)
        return block

    def define(self, stream: bytes, kind: int, epoch: int, profile: Profile) -> int:
        """
        Declare a meter with a profile of this generation; return its id.
        """
        part = profile.part
        assert part is not None  # noqa: S101 (older profiles are adopted before they are declared)
        places = self._def_places.get(profile)
        if places is None:
            encoded = [encode_charge(charge) for charge in part.charges]
            places = tuple(self._def_charges.setdefault(each, len(self._def_charges)) for each in encoded)
            self._def_places[profile] = places
        self._defs.append(MeterDef(stream, part.track.value, kind, epoch, places, profile.since))  # type: ignore[arg-type]
        return self.next_meter - 1

    def event(self, kind: str, charge: Charge | None, stream: bytes, detail: dict[str, Any]) -> None:
        """
        Note something that a person may want to know.
        """
        rule = charge.rule if charge else ""
        self._events.setdefault((kind, rule), []).append(Event(kind, rule, stream.hex(), detail))

    def events(self) -> Sequence[Event]:
        """
        Return the events; many of one kind and rule end in one that says how many more there were.
        """
        listed: list[Event] = []
        for (kind, rule), events in self._events.items():
            listed += events[:EVENTS_KEPT]
            if len(events) > EVENTS_KEPT:
                listed.append(Event(kind, rule, "", {"more": len(events) - EVENTS_KEPT}))
        return listed

    def seal(self, cutoffs: tuple[Cutoff, Cutoff]) -> Frame:
        """
        Encode the frame.
        """
        balance = self.balance
        content = FrameContent(
            seq=self.seq,
            gen=self.gen,
            rules_hash=self.rules_hash,
            received_at=self.received_at,
            sources=list(self._sources),
            blocks=[block for block in self.blocks if block.meters],
            slow=self.slow,
            charges=list(self._charges),
            logs=self.logs,
            ids=self.ids,
            ids_cutoff=cutoffs[0] if cutoffs[0] != self.cutoffs[0] else None,
            digests=self.digests,
            digests_cutoff=cutoffs[1] if cutoffs[1] != self.cutoffs[1] else None,
            quarantine=self.quarantine,
            loaded=self.loaded,
            evicted=self.evicted,
            balance=balance.values(),
            streams=list(self._streams.items()),
        )
        return Frame(
            self.seq,
            self.gen,
            encode_frame(content),
            self._definitions(),
            self.first_meter,
            len(self._defs),
            balance.received,
            balance.claim_records,
            dict(zip(BALANCE, balance.values(), strict=True)),
            self.entries,
            self.events(),
        )

    def _definitions(self) -> bytes:
        if not self._defs:
            return b""
        return encode_definitions(self.first_meter, self._defs, list(self._def_charges), self.gen, self.rules_hash)
