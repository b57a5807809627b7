"""
Items of which a receiver could make no point (meterline.intake.v1.Rejects): each becomes a raw quarantine entry.

While its entry is open, the same item of the same principal is a duplicate, whatever reason is given for it.
"""

from typing import Final

from meterline.api.receiver import Format
from meterline.kernel import canonical
from meterline.kernel.core import Call, Claims, Core
from meterline.kernel.items import ItemBatch
from meterline.kernel.plan import PythonPlan
from meterline.kernel.raw import add_raw
from meterline.kernel.reasons import BY_CODE, Reason
from meterline.protobuf.read import LEN, fields
from meterline.protobuf.write import length_delimited

_TAG: Final = b"meterline.reject.1"
_NO_TIME: Final = 0


class RejectItem:
    """
    One item. A reason that is no code of a raw entry counts as ``undecodable_item``.
    """

    __slots__ = ("_detail", "_encoding", "_item", "_payload", "_reason")

    def __init__(self, payload: bytes) -> None:
        """
        Read a Reject message. Raises UndecodableError.
        """
        parts = {number: payload[a:b] for number, kind, a, b, _ in fields(payload) if kind == LEN}
        reason = BY_CODE.get(parts.get(1, b"").decode(errors="replace"))
        self._payload = payload
        self._reason = reason if reason is not None and reason.kind == "raw" else Reason.UNDECODABLE_ITEM
        self._detail = parts.get(2, b"").decode(errors="replace")
        self._item, self._encoding = parts.get(3, b""), parts.get(4, b"")

    def __call__(self, core: Core, call: Call) -> None:
        """
        Open an entry, unless one is open. The time of its event is not known.
        """
        claims = Claims()
        key = canonical.digest(
            _TAG, canonical.put_text(call.source.principal), length_delimited(1, self._encoding), self._item
        )
        if key in core.open_raw:
            claims.duplicate = 1
        else:
            claims.quarantined = 1
            body = length_delimited(1, self._payload)
            add_raw(core, call, (key, self._reason, "", b"", _NO_TIME, Format.REJECTS.value, body, self._detail))
        core.close_point(call, claims)


def decode(body: bytes, plan: PythonPlan) -> ItemBatch:
    """
    Decode a Rejects message. Raises UndecodableError.
    """
    items = [RejectItem(body[a:b]) for number, kind, a, b, _ in fields(body) if (number, kind) == (1, LEN)]
    return ItemBatch(body, Format.REJECTS, plan, items)
