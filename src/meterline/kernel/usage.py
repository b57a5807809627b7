"""
Usage that is told as it is (``Format.USAGE``): no rules, one record an item. Meanings: docs/receivers/usage.md.

An item is told from its repeat by the customer and its idempotency key, or else by all that it says and how many equal ones
came before it in its request. The id store remembers a hash of what was said in the place of an amount, so that a key that
comes again with other content is a conflict.
"""

from functools import lru_cache, partial
from hashlib import blake2b
from struct import Struct
from typing import Final

from meterline.api.receiver import Format, ItemResult, Limits
from meterline.kernel import canonical, record_ids
from meterline.kernel.claims import Usage, hold, record
from meterline.kernel.core import Call, Claims, Core
from meterline.kernel.definitions import encode_charge
from meterline.kernel.framing import IdRow, LogRow
from meterline.kernel.items import ItemBatch
from meterline.kernel.plan import PythonPlan
from meterline.kernel.raw import add_raw
from meterline.kernel.reasons import Reason
from meterline.kernel.seam import Charge, Track
from meterline.kernel.steps.ids import Found
from meterline.kernel.usage_items import Content, Item, read_items
from meterline.kernel.validity import implausible
from meterline.records import MANUAL

_RAW_TAG: Final = b"meterline.usage.raw.1"
_COUNT: Final = Struct(">Q")


def decode(body: bytes, plan: PythonPlan) -> ItemBatch:
    """
    Decode a RecordUsageRequest. Raises UndecodableError.
    """
    return ItemBatch(body, Format.USAGE, plan, [partial(_take, item) for item in read_items(body)])


def _take(item: Item, core: Core, call: Call) -> None:
    taken = _ItemPass(core, call, item)
    call.items.append(taken.run())
    core.close_point(call, taken.claims)


class _ItemPass:
    """
    One item on its way to a record. One whose entry is open is in quarantine, and here a duplicate.
    """

    __slots__ = ("call", "claims", "core", "item")

    def __init__(self, core: Core, call: Call, item: Item) -> None:
        self.core = core
        self.call = call
        self.item = item
        self.claims = Claims()

    def run(self) -> ItemResult:
        """
        Say what becomes of the item, and do it.
        """
        content = self.item.content
        if isinstance(content, Reason):
            return self._refuse(content, 0)
        time = content.time or (self.item.received if content.key else 0)
        reason = self._unfit(content, time)
        if reason is not None:
            return self._refuse(reason, time)
        if self.core.open_raw and self._raw_key() in self.core.open_raw:  # what it was refused for holds no more
            self.claims.duplicate = 1
            return ItemResult("quarantined")
        return self._identified(content, time)

    def _unfit(self, content: Content, time: int) -> Reason | None:
        source = self.call.source
        reason = _over(content, source.limits)
        if reason is None:
            reason = implausible(self.call, time) if time else Reason.TIME_MISSING
        if reason is None and not source.may(content.customer):
            reason = Reason.FORBIDDEN_CUSTOMER
        return reason

    def _raw_key(self) -> bytes:
        return canonical.digest(_RAW_TAG, canonical.put_text(self.call.source.principal), self.item.payload)

    def _refuse(self, reason: Reason, time: int) -> ItemResult:
        """
        Open a raw entry, unless it is open.
        """
        key = self._raw_key()
        if key in self.core.open_raw:
            self.claims.duplicate = 1
        else:
            self.claims.quarantined = 1
            entry = (key, reason, MANUAL, b"", time, Format.USAGE.value, self.item.request, self.item.names)
            add_raw(self.core, self.call, entry)
        return ItemResult("quarantined", reason=reason.code)

    def _identified(self, content: Content, time: int) -> ItemResult:
        """
        Tell a valid item from its repeat.
        """
        core = self.core
        written = content.written()
        id_ = _record_id(content, written, self.item.k)
        said = int.from_bytes(blake2b(written, digest_size=8).digest(), "big") >> 1
        found = core.ids.add(id_, said, time, core.opened(self.call.received_at).received_at)
        if found is Found.BEYOND:
            return self._refuse(Reason.BEYOND_DEDUPE_HORIZON, time)
        if found is Found.DUPLICATE:
            self.claims.duplicate = 1
            same = core.ids.get(id_) == said
            return ItemResult("duplicate", id_.hex()) if same else _conflict(id_)
        core.opened().ids.append(IdRow(*core.ids.added))
        return self._new(content, time, id_, conflict=found is Found.CONFLICT)

    def _new(self, content: Content, time: int, id_: bytes, *, conflict: bool) -> ItemResult:
        core, call = self.core, self.call
        charge, encoded = _charge(content.customer, content.dimension, content.metadata)
        usage = Usage(content.amount, 0, time, b"")
        usage.instant = True
        if conflict:
            self.claims.quarantined = 1
            hold(core, call, Reason.CONFLICT, charge=charge, usage=usage, record_id=id_)
            return _conflict(id_)
        if not content.amount:
            self.claims.no_usage = 1
            return ItemResult("no_usage")
        frame = core.opened()
        record(core, self.claims, charge, usage)
        source = frame.source(call.source.receiver, call.source.principal)
        place = frame.charge(encoded)
        frame.logs.append(LogRow(id_, place, source, time, content.amount, remembered=False))
        return ItemResult("recorded", id_.hex())


@lru_cache(maxsize=8_192)
def _charge(customer: str, dimension: str, metadata: tuple[tuple[str, str], ...]) -> tuple[Charge, bytes]:
    """
    Return what stands in place of a rule's charge, and its encoding: the same names come again and again.
    """
    charge = Charge(MANUAL, customer, dimension, metadata, Track.EVENT, kind=MANUAL)
    return charge, encode_charge(charge)


def _over(content: Content, limits: Limits) -> Reason | None:
    """
    Say which limit of its sender an item exceeds.
    """
    if len(content.metadata) > limits.max_attributes:
        return Reason.TOO_MANY_ATTRIBUTES
    if any(len(name.encode()) > limits.max_key_bytes for name, _ in content.metadata):
        return Reason.KEY_TOO_LONG
    texts = (content.customer, content.dimension, content.key, *(text for _, text in content.metadata))
    return Reason.VALUE_TOO_LONG if any(len(text.encode()) > limits.max_value_bytes for text in texts) else None


def _record_id(content: Content, written: bytes, k: int) -> bytes:
    if content.key:
        identity = record_ids.keyed_identity(content.customer, content.key)
    else:
        identity = record_ids.content_identity(canonical.digest(written, _COUNT.pack(k)))
    return record_ids.record_id(MANUAL, identity)


def _conflict(id_: bytes) -> ItemResult:
    return ItemResult("quarantined", id_.hex(), Reason.CONFLICT.code)
