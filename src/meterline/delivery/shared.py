"""
What the threads of all exporters have in common.
"""

from collections.abc import Callable
from dataclasses import dataclass

from meterline.delivery.bell import Tide
from meterline.delivery.source import FrameCache, ReaderFactory
from meterline.ledger.model import Transactor


@dataclass(frozen=True, slots=True)
class Shared:
    """
    The ledger as delivery sees it, the cache of expanded frames, and the end of it all.
    """

    ledger_id: str
    transactor: Transactor
    readers: ReaderFactory
    cache: FrameCache
    room_to_record: Callable[[], bool]
    tide: Tide
