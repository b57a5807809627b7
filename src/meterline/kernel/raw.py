"""
Raw quarantine: the point goes into the frame as a request of its own, so that a retry is a full intake.
"""

from meterline.api.receiver import Format
from meterline.kernel import canonical
from meterline.kernel.batch import Block, LogBlock
from meterline.kernel.core import PREFIX, Call, Core
from meterline.kernel.framing import QuarantineRow
from meterline.kernel.plan import ContextEntry
from meterline.kernel.reasons import Reason
from meterline.protobuf.write import length_delimited, number


def single_request(entry: ContextEntry, payload: bytes, metadata: bytes = b"") -> bytes:
    """
    Make a request of one point: its resource, scope and metric header around it. ``metadata``: fields of the metric.
    """
    if not entry.data:
        item = length_delimited(2, payload)
    else:
        tail = number(2, entry.temporality.value) if entry.data in (7, 9, 10) else b""
        tail += b"\x18\x01" if entry.data == 7 and entry.monotonic else b""
        header = length_delimited(1, entry.name) + length_delimited(3, entry.unit)
        points = length_delimited(entry.data, length_delimited(1, payload) + tail)
        item = length_delimited(2, header + points + metadata)
    scope = length_delimited(2, length_delimited(1, entry.scope.scope) + item)
    return length_delimited(1, length_delimited(1, entry.scope.resource) + scope)


def stream_part(entry: ContextEntry, identity: bytes, raw: bytes) -> bytes:
    """
    Return the part of a raw key that a stream decides: of its identity, or of its bytes when it has none.
    """
    if identity:
        return identity[:PREFIX]
    name = b"\0".join((entry.name, entry.unit, str(entry.key).encode()))
    return canonical.digest(b"meterline.raw.1", entry.scope.resource, entry.scope.scope, name, raw)[:PREFIX]


def raw_key(prefix: bytes, principal: str, rule: str, payload: bytes) -> bytes:
    """
    Return the key of a raw entry: a resend of the same point by the same principal has the same.
    """
    rest = canonical.digest(canonical.put_text(principal), canonical.put_text(rule), payload)
    return prefix + rest[:PREFIX]


def _raw_attributes(block: Block, index: int) -> bytes:
    return b"" if isinstance(block, LogBlock) else block.keys[index]


Place = tuple[Block, int, bytes]
"""A point: its block, its index there, and the identity of its stream (b"" when it has none)."""


def is_open(core: Core, call: Call, place: Place, rules: tuple[str, ...]) -> bool:
    """
    Say whether a raw entry of this point is open, for the whole point or one of the rules.
    """
    if not core.open_raw:
        return False
    block, index, identity = place
    prefix = stream_part(block.entry, identity, _raw_attributes(block, index))
    if prefix not in core.open_streams:
        return False
    payload = block.payload(index)
    names = ("", *rules)
    return any(raw_key(prefix, call.source.principal, rule, payload) in core.open_raw for rule in names)


def quarantine_raw(
    core: Core, call: Call, place: Place, reason: Reason, *, time: int, rule: str = "", of_rule: bool = False
) -> bool:
    """
    Open a raw entry; False when it is open already, and the point so a duplicate.

    ``of_rule``: the entry holds up the claim of that rule alone.
    """
    block, index, identity = place
    payload = block.payload(index)
    prefix = stream_part(block.entry, identity, _raw_attributes(block, index))
    key = raw_key(prefix, call.source.principal, rule if of_rule else "", payload)
    if key in core.open_raw:
        return False
    request = single_request(block.entry, payload, b"" if isinstance(block, LogBlock) else block.told.raw)
    add_raw(core, call, (key, reason, rule, identity, time, _format(block).value, request, _detail(block, index)))
    return True


def _format(block: Block) -> Format:
    if isinstance(block, LogBlock):
        return Format.OTLP_LOGS
    return Format.TRANSCODED_METRICS if block.entry.transcoded else Format.OTLP_METRICS


def _detail(block: Block, index: int) -> str:
    values = getattr(block, "values", None)
    name = block.entry.name.decode(errors="replace") or "log record"
    return f"{name} = {values[index]}" if values is not None else name


def add_raw(core: Core, call: Call, entry: tuple[bytes, Reason, str, bytes, int, str, bytes, str]) -> None:
    """
    Write a raw entry: (key, reason, rule, stream identity, time, format, payload, detail).
    """
    key, reason, rule, identity, time, fmt, payload, detail = entry
    frame = core.opened(call.received_at)
    row = QuarantineRow(
        kind="raw",
        reason=reason,
        rule=rule,
        stream=identity,
        source=frame.source(call.source.receiver, call.source.principal),
        received_at=call.received_at,
        start=0,
        time=min(time, (1 << 63) - 1),
        k=0,
        quantity=None,
        record_id=b"",
        key=key,
        detail=detail,
        charge=None,
        format=fmt,
        payload=payload,
    )
    frame.hold(row, call.source.receiver, call.source.principal)
    frame.opened.append(key)
    open_key(core, key)
    call.reasons[reason] = call.reasons.get(reason, 0) + 1


def open_key(core: Core, key: bytes) -> None:
    """
    Remember that an entry is open; its stream leaves the fast path, if it is resident.
    """
    core.open_raw.add(key)
    prefix = key[:PREFIX]
    core.open_streams[prefix] = core.open_streams.get(prefix, 0) + 1


def close_key(core: Core, key: bytes) -> None:
    """
    Forget an open entry.
    """
    core.open_raw.discard(key)
    prefix = key[:PREFIX]
    left = core.open_streams.get(prefix, 1) - 1
    if left:
        core.open_streams[prefix] = left
    else:
        core.open_streams.pop(prefix, None)
