"""
Ids of records and keys of deduplication: BLAKE2b-128 over length-prefixed parts. Byte format and vectors: docs/record-ids.md.

Ids are fixed for ever: backends deduplicate on them, and a ledger rebuilt from the same requests must give the same ones.
"""

from hashlib import blake2b
from struct import Struct
from typing import Any, Final

SIZE: Final = 16

_LENGTH: Final = Struct(">I")
_TIMES: Final = Struct(">QQ")
_TIME: Final = Struct(">Q")
_COUNT: Final = Struct(">I")
_DELTA: Final = b"d"
_INSTANT: Final = b"i"
_CUMULATIVE: Final = b"c"
_IDENTIFIED: Final = b"n"
_AMOUNT: Final = 16
_STREAM: Final = _LENGTH.pack(16)
_CUMULATIVE_HEAD: Final = _LENGTH.pack(25) + _CUMULATIVE
_DELTA_HEAD: Final = _LENGTH.pack(17) + _DELTA


def part(data: bytes) -> bytes:
    """
    Return bytes with their length before them: 4 bytes, big-endian.
    """
    return _LENGTH.pack(len(data)) + data


def text_part(text: str) -> bytes:
    """
    Return a text as UTF-8 with its length before it.
    """
    return part(text.encode())


def delta_window(start: int, time: int) -> bytes:
    """
    Return the window of a delta with a start before its time.
    """
    return _DELTA + _TIMES.pack(start, time)


def instant_window(time: int, amount: int, k: int, point: bytes = b"") -> bytes:
    """
    Return the window of a delta without a start, or with start = time. ``amount``: units of 10^-18, whatever the scale.

    ``k``: how many equal ones came before it in its request. ``point``: the identity of its own that it has instead of these.
    """
    if point:
        return _IDENTIFIED + point
    return _INSTANT + _TIME.pack(time) + amount.to_bytes(_AMOUNT, "big", signed=True) + _COUNT.pack(k)


def cumulative_window(epoch: int, last_time: int, time: int) -> bytes:
    """
    Return the window of an increment of a counter; the first of an epoch begins at the epoch's start.
    """
    return _CUMULATIVE + _TIME.pack(epoch) + _TIMES.pack(last_time, time)


def record_id(rule: str, identity: bytes, window: bytes = b"") -> bytes:
    """
    Return the 16-byte id of a record. ``identity``: of the stream or log; ``window``: none for logs.
    """
    return blake2b(text_part(rule) + part(identity) + part(window), digest_size=SIZE).digest()


def selected_identity(customer: str, typed: bytes) -> bytes:
    """
    Return the identity of a log that is told apart by an attribute: customer and canonical bytes of the typed value.
    """
    return b"s" + text_part(customer) + part(typed)


def content_identity(content: bytes) -> bytes:
    """
    Return the identity of a log that is told apart by all that it says, hashed in canonical form (otlp.md C5.7).
    """
    return b"c" + part(content)


def keyed_identity(customer: str, key: str) -> bytes:
    """
    Return the identity of a record that was told with an idempotency key: keys are each customer's own.
    """
    return b"k" + text_part(customer) + text_part(key)


def positional_identity(digest: bytes, index: int) -> bytes:
    """
    Return the identity of a log without one: the digest of its request and its place in it.
    """
    return b"p" + part(digest) + _COUNT.pack(index)


def instant_key(stream: bytes, track: int, time: int, amount: int, k: int) -> bytes:
    """
    Return the key by which a delta without a start, or with start = time, is deduplicated, whatever rules bill it.
    """
    window = instant_window(time, amount, k)
    return blake2b(part(stream) + bytes((track,)) + part(window), digest_size=SIZE).digest()


def point_key(stream: bytes, track: int, point: bytes) -> bytes:
    """
    Return the key by which a delta without a window is deduplicated that has an identity of its own.
    """
    window = instant_window(0, 0, 0, point)
    return blake2b(part(stream) + bytes((track,)) + part(window), digest_size=SIZE).digest()


def rule_hash(rule: str) -> Any:
    """
    Return a hash that has taken the rule's name: ``copy``, ``update`` with the rest, and ``hexdigest`` make a record's id.
    """
    return blake2b(text_part(rule), digest_size=SIZE)


def cumulative_prefix(stream: bytes, epoch: int) -> bytes:
    """
    Return what stands between the rule's name and (last_time, time) in the hash of a counter's record.
    """
    return _STREAM + stream + _CUMULATIVE_HEAD + _TIME.pack(epoch)


def delta_prefix(stream: bytes) -> bytes:
    """
    Return what stands between the rule's name and (start, time) in the hash of a delta's record.
    """
    return _STREAM + stream + _DELTA_HEAD


pack_times = _TIMES.pack
"""Pack (start, time) as windows have them."""
