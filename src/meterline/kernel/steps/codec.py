"""
States as bytes: a flat list of ints, 8 bytes each, or 16 when one of them needs it.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

_NARROW: Final = 8
_WIDE: Final = 16


def pack_ints(values: Sequence[int]) -> bytes:
    """
    Encode ints below 2^127 in size.
    """
    try:
        return bytes((_NARROW,)) + struct.pack(f"<{len(values)}q", *values)
    except struct.error:
        return bytes((_WIDE,)) + b"".join(value.to_bytes(_WIDE, "little", signed=True) for value in values)


def unpack_ints(data: bytes) -> Iterator[int]:
    """
    Decode what ``pack_ints`` made. Raises ValueError when the bytes are not that.
    """
    width, rest = data[0] if data else 0, data[1:]
    if width not in {_NARROW, _WIDE} or len(rest) % width:
        raise ValueError(f"decoding state of {len(data)} bytes: not one that this version wrote")
    if width == _NARROW:
        return iter(struct.unpack(f"<{len(rest) // _NARROW}q", rest))
    return (int.from_bytes(rest[at : at + _WIDE], "little", signed=True) for at in range(0, len(rest), _WIDE))
