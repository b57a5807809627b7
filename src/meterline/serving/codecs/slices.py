"""
Input in slices, and what is said of broken input.
"""

from collections.abc import Iterable, Iterator

from meterline.serving.codecs.sink import STEP_IN

TRAILING = "decompressing request: something follows its compressed data"
CUT_OFF = "decompressing request: it ends before its compressed data does"


def slices(pieces: Iterable[bytes | bytearray]) -> Iterator[memoryview]:
    """
    Yield the input without copying it, so much at a time that decoders may copy what they do not take.
    """
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), STEP_IN):
            yield view[start : start + STEP_IN]
