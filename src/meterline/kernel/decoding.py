"""
From a body of any format to a batch.
"""

from collections.abc import Callable, Mapping
from typing import Final

from meterline.api.receiver import Format
from meterline.kernel import rejects, usage, walk
from meterline.kernel.batch import PythonBatch
from meterline.kernel.plan import PythonPlan

_ITEMS: Final[Mapping[Format, Callable[[bytes, PythonPlan], PythonBatch]]] = {
    Format.USAGE: usage.decode,
    Format.REJECTS: rejects.decode,
}


def decode(body: bytes, fmt: Format, plan: PythonPlan) -> PythonBatch:
    """
    Decode a body. Raises UndecodableError before anything was learned of it.
    """
    items = _ITEMS.get(fmt)
    return items(body, plan) if items is not None else walk.decode(body, fmt, plan)
