"""
Reading usage that is told: items of a meterline.usage.v1.RecordUsageRequest, and what each says.
"""

import re
from collections import Counter
from struct import Struct
from typing import Final, NamedTuple

from meterline.kernel import canonical
from meterline.kernel.reasons import Reason
from meterline.protobuf.read import I64, LEN, fields
from meterline.protobuf.write import length_delimited
from meterline.quantity import AMOUNT_LIMIT, AMOUNT_PLACES

_TAG: Final = b"meterline.usage.1"
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

    ``received``: the time of an item that has a key and no time; 0: it has none.
    """

    payload: bytes
    content: Content | Reason
    k: int
    received: int

    @property
    def request(self) -> bytes:
        """
        Return a request of this item alone.
        """
        return length_delimited(1, self.payload) + _RECEIVED + _FIXED.pack(self.received)

    @property
    def names(self) -> str:
        """
        Return value, customer and dimension for people.
        """
        payload = self.payload
        found = {number: payload[a:b] for number, kind, a, b, _ in fields(payload) if kind == LEN}
        names = (found.get(number, b"")[:_DETAIL].decode(errors="replace") for number in (3, 1, 2))
        return "{!r} for {} / {}".format(*names)


def read_items(body: bytes) -> list[Item]:
    """
    Read a RecordUsageRequest. Raises UndecodableError.
    """
    payloads: list[bytes] = []
    received = 0
    for number, kind, a, b, _ in fields(body):
        if (number, kind) == (1, LEN):
            payloads.append(body[a:b])
        elif (number, kind) == (2, I64):
            received = _FIXED.unpack_from(body, a)[0]
    seen: Counter[bytes] = Counter()
    return [_item(payload, received, seen) for payload in payloads]


def _item(payload: bytes, received: int, seen: Counter[bytes]) -> Item:
    """
    Read a UsageItem. Raises UndecodableError.
    """
    parts: dict[int, bytes] = {}
    pairs: dict[bytes, bytes] = {}
    time = 0
    for number, kind, a, b, _ in fields(payload):
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
    return Item(payload, content, k, received)


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
