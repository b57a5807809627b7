"""
Snapshots in parts: chunks of slots that changed, segments of ids, and one chunk of the rest.
"""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from meterline.kernel.core import Core
from meterline.kernel.persist import DIGESTS, IDS, META, encode_slots, has_state
from meterline.kernel.seam import Chunk, SnapshotPart
from meterline.kernel.state import CHUNK
from meterline.kernel.steps.ids import Cutoff, IdStore

_META: Final = Struct("<QQ")


class Snapshots:
    """
    Which chunks are stored, and which of them are not right any more.

    A round visits all that was dirty when it began; its last part names all that is stored and still right.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._seq = 0
        self._stored: set[int] = set()
        self._todo: list[int] = []
        self._in_round = False

    def committed(self, seq: int) -> None:
        """
        Note the last frame that is stored.
        """
        self._seq = max(self._seq, seq)

    def restored(self, seq: int) -> None:
        """
        Begin after a restore: everything is encoded anew in the first round, since nothing says what is stored.
        """
        self._seq = seq
        self._core.dirty.update(range((len(self._core.columns) + CHUNK - 1) // CHUNK))

    def part(self, max_bytes: int) -> SnapshotPart:
        """
        Encode the next chunks, about ``max_bytes``.
        """
        if not self._in_round:
            self._todo = sorted(self._core.dirty, reverse=True)
            self._in_round = True
        chunks: list[Chunk] = []
        dropped: list[int] = []
        size = 0
        while self._todo and size < max_bytes:
            number = self._todo.pop()
            self._core.dirty.discard(number)
            chunk = self._slots(number)
            if chunk is None:
                dropped.append(number)
            else:
                chunks.append(chunk)
                size += len(chunk.body)
        if self._todo:
            return self._part(chunks, dropped, complete=False)
        for base, store in ((IDS, self._core.ids), (DIGESTS, self._core.digests)):
            chunks += self._segments(base, store)
            dropped += [base + segment for segment in store.dropped()]
        chunks.append(Chunk(META, self._seq, self._meta()))
        self._in_round = False
        return self._part(chunks, dropped, complete=True)

    def _part(self, chunks: list[Chunk], dropped: list[int], *, complete: bool) -> SnapshotPart:
        fresh = {chunk.id for chunk in chunks}
        gone = [number for number in dropped if number in self._stored and number not in fresh]
        self._stored.update(fresh)
        self._stored.difference_update(gone)
        unchanged = sorted(self._stored - fresh - self._dirty()) if complete else []
        return SnapshotPart(self._seq, chunks, unchanged, gone, complete)

    def _dirty(self) -> set[int]:
        core = self._core
        ids = {IDS + segment for segment in core.ids.dirty()}
        return core.dirty | ids | {DIGESTS + segment for segment in core.digests.dirty()}

    def _slots(self, number: int) -> Chunk | None:
        core = self._core
        last = min((number + 1) * CHUNK, len(core.columns))
        slots = [slot for slot in range(number * CHUNK, last) if has_state(core, slot)]
        return Chunk(number, self._seq, encode_slots(core, slots)) if slots else None

    def _segments(self, base: int, store: IdStore) -> Iterable[Chunk]:
        return [Chunk(base + segment, self._seq, store.encode_segment(segment)) for segment in store.dirty()]

    def _meta(self) -> bytes:
        ids, digests = self._core.ids.cutoff, self._core.digests.cutoff
        keys = ids.key.ljust(16, b"\0") + digests.key.ljust(16, b"\0")
        return _META.pack(ids.event, digests.event) + keys + self._core.new_streams.encode()


def read_meta(body: bytes) -> tuple[Cutoff, Cutoff, bytes]:
    """
    Read the cut-offs of both id stores, and what ``NewStreams.restore`` takes.
    """
    ids, digests = _META.unpack_from(body)
    keys = (body[_META.size : _META.size + 16], body[_META.size + 16 : _META.size + 32])
    return Cutoff(ids, keys[0] if ids else b""), Cutoff(digests, keys[1] if digests else b""), body[_META.size + 32 :]
