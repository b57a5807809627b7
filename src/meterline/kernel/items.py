"""
Bodies whose items are taken one by one, without streams and rules: usage that is told, and rejects.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from meterline.api.receiver import Format
from meterline.kernel.batch import PythonBatch
from meterline.kernel.core import Call, Core
from meterline.kernel.plan import PythonPlan

Take: TypeAlias = Callable[[Core, Call], None]
"""Takes one item into the open frame, and counts it."""


class ItemBatch(PythonBatch):
    """
    A body of items. It has no blocks: there is nothing to resolve.
    """

    __slots__ = ("_items",)

    def __init__(self, body: bytes, fmt: Format, plan: PythonPlan, items: Sequence[Take]) -> None:
        """
        Take the decoded items.
        """
        super().__init__(body, fmt, plan, [], 0)
        self._items = items
        self.points = len(items)

    def take(self, core: Core, call: Call) -> None:
        """
        Take all items in order.
        """
        for item in self._items:
            item(core, call)
