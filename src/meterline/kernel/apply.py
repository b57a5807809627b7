"""
One batch into the open frame: repeats of whole requests first, then block by block.
"""

from collections.abc import Mapping, Sequence
from operator import eq

from meterline.kernel import canonical
from meterline.kernel.batch import Block, DistributionBlock, LogBlock, NumberBlock, PythonBatch
from meterline.kernel.core import Call, Core, Source
from meterline.kernel.fast import apply_block
from meterline.kernel.framing import DigestRow
from meterline.kernel.items import ItemBatch
from meterline.kernel.logs import Request, apply_record, needs_digest
from meterline.kernel.points import apply_point
from meterline.kernel.seam import Applied, Temporality
from meterline.kernel.state import NO_SLOT
from meterline.kernel.steps.ids import Found

_UNDECIDED = (0, 0)


def apply_batch(core: Core, batch: PythonBatch, received_at: int, source: Source) -> Applied | None:
    """
    Step all points; None when the batch must be resolved again, or the open frame is of an older generation.
    """
    plan = (batch.plan.gen, batch.plan.rules_hash)
    if batch.plan.gen != core.table.gen or not _bound(core, batch):
        return None
    if core.plan != plan:
        if core.frame is not None and core.frame.has_rows:
            return None
        _renew(core, plan)
    call = Call(source, received_at, core.options)
    call.points = batch.points
    if isinstance(batch, ItemBatch):
        batch.take(core, call)
    elif batch.points:
        return _apply_blocks(core, call, batch)
    return call.applied()


def _apply_blocks(core: Core, call: Call, batch: PythonBatch) -> Applied:
    frame = core.opened(call.received_at)
    digest = _digest(batch, call.source) if any(map(_indistinct, batch.blocks)) else b""
    if digest:
        known = core.digests.get(digest)
        if known is not None:
            return _repeat(core, call, batch.points, known)
    if batch.skipped:
        core.unmatched(call, batch.skipped)
    for block in batch.blocks:
        _apply_block(core, call, batch, block, digest)
    if digest and core.digests.add(digest, call.quarantined, call.received_at, frame.received_at) is Found.NEW:
        frame.digests.append(DigestRow(digest, call.quarantined.to_bytes(8, "little")))
    return call.applied()


def _bound(core: Core, batch: PythonBatch) -> bool:
    """
    Say whether everything that the batch needs is known and resident, as of now.
    """
    bound, unloaded = (core.table, core.table.version), core.table.unloaded
    for block in batch.blocks:
        if block.entry.skip:
            continue
        if isinstance(block, LogBlock):
            if block.claims is None:
                return False
        elif (
            block.slots is None
            or block.bound != bound
            or (unloaded and not unloaded.isdisjoint(core.table.all_slots(block)))
        ):
            return False
    return True


def _renew(core: Core, plan: tuple[int, str]) -> None:
    """
    Begin a generation: every stream takes the slow path once, which declares its meter anew.
    """
    if plan[0] != core.plan[0]:
        fast = core.columns.fast
        for slot in range(len(fast)):
            fast[slot] = -1
    core.plan = plan
    if core.frame is not None:
        core.frame.gen, core.frame.rules_hash = plan


def _indistinct(block: Block) -> bool:
    """
    Say whether a block has points that cannot be told from a repeat by themselves.
    """
    if block.entry.skip:
        return False
    if isinstance(block, LogBlock):
        return needs_digest(block)
    if block.entry.temporality is not Temporality.DELTA or not any(slot != NO_SLOT for slot in block.slots or ()):
        return False
    if isinstance(block, NumberBlock):
        if block.ids:
            return _unnamed(block.ids, block.starts, block.times)
        return 0 in block.starts or any(map(eq, block.starts, block.times))
    return _unnamed(block.ids, [point.start for point in block.points], [point.time for point in block.points])


def _unnamed(ids: Mapping[int, bytes], starts: Sequence[int], times: Sequence[int]) -> bool:
    """
    Say whether some point covers no time and has no identity of its own.
    """
    pairs = zip(starts, times, strict=True)
    return any(start in {0, time} and at not in ids for at, (start, time) in enumerate(pairs))


def _digest(batch: PythonBatch, source: Source) -> bytes:
    """
    Hash the decompressed body, the signal and the principal.
    """
    head = canonical.put_text(batch.fmt.value) + canonical.put_text(source.principal)
    return canonical.digest(b"meterline.request.1", head, batch.body)


def _repeat(core: Core, call: Call, points: int, answered: int) -> Applied:
    """
    Answer a request that was answered before: all its points are duplicates.
    """
    core.opened().balance.received += points
    core.opened().balance.duplicate += points
    call.duplicate = points
    return call.applied(answered)


def _apply_block(core: Core, call: Call, batch: PythonBatch, block: Block, digest: bytes) -> None:
    if block.entry.skip:
        core.unmatched(call, block.n)
    elif isinstance(block, LogBlock):
        request = Request(digest, batch.decisions)
        for index in range(block.n):
            apply_record(core, call, block, index, request)
    elif isinstance(block, DistributionBlock):
        _apply_points(core, call, batch, block, range(block.n))
    elif block.n:
        _apply_points(core, call, batch, block, apply_block(core, call, block))


def _apply_points(
    core: Core, call: Call, batch: PythonBatch, block: NumberBlock | DistributionBlock, indexes: Sequence[int]
) -> None:
    """
    Step points by time, so that late points of one request are not late (otlp.md C7.3).
    """
    decisions = batch.decisions
    times = block.times if isinstance(block, NumberBlock) else [point.time for point in block.points]
    for index in sorted(indexes, key=times.__getitem__):
        apply_point(core, call, block, index, decisions.get(block.first + index, _UNDECIDED))
