"""
Usage that is told as it is (meterline.usage.v1.RecordUsageRequest): no rules, one record an item. Meanings: docs/receivers/usage.md.

An item is told from its repeat by the customer and its idempotency key, or else by all that it says and how many equal ones
came before it in its request. The id store remembers a hash of what was said in the place of an amount, so that a key that
comes again with other content is a conflict.
"""

import re
from collections import Counter
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

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
from meterline.kernel.validity import implausible
from meterline.kernel.wire import I64, LEN, fields, put_len
from meterline.quantity import AMOUNT_LIMIT, AMOUNT_PLACES
from meterline.records import MANUAL

_TAG: Final = b"meterline.usage.1"
_RAW_TAG: Final = b"meterline.usage.raw.1"
_PLAIN: Final = re.compile(r"([+-]?[0-9]{1,60})(?:\.([0-9]{1,60}))?")
_FIXED: Final = Struct("<Q")
_TIME: Final = Struct(">Q")
_RECEIVED: Final = b"\x11"  # the tag of field 2, fixed64
_DETAIL: Final = 80


class Content(NamedTuple):
    """
    What an item says. ``amount``: in 10^-18. ``time``: 0 when it has none. ``metadata``: sorted.
    """

    customer: str
    dimension: str
    amount: int
    time: int
    metadata: tuple[tuple[str, str], ...]
    key: str

    def written(self) -> bytes:
        """
        Return all but the key, so that only equal contents are written equally.
        """
        pairs = {key.encode(): canonical.put_text(value) for key, value in self.metadata}
        names = canonical.put_text(self.customer) + canonical.put_text(self.dimension)
        amount = self.amount.to_bytes(16, "big", signed=True)
        return b"".join((_TAG, names, amount, _TIME.pack(self.time), canonical.canonical_map(pairs)))


class Item(NamedTuple):
    """
    One item: as it came, what it says or why that cannot be a record, and its place among equal ones.

    ``received``: the time of an item that has a key and no time; 0: it has none. ``names``: for people.
    """

    payload: bytes
    content: Content | Reason
    k: int
    received: int
    names: str

    def take(self, core: Core, call: Call) -> None:
        """
        Take it into the open frame, and count it.
        """
        taken = _ItemPass(core, call, self)
        call.items.append(taken.run())
        core.close_point(call, taken.claims)


def decode(body: bytes, plan: PythonPlan) -> ItemBatch:
    """
    Decode a RecordUsageRequest. Raises UndecodableError.
    """
    payloads: list[bytes] = []
    received = 0
    for number, kind, a, b, _ in fields(body, 0, len(body)):
        if (number, kind) == (1, LEN):
            payloads.append(body[a:b])
        elif (number, kind) == (2, I64):
            received = _FIXED.unpack_from(body, a)[0]
    seen: Counter[bytes] = Counter()
    items = [_item(payload, received, seen).take for payload in payloads]
    return ItemBatch(body, Format.USAGE, plan, items)


def _item(payload: bytes, received: int, seen: Counter[bytes]) -> Item:
    """
    Read a UsageItem. Raises UndecodableError.
    """
    parts: dict[int, bytes] = {}
    pairs: dict[bytes, bytes] = {}
    time = 0
    for number, kind, a, b, _ in fields(payload, 0, len(payload)):
        if (number, kind) == (4, I64):
            time = _FIXED.unpack_from(payload, a)[0]
        elif (number, kind) == (5, LEN):
            pair = {key: payload[c:d] for key, wire, c, d, _ in fields(payload, a, b) if wire == LEN}
            pairs[pair.get(1, b"")] = pair.get(2, b"")
        elif kind == LEN:
            parts[number] = payload[a:b]
    content = _content(parts, pairs, time)
    k = 0
    if isinstance(content, Content) and not content.key:
        said = content.written()
        k = seen[said]
        seen[said] += 1
    names = (parts.get(number, b"")[:_DETAIL].decode(errors="replace") for number in (3, 1, 2))
    return Item(payload, content, k, received, "{!r} for {} / {}".format(*names))


def _content(parts: dict[int, bytes], pairs: dict[bytes, bytes], time: int) -> Content | Reason:
    try:
        customer, dimension, value, key = (parts.get(number, b"").decode() for number in (1, 2, 3, 6))
        metadata = tuple(sorted((name.decode(), text.decode()) for name, text in pairs.items()))
    except UnicodeDecodeError:
        return Reason.BAD_UTF8
    if not customer:
        return Reason.NO_CUSTOMER
    if not dimension:
        return Reason.NO_DIMENSION
    amount = _amount(value)
    return amount if isinstance(amount, Reason) else Content(customer, dimension, amount, time, metadata, key)


def _amount(value: str) -> int | Reason:
    """
    Read a plain decimal exactly; nothing is rounded.
    """
    match = _PLAIN.fullmatch(value)
    if match is None:
        return Reason.NO_VALUE if not value else Reason.NOT_A_NUMBER
    if len((match[2] or "").rstrip("0")) > AMOUNT_PLACES:
        return Reason.TOO_MANY_PLACES
    whole, _, places = value.partition(".")
    amount = int(whole + places.rstrip("0").ljust(AMOUNT_PLACES, "0"))
    if amount < 0:
        return Reason.NEGATIVE_VALUE
    return amount if amount < AMOUNT_LIMIT else Reason.OUT_OF_RANGE


# Applying


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
            body = put_len(1, self.item.payload) + _RECEIVED + _FIXED.pack(self.item.received)
            entry = (key, reason, MANUAL, b"", time, Format.USAGE.value, body, self.item.names)
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
        charge = Charge(MANUAL, content.customer, content.dimension, content.metadata, Track.EVENT, kind=MANUAL)
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
        place = frame.charge(encode_charge(charge))
        frame.logs.append(LogRow(id_, place, source, time, content.amount, remembered=False))
        return ItemResult("recorded", id_.hex())


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
        identity = record_ids.content_identity(canonical.digest(written, _TIME.pack(k)))
    return record_ids.record_id(MANUAL, identity)


def _conflict(id_: bytes) -> ItemResult:
    return ItemResult("quarantined", id_.hex(), Reason.CONFLICT.code)
